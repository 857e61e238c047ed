"""Locks: only one program at a time writes to a folder, on whatever host it runs.

A lock is a small JSON file that names its owner. A hard link creates it complete, and fails if the file exists already,
also on network file systems. An abandoned lock is replaced if its owner is proved to be gone.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import threading
import time
import uuid
from typing import List, Optional, Tuple

from ..errors import InputError
from ..files import naming
from .lock_owner import Owner, read_owner, runs_here, this_process

LOCK = ".lock"  # name of the file in the folder that it protects
_LARGEST = 4096  # bytes of a lock
_END_TIMEOUT = 15.0  # seconds in which an earlier start of the same launch should end
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


class Held(InputError):
    """Another program holds the lock, or may hold it."""


class Lock:
    """A lock, held in a `with` statement or from `acquire` to `release`.

    Args:
        path: of its file. Missing folders are made, and removed with the lock if nothing else is in them.
        remedy: advice about a lock whose owner may be gone; by default, to remove the file.
        run: name of a run, whose ranks share the lock.
        launch: name shared by starts that never run at the same time, so that a later one replaces an earlier.

    Raises:
        Held: another program holds the lock, or did and cannot be proved to be gone.
        OSError: naming the file, if it cannot be written.
    """

    def __init__(self, path: str, remedy: str = "", run: str = "", launch: str = "") -> None:
        self.path, self._remedy = path, remedy or f"remove {path}"
        self._run, self._launch = run or uuid.uuid4().hex, launch
        self._descriptor: Optional[int] = None
        self._content = b""
        self._made: List[str] = []  # folders
        self._releasing = threading.Lock()  # a failed run releases its locks in another thread

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, force: bool = False) -> bool:
        """Take the lock; returns False if another rank of the same run holds it.

        Args:
            force: whether to take it also from an owner that may be alive or gone.
        """
        end = time.monotonic() + _END_TIMEOUT
        self._make_folder()
        try:
            while self._descriptor is None and not self._create():
                content = self._read()
                owner = read_owner(content)
                if owner and owner.run == self._run:
                    return False
                if content is not None and self._may_replace(owner, force, end):
                    self._replace(content, force)
            self._remove_leftovers()
            return True
        except BaseException:
            self._remove_folders()
            raise

    def is_held(self) -> bool:
        """Whether the lock has an owner that is not proved to be gone."""
        content = self._read()
        return content is not None and self._runs(read_owner(content)) is not False

    def keep(self) -> None:
        """Restore the lock if it was removed; raises Held if it has another owner now."""
        if self._descriptor is None:
            return
        content = self._read()
        if content is None:
            os.close(self._descriptor)
            self._descriptor = None
            self.acquire()
        elif content != self._content:
            raise Held(f"{self._folder}: another run has taken over: {read_owner(content) or 'an unknown one'}")

    def release(self) -> None:
        """Remove the lock if this process holds it."""
        with self._releasing:
            if self._descriptor is None:
                return
            with contextlib.suppress(OSError):
                if self._read() == self._content:
                    os.remove(self.path)
            os.close(self._descriptor)
            self._descriptor = None
            self._remove_folders()

    @property
    def _folder(self) -> str:
        return os.path.dirname(os.path.abspath(self.path))

    def _make_folder(self) -> None:
        folder = self._folder
        while not os.path.isdir(folder):
            self._made.append(folder)
            folder = os.path.dirname(folder)
        os.makedirs(self._folder, exist_ok=True)

    def _remove_folders(self) -> None:
        with contextlib.suppress(OSError):  # not empty
            for folder in self._made:
                os.rmdir(folder)
        self._made = []

    def _create(self) -> bool:
        """Create the lock; returns False if there is one."""
        descriptor, unfinished = self._write()
        try:
            os.link(unfinished, self.path)
        except (FileExistsError, FileNotFoundError):  # or the owner has removed our new file as a leftover
            os.close(descriptor)
            return False
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _NO_LINKS:
                raise
            return self._create_in_place()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(unfinished)
        self._descriptor = descriptor
        return True

    def _create_in_place(self) -> bool:
        """The same on a file system without hard links, where the file is empty for a moment."""
        try:
            self._descriptor = self._write_to(self.path)
        except FileExistsError:
            return False
        return True

    def _write(self) -> Tuple[int, str]:
        """Descriptor and path of a new file that names this process as the owner."""
        unfinished = f"{self.path}.{uuid.uuid4().hex}"
        return self._write_to(unfinished), unfinished

    def _write_to(self, path: str) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            own = this_process(self._folder, self._run, self._launch, _flock(descriptor, fcntl.LOCK_EX))
            self._content = own.to_json()
            with naming(self.path):
                os.write(descriptor, self._content)
        except BaseException:
            os.close(descriptor)
            os.remove(path)
            raise
        return descriptor

    def _remove_leftovers(self) -> None:
        """Remove files of processes that were killed while taking the lock; those that are taking it now try again."""
        pattern = re.compile(re.escape(os.path.basename(self.path)) + r"(-after-[0-9a-f]{16})*(\.[0-9a-f]{32})?")
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if pattern.fullmatch(name) and path != os.path.abspath(self.path):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)

    def _read(self) -> Optional[bytes]:
        """Content of the file; None if there is no file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
                return None
            raise
        try:
            with naming(self.path):
                return os.read(descriptor, _LARGEST)
        finally:
            os.close(descriptor)

    def _may_replace(self, owner: Optional[Owner], force: bool, end: float) -> bool:
        """Whether this process may take the lock from its owner, which has until `end` to go; raises Held if not."""
        runs = self._runs(owner)
        same_launch = owner is not None and bool(self._launch) and owner.launch == self._launch
        if runs is False or runs is None and (force or same_launch):
            return True
        if same_launch and time.monotonic() < end:
            time.sleep(0.2)
            return False
        who = owner or "an unknown program"
        advice = "wait until it ends, or end it" if runs else f"if it has ended, {self._remedy}"
        raise Held(f"{self._folder}: another run is at work there: {who}; {advice}")

    def _runs(self, owner: Optional[Owner]) -> Optional[bool]:
        """Whether the process of an owner is alive; None if unknown."""
        if owner is None:
            return None
        own = this_process(self._folder)
        if (owner.boot, owner.namespace) == (own.boot, own.namespace):
            return runs_here(owner)
        if owner.flock and (owner.boot == own.boot or owner.local and own.local):
            return self._is_known_to_the_kernel()
        return None

    def _is_known_to_the_kernel(self) -> bool:
        """Whether a process has the file open and locked."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _flock(descriptor, fcntl.LOCK_SH)  # shared: several processes may test at the same time
        finally:
            os.close(descriptor)

    def _replace(self, content: bytes, force: bool) -> None:
        """Take the place of an owner, unless another process has done so: only one at a time may try."""
        claim = Lock(f"{self.path}-after-{hashlib.sha256(content).hexdigest()[:16]}", self._remedy)
        if not claim.acquire(force):
            return
        try:
            if self._read() == content:
                self._descriptor, unfinished = self._write()
                os.replace(unfinished, self.path)
        finally:
            claim.release()


def _flock(descriptor: int, kind: int) -> bool:
    """Lock a file in the kernel; returns False if that fails."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:  # locked by another process, or a file system without locks
        return False
    return True
