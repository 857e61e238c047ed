"""Checkpoints: folders with all that a run needs to continue, which exist only once all of it is on the disk.

Every rank writes its own files into a folder with a temporary name. When all have succeeded, the manifest, with size
and checksum of each file, is added and the folder renamed. Hosts need not share a file system: on each, one rank makes
and renames the folder, and the manifest is the same everywhere.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from ..distributed.communicator import Communicator
from ..errors import CollectiveError, InputError
from ..files import naming, read_json, sha256, sync

log = logging.getLogger("partial_fc")

MANIFEST = "manifest.json"
MAX_RANKS = 99_999  # the names of files have five digits
MAX_UPDATES = 10**15
_FORMAT = 1
_NAME = re.compile(r"update-(\d{9,})$")

Manifest = Dict[str, Any]
Needs = Callable[[Manifest], Iterable[str]]  # names of the files that this rank will read


class Damaged(InputError):
    """A checkpoint lacks a file, or has one whose content has changed since it was saved."""


class Checkpoints:
    """The checkpoints of a run. All ranks call every method at the same time.

    Args:
        folder: of the checkpoints `update-NNNNNNNNN`; made when the first is saved.
        comm: communicator.
        keep: number of checkpoints to keep; older ones are removed when a new one is complete.
    """

    def __init__(self, folder: str, comm: Communicator, keep: int) -> None:
        self.folder, self._comm, self._keep = folder, comm, keep
        self._leads: Optional[bool] = None

    def save(self, num_update: int, write: Callable[[str], Iterable[str]], about: Dict[str, Any]) -> None:
        """Make a checkpoint of update `num_update`.

        Args:
            num_update: number of updates done.
            write: writes this rank's files into a folder and returns their names. No collectives.
            about: further content of the manifest, which JSON can hold; that of rank 0 is used.

        Raises:
            CollectiveError: on every rank, if any could not write; earlier checkpoints are left as they were.
        """
        unfinished = os.path.join(self.folder, f".update-{num_update:09d}.tmp")
        try:
            self._elect()
            self._lead(self._make_room, unfinished)
            files: Dict[str, List[Any]] = {}
            with self._comm.raise_on_all_ranks():
                for name in write(unfinished):
                    files[name] = _seal(os.path.join(unfinished, name))
            manifest = dict(self._comm.all_gather_object(about)[0], num_update=num_update)
            manifest.update(world_size=self._comm.world_size, files={})
            for part in self._comm.all_gather_object(files):
                manifest["files"].update(part)
            self._lead(self._finish, unfinished, num_update, manifest)
        except CollectiveError:
            if self._leads:
                shutil.rmtree(unfinished, ignore_errors=True)
            raise
        self._lead(self._remove_others, num_update)

    def newest(self, needs: Needs) -> Optional[Tuple[str, Manifest]]:
        """The newest checkpoint that is complete on every rank.

        Args:
            needs: returns the names of the files that this rank will read, or raises InputError if the run cannot
                continue from a checkpoint with this manifest.

        Returns:
            path and manifest; None if there are no checkpoints.

        Raises:
            CollectiveError: on every rank, if there are checkpoints but none is complete, or `needs` raises.
        """
        own = _numbers(self.folder)
        everywhere = {number for numbers in self._comm.all_gather_object(own) for number in numbers}
        for number in sorted(everywhere, reverse=True):
            path = self.path(number)
            manifest, problem = self._inspect(path, needs)
            problems = self._comm.all_gather_object(problem)
            if manifest is not None and not any(problems):
                return path, manifest
            if self._comm.rank == 0:
                rank = next(rank for rank, problem in enumerate(problems) if problem)
                log.warning("skipping incomplete checkpoint: %s (rank %d)", problems[rank], rank)
        if everywhere:
            self._comm.agree(
                f"{self.folder}: none of {len(everywhere)} checkpoints is complete; start anew with --resume no"
            )
        return None

    def path(self, num_update: int) -> str:
        """Folder of one checkpoint."""
        return os.path.join(self.folder, f"update-{num_update:09d}")

    def _inspect(self, path: str, needs: Needs) -> Tuple[Optional[Manifest], Optional[str]]:
        """Manifest of a checkpoint and None, or None and the damage."""
        manifest = damage = None
        with self._comm.raise_on_all_ranks():  # for errors of `needs`
            try:
                manifest = verified_manifest(path, needs)
            except Damaged as error:
                damage = str(error)
        return manifest, damage

    def _elect(self) -> None:
        """Find out whether this rank makes and renames folders: it does if it is the first on its file system."""
        if self._leads is not None:
            return
        probes = [os.path.join(self.folder, f".rank-{rank}") for rank in range(self._comm.rank + 1)]
        try:
            with self._comm.raise_on_all_ranks():
                os.makedirs(self.folder, exist_ok=True)
                with open(probes[-1], "w"):
                    pass
            leads = not any(map(os.path.exists, probes[:-1]))
            with self._comm.raise_on_all_ranks():
                pass  # wait until all have looked
        finally:
            with contextlib.suppress(OSError):
                os.remove(probes[-1])
        self._leads = leads

    def _lead(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function on the leading ranks only; its errors are raised on all."""
        with self._comm.raise_on_all_ranks():
            if self._leads:
                function(*arguments)

    def _make_room(self, unfinished: str) -> None:
        """Remove unfinished checkpoints, and make the new folder, with its parents in case they were removed."""
        os.makedirs(self.folder, exist_ok=True)
        if os.path.exists(unfinished):
            shutil.rmtree(unfinished)
        for name in os.listdir(self.folder):
            if re.match(r"\.update-", name):
                _remove(os.path.join(self.folder, name))
        os.mkdir(unfinished)

    def _finish(self, unfinished: str, num_update: int, manifest: Manifest) -> None:
        """Add the manifest to a folder with all other files, and rename it."""
        path = os.path.join(unfinished, MANIFEST)
        with naming(path), open(path, "w") as file:
            json.dump(dict(manifest, format=_FORMAT, checksum=manifest_checksum(manifest)), file, indent=1)
        for each in (path, unfinished):
            sync(each)
        # There is one of this update if the run was resumed from an earlier one.
        old = self._set_aside(num_update) if os.path.exists(self.path(num_update)) else None
        os.rename(unfinished, self.path(num_update))
        sync(self.folder)
        if old:
            _remove(old)

    def _remove_others(self, num_update: int) -> None:
        """Remove the oldest checkpoints, and those of later updates, from before the run was resumed."""
        numbers = _numbers(self.folder)
        kept = [number for number in numbers if number <= num_update][-self._keep :]
        for number in set(numbers) - set(kept):
            _remove(self._set_aside(number))

    def _set_aside(self, num_update: int) -> str:
        """Rename a checkpoint, so that a partly removed one is never used; returns the new path, which is a new one."""
        path = os.path.join(self.folder, f".update-{num_update:09d}.{uuid.uuid4().hex[:8]}.old")
        os.rename(self.path(num_update), path)
        return path


