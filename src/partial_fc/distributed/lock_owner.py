"""The owner of a lock: a process, distinguished from all others on this host and elsewhere."""

import datetime
import json
import os
import re
import socket
from typing import NamedTuple, Optional

import psutil

from .addresses import boot_id

# File systems that only one host can mount: its kernel knows all locks.
_LOCAL = frozenset("bcachefs btrfs ext2 ext3 ext4 f2fs jfs overlay ramfs reiserfs tmpfs xfs zfs".split())
_GONE, _HIDDEN = -1, -2


class Owner(NamedTuple):
    """The process that holds a lock.

    Attributes:
        run: name shared by all ranks of a run.
        launch: name shared by starts that never run at the same time, or empty.
        host: its name.
        boot, namespace: identifiers of the kernel's start and of the namespace of processes.
        pid, started: number of the process; its start, in clock ticks since that of the kernel.
        flock: whether its kernel knows of the lock.
        local: whether only that host can mount the file system.
        time: of the lock, in UTC.
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

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.time}"

    def to_json(self) -> bytes:
        """Content of the lock."""
        return json.dumps(self._asdict()).encode() + b"\n"


def this_process(folder: str, run: str = "", launch: str = "", flock: bool = False) -> Owner:
    """This process as the owner of a lock in a folder; see `Owner` for the arguments."""
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
    """Whether the process of an owner in this process's own namespace is alive."""
    return _start_time(owner.pid) in (owner.started, _HIDDEN)


def _start_time(pid: int) -> int:
    """Clock ticks from the kernel's start to that of a process; _GONE if there is none, _HIDDEN if it is hidden."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, *fields = file.read().rpartition(")")[2].split()
        return _GONE if state in "ZX" else int(fields[18])  # a zombie no longer writes
    except OSError:  # other users' processes may be hidden
        return _HIDDEN if psutil.pid_exists(pid) else _GONE


def _is_local(folder: str) -> bool:
    folder = os.path.join(os.path.realpath(folder), "")
    mounts = [each for each in psutil.disk_partitions(all=True) if folder.startswith(os.path.join(each.mountpoint, ""))]
    return bool(mounts) and max(reversed(mounts), key=lambda each: len(each.mountpoint)).fstype in _LOCAL


def read_owner(content: Optional[bytes]) -> Optional[Owner]:
    """Owner from the content of a lock, the inverse of `to_json`; None for other content."""
    try:
        owner = Owner(**json.loads(content or b""))
    except (ValueError, TypeError, RecursionError):
        return None
    right = all(type(value) is kind for value, kind in zip(owner, Owner.__annotations__.values()))
    shown = re.fullmatch(r"[!-~]{1,255} [!-~]{1,40}", f"{owner.host} {owner.time}") if right else None
    return owner if shown and 0 < owner.pid < 2**31 else None
