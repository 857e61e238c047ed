"""Runs a launcher, mpirun or horovodrun: the cause of a failure is its last line, and a failed run starts again.

    python -m partial_fc.launch [--restarts K] -- mpirun [--hostfile FILE] ... bash config.sh ARGS
"""

import argparse
import concurrent.futures
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import psutil

from .config import from_command_line
from .errors import InputError

WRONG_INPUT = 2  # exit status of a run that would fail again
_PATIENCE = 60  # seconds that a launcher has for its end, once a rank has told the cause
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# What launchers put before a rank's line.
_PREFIX = re.compile(rb"^(\[[0-9]+(,[0-9]+)?\]<stderr>:)?")
_FAILURE = re.compile(r"error: rank \S+ \(")  # as watch.py says it: the run is over
_SSH = ["ssh", "-n", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]


def main(argv=None):
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m partial_fc.launch", description=__doc__.splitlines()[0])
    parser.add_argument("--restarts", type=int, default=0, metavar="K", help="start a failed run again, K times at most")
    parser.add_argument("command", nargs="+", help="launcher and its arguments, after --")
    args = parser.parse_args(argv)
    hosts = Hosts(args.command) if args.restarts else None
    command = args.command
    for left in range(args.restarts, -1, -1):
        launcher = Launcher(command)
        status = launcher.run()
        if status == 0:
            return 0
        tell(launcher.error or f"error: {os.path.basename(command[0])} ended with status {status}; why stands above")
        if not left or status == WRONG_INPUT or launcher.stopped:
            return status
        try:
            command = hosts.restart()
        except InputError as error:
            tell(f"error: no restart: {error}")
            return status
        tell(f"starting again, from the last checkpoint; {left - 1} more restarts are left")
    return status


class Launcher:
    """One run of a launcher.

    Args:
        command: list of str.

    Attributes:
        error: what its ranks said last of an error, or None.
        stopped: whether a signal ended it that was sent to this process.
    """

    def __init__(self, command):
        self._command, self.error, self.stopped = command, None, False

    def run(self):
        """Run it, with its error output passed on; returns the exit status, as a shell gives it."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE)
        before = {number: signal.signal(number, self._forward) for number in (*_FORWARDED, signal.SIGINT)}
        reader = threading.Thread(target=self._pass_on, daemon=True)
        reader.start()
        status = self._process.wait()
        reader.join(2)  # a process that outlives the launcher may hold the pipe open
        for number, handler in before.items():
            signal.signal(number, handler)
        return status if status >= 0 else 128 - status

    def _forward(self, number, _):
        self.stopped = self.stopped or number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        if number != signal.SIGINT:  # a terminal sends that to both
            self._process.send_signal(number)

    def _pass_on(self):
        for line in self._process.stderr:
            os.write(2, line)
            text = _PREFIX.sub(b"", line).decode(errors="replace").rstrip()
            if text.startswith("error: "):
                self.error = text
                if _FAILURE.match(text):
                    self._leave_in_time()
            elif self.error and re.match(r"rank \d+: ", text):  # errors of several ranks
                self.error += "\n" + text


    def _leave_in_time(self):
        """mpirun may wait for a host that is gone until TCP gives up, a quarter of an hour; the ranks end by themselves."""
        timer = threading.Timer(_PATIENCE, self._process.kill)
        timer.daemon = True
        timer.start()


class Hosts:
    """The hosts of an mpirun command, and the command for those that are left.

    Args:
        command: list of str, `mpirun [--hostfile FILE] ... bash config.sh ARGS`.
    """

    def __init__(self, command):
        self._command = command
        self._folder = _models_root(command)
        self._lines = _host_lines(command)
        self._remote = [host for host in self._lines if not _is_here(host)]
        self._unshared = self._find_unshared() if self._folder else self._remote

    def restart(self):
        """The command that goes on from the last checkpoint, on the hosts that answer.

        Raises:
            InputError: a host is gone, and the checkpoint with it.
        """
        gone = _those_without(self._remote, "true")
        if gone and self._unshared:
            raise InputError(
                f"{', '.join(gone)} does not answer, and models root {self._folder} is not a folder that all hosts share "
                f"({', '.join(self._unshared)} has its own), so the centers of its ranks are there alone; start again "
                "with --resume auto when it is back"
            )
        command = list(self._command)
        if gone:
            tell(f"{', '.join(gone)} does not answer: going on without")
            command = self._without(command, gone)
        return [*command, "--resume", "auto"]

    def _without(self, command, gone):
        """The command with a host file that lacks some hosts, and with all slots of the others."""
        left = [line for host, line in self._lines.items() if host not in gone]
        if not left:
            raise InputError("no host answers")
        handle, path = tempfile.mkstemp(prefix="hosts-", text=True)
        with open(handle, "w") as file:
            file.writelines(left)
        place = command.index("--hostfile") + 1
        command[place] = path
        if "-np" in command[: command.index("bash")]:
            at = command.index("-np")
            del command[at : at + 2]
        return command

    def _find_unshared(self):
        """Remote hosts that do not see the models root of this one."""
        if not self._remote:
            return []
        os.makedirs(self._folder, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".shared-") as probe:
            return _those_without(self._remote, "test", "-e", probe.name)


def tell(text):
    """Print to standard error, past what is buffered."""
    print(text, file=sys.stderr, flush=True)


def _models_root(command):
    """Absolute path of the trainer's models root; None if its arguments are wrong, as the trainer itself will say."""
    arguments = command[command.index("bash") + 2 :] if "bash" in command else []
    try:
        return os.path.abspath(from_command_line(arguments).models_root)
    except InputError:
        return None


def _host_lines(command):
    """Lines of the host file by name of the host."""
    if "--hostfile" not in command:
        return {}
    with open(command[command.index("--hostfile") + 1]) as file:
        lines = [line for line in file if line.strip() and not line.lstrip().startswith("#")]
    return {line.split()[0]: line.rstrip("\n") + "\n" for line in lines}


def _is_here(host):
    """Whether a name is this host's."""
    own = {info.address for infos in psutil.net_if_addrs().values() for info in infos}
    try:
        return any(info[4][0] in own for info in socket.getaddrinfo(host, None))
    except OSError:
        return False


def _those_without(hosts, *command):
    """Those of the hosts on which a command, run over ssh, does not succeed."""
    def fails(host):
        try:
            return bool(subprocess.run([*_SSH, host, shlex.join(command)], stderr=subprocess.DEVNULL, timeout=30).returncode)
        except subprocess.TimeoutExpired:
            return True

    with concurrent.futures.ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        return [host for host, failed in zip(hosts, pool.map(fails, hosts)) if failed]


if __name__ == "__main__":
    sys.exit(main())
