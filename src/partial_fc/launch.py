"""Runs a launcher, mpirun or horovodrun: prints the cause of a failure last, and starts a failed run again.

python -m partial_fc.launch [--restarts K] -- mpirun [--hostfile FILE] ... bash config.sh ARGS
"""

import argparse
import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from types import FrameType
from typing import IO, Any, Iterator, List, Optional, Sequence

import psutil

from .cli.train_arguments import from_command_line
from .distributed.hosts import check_gloo, mpi_settings
from .distributed.launch_command import Command, read_command
from .distributed.restarts import Restarts
from .errors import STOPPED, WRONG_INPUT, InputError, exit_status
from .limits import prepare_launch
from .output.printable import print_message

# Ends a group of processes when this one has ended, even if it was killed: then nothing holds the pipe open any more.
# Signals to the launcher alone would not do: with MPI, horovodrun becomes a shell, which mpirun and its ranks outlive.
_GUARD = """
import contextlib, os, signal, sys
group = int(sys.stdin.readline())
sys.stdin.read()
with contextlib.suppress(ProcessLookupError):
    os.killpg(group, signal.SIGTERM)
"""
# Exit statuses of runs that would fail again, or were asked to end.
_FINAL = (WRONG_INPUT, STOPPED)
_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_TRAINER = "partial_fc.train"  # in the command line of a rank
_END_TIMEOUT = 60  # seconds in which a launcher should end once a rank has reported the cause
_TAG = re.compile(rb"^{0}|{0}$".replace(b"{0}", rb"\[[0-9]+(,[0-9]+)?\]<stderr>:"))  # put by launchers at a rank's line
# How a program of ours, or one whose command line argparse has read, reports its end.
_WORD = re.compile(r"(?:[^:\s][^:]*: )?(error: .*)|(stopped: .*)")
_RAISED = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception): (?!Horovod detected)(.+)")  # an exception that nothing caught
_FAILURE = re.compile(r"error: rank \S+ \(")  # as watch.py prints it: the run is over


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m partial_fc.launch", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        metavar="K",
        help="how often to start a failed run again (default: %(default)s)",
    )
    parser.add_argument("command", nargs="+", help="launcher and its arguments, after --: mpirun -np 2 bash config.sh")
    args = parser.parse_args(argv)
    try:
        prepare_launch()
        command = read_command(args.command)
        config = _check(command)
        if args.restarts and config is None:
            raise InputError("--restarts: only `bash config.sh` can continue from a checkpoint")
        restarts = Restarts(command, config.models_root) if args.restarts else None
        return _run(command, args.restarts, restarts)
    except (InputError, OSError) as error:
        print_message(f"error: {error}")
        return exit_status(error)


def _check(command: Command) -> Any:
    """Check what every rank would check, so that an error is reported once and before anything starts.

    Returns:
        Configuration of the trainer; None if the command starts another program.

    Raises:
        InputError: wrong arguments of the trainer; Gloo cannot connect this host.
    """
    if "--gloo" in command.options:
        check_gloo()
    return None if command.trainer_arguments is None else from_command_line(command.trainer_arguments)


def _run(command: Command, left: int, restarts: Optional[Restarts]) -> int:
    command = restarts.first_command if restarts else command
    while True:
        launcher = Launcher(command)
        status = launcher.run()
        if launcher.last_word and launcher.last_word.startswith("stopped: "):
            print_message(launcher.last_word)
            return STOPPED if status else status
        if status == 0:
            return status
        if launcher.last_word or not launcher.stopped:
            print_message(launcher.last_word or f"error: {command.name} ended with status {status}{launcher.raised}")
        if restarts is None or not left or status in _FINAL or launcher.stopped:
            return status
        try:
            command = restarts.next_command()
        except InputError as error:
            print_message(f"error: no restart: {error}")
            return status
        left -= 1
        print_message(f"starting again from the last checkpoint; restarts left: {left}")


