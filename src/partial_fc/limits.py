"""Limits of this host or container: cores, open files, space for temporary files.

python -m partial_fc.limits        (prints the number of cores, for shell scripts)
"""

import os
import resource
import shutil
import tempfile
from typing import Iterator, List, Tuple

from .errors import InputError
from .output.printable import print_lines

# Open MPI 4.1 hangs silently with 32 open files; 2 ranks need 48.
_LEAST_OPEN_FILES, _OPEN_FILES = 256, 65536
_ROOM = 2**25  # bytes for launchers' sockets and shared memory; Open MPI hangs with 2 MiB and runs with 16
_UNLIMITED = ("max", "-1")


def usable_cores(root: str = "/") -> int:
    """Cores that this process may use: those of its affinity, at most its container's quota rounded down, at least 1.

    Args:
        root: folder that holds `proc/self/cgroup` and `sys/fs/cgroup`.
    """
    return max(1, int(min([len(os.sched_getaffinity(0)), *_quotas(root)])))


def threads_of_a_rank(local_size: int = 1) -> int:
    """Threads that a rank computes with: OMP_NUM_THREADS, or else its share of the usable cores, at least 1.

    Args:
        local_size: ranks on this host.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(given) if given.isdecimal() and int(given) else max(1, usable_cores() // local_size)


def _quotas(root: str) -> Iterator[float]:
    """CPUs that the control groups of this process and their parents allow."""
    for folder in control_groups("cpu", root):
        quota = read_words(folder, "cpu.max")
        quota = quota or read_words(folder, "cpu.cfs_quota_us") + read_words(folder, "cpu.cfs_period_us")
        if len(quota) == 2 and quota[0] not in _UNLIMITED:
            yield int(quota[0]) / int(quota[1])


def control_groups(controller: str, root: str = "/") -> Iterator[str]:
    """Folders of the control groups of this process and of all their parents, version 1 or 2.

    Args:
        controller: `cpu` or `memory`.
        root: folder that holds `proc/self/cgroup` and `sys/fs/cgroup`.
    """
    for mounted, path in _groups(os.path.join(root, "proc/self/cgroup"), controller):
        while True:
            yield os.path.join(root, "sys/fs/cgroup", mounted, path)
            if not path:
                break
            path = os.path.dirname(path)


def _groups(listing: str, controller: str) -> Iterator[Tuple[str, str]]:
    """Folder of each hierarchy of control groups, and this process's path in it, which a container may not see."""
    try:
        with open(listing) as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield "", path.strip("/")
        elif controller in controllers.split(","):
            yield from ((mounted, path.strip("/")) for mounted in (controller, controllers))


def read_words(folder: str, name: str) -> List[str]:
    """The words of a file of the kernel; none if it cannot be read."""
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().split()
    except OSError:
        return []


def prepare_launch() -> None:
    """Raise the limit of open files as far as this user may, and check that launchers can run.

    Raises:
        InputError: a launcher would hang, or end without naming the cause: too few open files, or a folder for
            temporary files that is missing, full or not writable.
    """
    _raise_open_files()
    _check_temporary_folder()


def _raise_open_files() -> None:
    soft, hard = (2**31 if limit == resource.RLIM_INFINITY else limit for limit in _open_files())
    wanted = max(soft, min(hard, _OPEN_FILES))
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, _open_files()[1]))
    if wanted < _LEAST_OPEN_FILES:
        raise InputError(
            f"at most {wanted} open files are allowed here, and a launcher needs {_LEAST_OPEN_FILES}: "
            f"raise the limit with ulimit -n {_OPEN_FILES} (and the hard limit with ulimit -Hn)"
        )


def _open_files() -> Tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _check_temporary_folder() -> None:
    # as Open MPI chooses it; Python would skip a folder that is not writable
    set_by = next((name for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)), None)
    folder = os.environ[set_by] if set_by else "/tmp"
    shown = f"{set_by}={folder}" if set_by else folder
    advice = "launchers keep their sockets there: set TMPDIR to a folder with free space"
    try:
        with tempfile.TemporaryDirectory(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"{shown}, for temporary files: {error.strerror}; {advice}") from error
    if free < _ROOM:
        room = f"{free / 2**20:.0f} MiB free, {_ROOM >> 20} are needed"
        raise InputError(f"{shown}, for temporary files: {room}; {advice}")


if __name__ == "__main__":
    print_lines([str(usable_cores())])
