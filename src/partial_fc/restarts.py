"""How a failed run starts again: from its last checkpoint, on the hosts that are left."""

import concurrent.futures
import glob
import os
import shlex
import socket
import subprocess
import sys
import tempfile

import psutil

from .config import from_command_line
from .errors import InputError

_SSH = ["ssh", "-n", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
_ANSWER = 30  # seconds that a host has


class Restarts:
    """The commands of a run's second and later starts.

    Args:
        command: list of str, `mpirun [-np N] [--hostfile FILE] ... bash config.sh ARGS`, of the first start. The hosts
            of FILE are asked over ssh whether they share the models root.

    Raises:
        InputError: ARGS start from a checkpoint of another run, in a models root that they do not name.
    """

    def __init__(self, command):
        self._command = command
        config = from_command_line(command[command.index("bash") + 2 :])
        self._from_elsewhere = config.resume not in ("no", "auto") and config.resume
        if self._from_elsewhere and not config.models_root:
            raise InputError(f"--restarts with --resume {config.resume} needs a --models-root")
        # without a name, the trainer takes a folder in models/
        self._models_root = os.path.abspath(config.models_root or "models")
        self._hosts = _host_lines(command)
        self._remote = [host for host in self._hosts if not _is_here(host)]
        self._unshared = self._find_unshared()

    def next_command(self):
        """The command that goes on from the last checkpoint, on the hosts that answer.

        Raises:
            InputError: there is nothing to go on from, or a host is gone and its part of the checkpoint with it.
        """
        if self._from_elsewhere and not glob.glob(os.path.join(glob.escape(self._models_root), "checkpoints", "*")):
            raise InputError(f"{self._models_root} has no checkpoint yet; start again with --overwrite")
        gone = _those_that_fail(self._remote, "true")
        if gone and self._unshared:
            raise InputError(
                f"{', '.join(gone)} does not answer, and the models root {self._models_root} is not shared "
                f"({', '.join(self._unshared)} has one of its own): the checkpoint's centers of the ranks on "
                f"{', '.join(gone)} are only there. Start with --resume auto when it is back"
            )
        command = self._without(gone) if gone else self._command
        return [*command, "--set", "resume=auto"]  # the last one counts

    def _without(self, gone):
        """The command for all slots of the other hosts."""
        tell(f"{', '.join(gone)} does not answer: going on without")
        left = [line for host, line in self._hosts.items() if host not in gone]
        if not left:
            raise InputError("no host answers")
        handle, path = tempfile.mkstemp(prefix="hosts-", text=True)
        with open(handle, "w") as file:
            file.writelines(left)
        command = list(self._command)
        command[command.index("--hostfile") + 1] = path
        if "-np" in command[: command.index("bash")]:
            at = command.index("-np")
            del command[at : at + 2]
        return command

    def _find_unshared(self):
        """Remote hosts that do not see this host's models root."""
        if not self._remote:
            return []
        os.makedirs(self._models_root, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._models_root, prefix=".shared-") as probe:
            return _those_that_fail(self._remote, "test", "-e", probe.name)


def tell(text):
    """Print to standard error at once."""
    print(text, file=sys.stderr, flush=True)


def _host_lines(command):
    """Lines of the host file by name of the host; none without a host file."""
    if "--hostfile" not in command:
        return {}
    with open(command[command.index("--hostfile") + 1]) as file:
        lines = [line.split("#")[0].strip() + "\n" for line in file]
    return {line.split()[0]: line for line in lines if line.strip()}


def _is_here(host):
    """Whether a name is this host's."""
    own = {info.address for infos in psutil.net_if_addrs().values() for info in infos}
    try:
        return any(info[4][0] in own for info in socket.getaddrinfo(host, None))
    except OSError:
        return False


def _those_that_fail(hosts, *command):
    """Those of the hosts on which a command does not succeed, or that do not answer."""
    with concurrent.futures.ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        succeeded = pool.map(lambda host: _succeeds(host, command), hosts)
        return [host for host, success in zip(hosts, succeeded) if not success]


def _succeeds(host, command):
    try:
        return not subprocess.run(
            [*_SSH, host, shlex.join(command)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_ANSWER
        ).returncode
    except subprocess.TimeoutExpired:
        return False