class Launcher:
    """One run of a launcher.

    Args:
        command: how to start it.

    Attributes:
        last_word: last report of the launcher or its ranks about their end, `error: ...` or `stopped: ...`, or None.
        raised: end of a sentence: the first exception that nothing caught, or where to look for the cause.
        stopped: whether they were asked to end, by a signal to them or to this process.
    """

    def __init__(self, command: Command) -> None:
        self._command, self.stopped = command, False
        self.last_word: Optional[str] = None
        self.raised = ", see above"
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._early: List[int] = []  # signals that came before there was a process to forward them to

    def run(self) -> int:
        """Run it and pass its error output on; returns the exit status as a shell reports it."""
        with tempfile.NamedTemporaryFile("w", prefix="hosts-") as file:
            file.write(self._command.host_lines())
            file.flush()
            with self._signals_forwarded():
                return self._run(self._command.words(file.name))

    @contextlib.contextmanager
    def _signals_forwarded(self) -> Iterator[None]:
        """Context in which no signal ends this process; entered before there is a launcher that a signal could miss."""
        before = {number: signal.signal(number, self._forward) for number in (*_ENDS, signal.SIGUSR1)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run(self, words: Sequence[str]) -> int:
        if not shutil.which(words[0]):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words[0])
        with _guard() as guard:
            # In a session of its own: a terminal's Ctrl-C is for this process, which knows how to end a run.
            process = self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, **mpi_settings(host.name for host in self._command.hosts)},
            )
            guard.write(b"%d\n" % process.pid)
            while self._early:
                self._forward(self._early.pop(0))
            reader = threading.Thread(target=self._pass_on, args=[process], daemon=True)
            reader.start()
            status = process.wait()
        reader.join(2)  # a process that outlives the launcher may hold the pipe open
        return status if status >= 0 else 128 - status

    def _forward(self, number: int, _: Optional[FrameType] = None) -> None:
        """Forward a signal to one rank of this host, which informs the others.

        Launchers would kill their ranks one to five seconds after a signal. The second signal to end goes to the
        launcher.
        """
        if self._process is None:
            self._early.append(number)
            return
        again, self.stopped = self.stopped, self.stopped or number in _ENDS
        rank = None if again else _a_rank_below(self._process.pid)
        if rank:
            rank.send_signal(signal.SIGTERM if number in _ENDS else number)
        elif number in _ENDS and self._process.poll() is None:
            # Its whole group: horovodrun has become a shell, without which its mpirun and all ranks would go on.
            os.killpg(self._process.pid, signal.SIGTERM)

    def _pass_on(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr
        for line in process.stderr:
            text = _TAG.sub(b"", line.rstrip()).decode(errors="replace").rstrip()
            word, raised = _WORD.match(text), _RAISED.match(text)
            if not (word and word[2]):  # `stopped: ...` is printed at the end, after what the launcher adds to it
                os.write(2, line)
            if word:
                self.last_word, self.stopped = word[1] or word[2], self.stopped or bool(word[2])
                if _FAILURE.match(self.last_word):
                    self._kill_in_time(process)
            elif self.last_word and re.match(r" *rank \d+: ", text):  # errors of several ranks
                self.last_word += "\n" + text.strip()
            elif raised and self.raised.startswith(","):
                self.raised = ": " + raised[1]

    def _kill_in_time(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill a launcher that does not end with its ranks: mpirun may wait a quarter of an hour for a lost host."""
        timer = threading.Timer(_END_TIMEOUT, kill_all, [process.pid])
        timer.daemon = True
        timer.start()


@contextlib.contextmanager
def _guard() -> Iterator[IO[bytes]]:
    """Context with a `_GUARD`, in a session of its own. Yields the file to which the number of the group is written."""
    command = [sys.executable, "-I", "-S", "-c", _GUARD]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True)
    assert guard.stdin
    try:
        yield guard.stdin
    finally:
        guard.kill()
        guard.wait()
        guard.stdin.close()


def kill_all(pid: int) -> None:
    """Kill a launcher and all its descendants: horovodrun's mpirun, and ranks that hang, would outlive it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(pid)
        for process in [*launcher.children(recursive=True), launcher]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _a_rank_below(pid: int) -> Optional[psutil.Process]:
    """A descendant of a process that trains; None if there is none, or no such process any more."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if _TRAINER in process.cmdline():
                    return process
    return None


if __name__ == "__main__":
    sys.exit(main())
