"""How a failed run starts again: from its last checkpoint, on the hosts that are left."""

import concurrent.futures
import glob
import os
import shlex
import subprocess
import tempfile

from ..errors import InputError
from ..output.printable import print_message
from .hosts import is_here

_SSH = ["ssh", "-n", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--"]
_ANSWER = 30  # seconds that a host has


class Restarts:
    """The commands of a run's second and later starts.

    Args:
        command: Command of the first start, `mpirun [-np N] [--hostfile FILE] ... bash config.sh ARGS`. Its hosts are
            asked over ssh whether they share the models root.
        config: the configuration that ARGS describe.

    Raises:
        InputError: ARGS start from a checkpoint of another run, in a models root that they do not name.
    """

    def __init__(self, command, config):
        self._command = command
        self._from_elsewhere = config.resume not in ("no", "auto") and config.resume
        if self._from_elsewhere and not config.models_root:
            raise InputError(f"--restarts with --resume {config.resume} needs a --models-root")
        # without a name, the trainer takes a folder in models/
        self._models_root = os.path.abspath(config.models_root or "models")
        self._remote = [host.name for host in command.hosts if not is_here(host.name)]
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
        return command._replace(program=[*command.program, "--set", "resume=auto"])  # the last one counts

    def _without(self, gone):
        """The command for all slots of the other hosts."""
        print_message(f"{', '.join(gone)} does not answer: the run continues on the other hosts")
        left = tuple(host for host in self._command.hosts if host.name not in gone)
        if not left:
            raise InputError("no host answers")
        return self._command._replace(hosts=left, ranks=None)

    def _find_unshared(self):
        """Remote hosts that do not see this host's models root."""
        if not self._remote:
            return []
        os.makedirs(self._models_root, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._models_root, prefix=".shared-") as probe:
            return _those_that_fail(self._remote, "test", "-e", probe.name)


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
