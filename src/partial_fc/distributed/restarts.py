"""How a failed run starts again: from its last checkpoint, on the hosts that still answer."""

import concurrent.futures
import os
import shlex
import subprocess
import tempfile
import uuid
from typing import List, Sequence

from ..errors import InputError
from ..output.printable import print_message
from .hosts import is_here
from .launch_command import Command

_SSH = ["ssh", "-n", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--"]
# Environment variable with the name that all starts of a run have in common, see training/series.py.
SERIES = "PARTIAL_FC_SERIES"
_ANSWER = 30  # seconds in which a host must answer


class Restarts:
    """The commands of a run's starts, all with one name, by which the trainer knows what an earlier start has begun.

    Args:
        command: `mpirun [-np N] [--hostfile FILE] ... bash config.sh ARGS`. Its hosts are asked over ssh whether they
            share the models root.
        models_root: key of the configuration that ARGS describe.

    Attributes:
        first_command: of the first start.
    """

    def __init__(self, command: Command, models_root: str) -> None:
        # `env` reaches the ranks of every launcher and every host.
        self.first_command = command._replace(program=["env", f"{SERIES}={uuid.uuid4().hex}", *command.program])
        # without a name, the trainer chooses a folder in models/
        self._models_root = os.path.abspath(models_root or "models")
        self._remote = [host.name for host in command.hosts if not is_here(host.name)]
        self._unshared = self._find_unshared()

    def next_command(self) -> Command:
        """The command of the next start, on the hosts that answer.

        Raises:
            InputError: a part of the checkpoint is on a host that does not answer.
        """
        gone = _those_that_fail(self._remote, "true")
        if gone and self._unshared:
            raise InputError(
                f"{', '.join(gone)} does not answer, and the models root {self._models_root} is not shared "
                f"({', '.join(self._unshared)} has its own): the checkpoint's centers of the ranks on "
                f"{', '.join(gone)} are only there. Start with --resume auto when it answers again"
            )
        return self._without(gone) if gone else self.first_command

    def _without(self, gone: Sequence[str]) -> Command:
        """The command on all slots of the other hosts."""
        print_message(f"{', '.join(gone)} does not answer: the run continues on the other hosts")
        left = tuple(host for host in self.first_command.hosts if host.name not in gone)
        if not left:
            raise InputError("no host answers")
        return self.first_command._replace(hosts=left, ranks=None)

    def _find_unshared(self) -> List[str]:
        """Remote hosts that do not share this host's models root."""
        if not self._remote:
            return []
        os.makedirs(self._models_root, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._models_root, prefix=".shared-") as probe:
            return _those_that_fail(self._remote, "test", "-e", probe.name)


def _those_that_fail(hosts: Sequence[str], *command: str) -> List[str]:
    """The hosts on which a command fails, or that do not answer."""
    with concurrent.futures.ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        succeeded = pool.map(lambda host: _succeeds(host, command), hosts)
        return [host for host, success in zip(hosts, succeeded) if not success]


def _succeeds(host: str, command: Sequence[str]) -> bool:
    try:
        return not subprocess.run(
            [*_SSH, host, shlex.join(command)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_ANSWER
        ).returncode
    except subprocess.TimeoutExpired:
        return False