def _remove(path: str) -> None:
    """Remove a folder that is not needed. If it cannot be removed now, it is tried again before the next checkpoint."""
    try:
        shutil.rmtree(path)
    except OSError as error:
        log.warning("could not remove %s: %s", path, error)


def verified_manifest(path: str, needs: Needs) -> Manifest:
    """Manifest of the checkpoint in a folder, after checking that the needed files match it.

    Args:
        path: of the folder.
        needs: see `Checkpoints.newest`.

    Raises:
        Damaged: no manifest, a missing file, or one of another size or checksum.
        InputError: raised by `needs`.
    """
    manifest = _read_manifest(os.path.join(path, MANIFEST))
    try:
        names = needs(manifest)
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from error
    for name in names:
        file = os.path.join(path, name)
        if name not in manifest["files"] or not os.path.exists(file):
            raise Damaged(
                f"{file}: no such file (without a shared file system, a host has only those of its own ranks)"
            )
        size, checksum = manifest["files"][name]
        if os.path.getsize(file) != size or sha256(file) != checksum:
            raise Damaged(f"{file}: not the {size} bytes that were saved, sha256 {checksum}")
    return manifest


def _read_manifest(path: str) -> Manifest:
    try:
        manifest = read_json(path)
        checksum, version = manifest.pop("checksum"), manifest.pop("format")
        whole = checksum == manifest_checksum(manifest)
    except InputError as error:
        raise Damaged(str(error)) from error
    except (KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Damaged(f"{path}: not a manifest") from error
    if version != _FORMAT:
        raise InputError(
            f"{path}: has format {str(version):.80}, this version reads {_FORMAT}: use the version that saved it"
        )
    if not whole:
        raise Damaged(f"{path}: changed since it was saved")
    _check_manifest(path, manifest)
    return manifest


def _check_manifest(path: str, manifest: Manifest) -> None:
    """Raise Damaged unless types and ranges are right; the checksum alone does not prove it, as anyone can make one."""
    num_update, world_size, files = manifest.get("num_update"), manifest.get("world_size"), manifest.get("files")
    for name, value, low, high in (
        ("num_update", num_update, 0, MAX_UPDATES),
        ("world_size", world_size, 1, MAX_RANKS),
    ):
        if type(value) is not int or not low <= value <= high:
            raise Damaged(f"{path}: {name} is {value!r:.80}, expected a whole number from {low} to {high:,}")
    if not isinstance(files, dict):
        raise Damaged(f"{path}: files is not an object")
    for name, sealed in files.items():
        whole = isinstance(sealed, list) and [type(part) for part in sealed] == [int, str] and sealed[0] >= 0
        if not whole or os.path.basename(name) != name or not name.strip("."):
            raise Damaged(f"{path}: files has {name!r:.80}, expected names without folders, each with size and sha256")


def manifest_checksum(manifest: Manifest) -> str:
    """Checksum of what `verified_manifest` returns: that of every file, configuration and state of one checkpoint."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _seal(path: str) -> List[Any]:
    """Sync a file to the disk; returns its size and checksum."""
    sync(path)
    return [os.path.getsize(path), sha256(path)]


def _numbers(folder: str) -> List[int]:
    """Updates of the checkpoints in a folder, ascending; empty if there is no such folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(match[1]) for match in map(_NAME.match, names) if match)
