"""Who holds a lock: a process, distinguished from all others on this host and elsewhere."""

import datetime
import json
import os
import re
import socket
from typing import NamedTuple, Optional

import psutil

from .addresses import boot_id

# File systems of one host: what its kernel knows of locks is all there is to know.
_LOCAL = frozenset("bcachefs btrfs ext2 ext3 ext4 f2fs jfs overlay ramfs reiserfs tmpfs xfs zfs".split())
_GONE, _HIDDEN = -1, -2


class Owner(NamedTuple):
    """What a lock says of the process that holds it.

    `run`, the same for all ranks of a run; `launch`, the same for starts of which an earlier one has ended, or empty;
    `host`; `boot` id of its kernel, `namespace` of its processes, `pid`, `started` in clock ticks; whether its kernel
    knows of the lock (`flock`), and whether the file system is one of that host only (`local`); `time` of the lock.
    """

    run: str
    launch: str
    host: str
    boot: str
    namespace: str
    pid: int
    started: int
    flock: bool
    local: bool
    time: str

    def __str__(self):
        return f"process {self.pid} on {self.host}, since {self.time}"

    def to_json(self) -> bytes:
        """The content of the lock."""
        return json.dumps(self._asdict()).encode() + b"\n"


def this_process(folder: str, run: str = "", launch: str = "", flock: bool = False) -> Owner:
    """The Owner of a lock in a folder that this process holds."""
    pid, now = os.getpid(), datetime.datetime.now(datetime.timezone.utc)
    return Owner(
        run,
        launch,
        socket.gethostname(),
        boot_id(),
        os.readlink("/proc/self/ns/pid"),
        pid,
        _start_time(pid),
        flock,
        _is_local(folder),
        now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def runs_here(owner: Owner) -> bool:
    """Whether an Owner that this process would see, if it were there, is."""
    return _start_time(owner.pid) in (owner.started, _HIDDEN)


def _start_time(pid):
    """Clock ticks from the kernel's start to that of a process; _GONE if there is none, _HIDDEN if that is a secret."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, *fields = file.read().rpartition(")")[2].split()
        return _GONE if state in "ZX" else int(fields[18])  # a zombie writes nothing any more
    except OSError:  # other users' processes may be hidden
        return _HIDDEN if psutil.pid_exists(pid) else _GONE


def _is_local(folder):
    folder = os.path.join(os.path.realpath(folder), "")
    mounts = [each for each in psutil.disk_partitions(all=True) if folder.startswith(os.path.join(each.mountpoint, ""))]
    return bool(mounts) and max(reversed(mounts), key=lambda each: len(each.mountpoint)).fstype in _LOCAL


def read_owner(content: Optional[bytes]) -> Optional[Owner]:
    """Owner that the content of a lock names; None if it names none."""
    try:
        owner = Owner(**json.loads(content or b""))
    except (ValueError, TypeError, RecursionError):
        return None
    right = all(type(value) is kind for value, kind in zip(owner, Owner.__annotations__.values()))
    shown = re.fullmatch(r"[!-~]{1,255} [!-~]{1,40}", f"{owner.host} {owner.time}") if right else None
    return owner if shown and 0 < owner.pid < 2**31 else None
