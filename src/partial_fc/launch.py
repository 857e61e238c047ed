"""Runs a launcher, mpirun or horovodrun: the cause of a failure is its last line, and a failed run starts again.

python -m partial_fc.launch [--restarts K] -- mpirun [--hostfile FILE] ... bash config.sh ARGS
"""

import argparse
import contextlib
import ctypes
import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

import psutil

from .cli.train_arguments import from_command_line
from .distributed.hosts import check_gloo, mpi_settings
from .distributed.launch_command import read_command
from .distributed.restarts import Restarts
from .errors import STOPPED, WRONG_INPUT, InputError, exit_status
from .limits import prepare_launch
from .output.printable import print_message

_LIBC = ctypes.CDLL(None)
# Exit statuses after which the same run would fail again, or was to end.
_FINAL = (WRONG_INPUT, STOPPED)
_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_TRAINER = "partial_fc.train"  # of the command line of a rank
_PATIENCE = 60  # seconds that a launcher has for its end, once a rank has reported the cause
_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_TAG = re.compile(rb"^{0}|{0}$".replace(b"{0}", rb"\[[0-9]+(,[0-9]+)?\]<stderr>:"))  # launchers' for a rank's line
# What a program says about its end: our own, or one whose command line argparse has read.
_WORD = re.compile(r"(?:[^:\s][^:]*: )?(error: .*)|(stopped: .*)")
_RAISED = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception): (?!Horovod detected)(.+)")  # an exception that nothing caught
_FAILURE = re.compile(r"error: rank \S+ \(")  # as watch.py says it: the run is over


def main(argv=None):
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m partial_fc.launch", description=__doc__.splitlines()[0])
    parser.add_argument("--restarts", type=int, default=0, metavar="K", help="start a failed run again, up to K times")
    parser.add_argument("command", nargs="+", help="launcher and its arguments, after --")
    args = parser.parse_args(argv)
    try:
        prepare_launch()
        command = read_command(args.command)
        config = _check(command)
        return _run(command, args.restarts, Restarts(command, config) if args.restarts else None)
    except (InputError, OSError) as error:
        print_message(f"error: {error}")
        return exit_status(error)


def _check(command):
    """Raise InputError for what every rank would fail with: it is reported once, before anything starts.

    Returns:
        configuration of the trainer; None where another program is started.
    """
    if "--gloo" in command.options:
        check_gloo()
    return None if command.trainer_arguments is None else from_command_line(command.trainer_arguments)


def _run(command, left, restarts):
    while True:
        launcher = Launcher(command)
        status = launcher.run()
        if status == 0:
            return status
        if launcher.last_word or not launcher.stopped:
            print_message(launcher.last_word or f"error: {command.name} ended with status {status}{launcher.raised}")
        if not left or status in _FINAL or launcher.stopped:
            return STOPPED if (launcher.last_word or "").startswith("stopped: ") else status
        try:
            command = restarts.next_command()
        except InputError as error:
            print_message(f"error: no restart: {error}")
            return status
        left -= 1
        print_message(f"starting again from the last checkpoint; {left} more restarts are left")


class Launcher:
    """One run of a launcher.

    Args:
        command: Command.

    Attributes:
        last_word: what it or its ranks said last about their end, `error: ...` or `stopped: ...`, or None.
        raised: the first exception that nothing caught, or where to look, to be put behind another sentence.
        stopped: whether they were asked to end, by a signal to them or to this process.
    """

    def __init__(self, command):
        self._command, self.last_word, self.stopped = command, None, False
        self.raised = ", see above"

    def run(self):
        """Run it, with its error output passed on; returns the exit status, as a shell gives it."""
        with tempfile.NamedTemporaryFile("w", prefix="hosts-") as file:
            file.write(self._command.host_lines())
            file.flush()
            return self._run(self._command.words(file.name))

    def _run(self, words):
        # In a session of its own: a terminal's Ctrl-C is for this process, which knows how to end a run.
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **mpi_settings(host.name for host in self._command.hosts)},
            preexec_fn=functools.partial(_LIBC.prctl, _PR_SET_PDEATHSIG, signal.SIGTERM),  # if this process is killed
        )
        before = {number: signal.signal(number, self._forward) for number in (*_ENDS, signal.SIGUSR1)}
        reader = threading.Thread(target=self._pass_on, daemon=True)
        reader.start()
        status = self._process.wait()
        reader.join(2)  # a process that outlives the launcher may hold the pipe open
        for number, handler in before.items():
            signal.signal(number, handler)
        return status if status >= 0 else 128 - status

    def _forward(self, number, _):
        """To one of the ranks here, which tells the others: launchers kill theirs a second or five after a signal.

        The second signal to end goes to the launcher.
        """
        again, self.stopped = self.stopped, self.stopped or number in _ENDS
        rank = None if again else _a_rank_below(self._process.pid)
        if rank:
            rank.send_signal(signal.SIGTERM if number in _ENDS else number)
        elif number in _ENDS:
            self._process.send_signal(signal.SIGTERM)

    def _pass_on(self):
        for line in self._process.stderr:
            os.write(2, line)
            text = _TAG.sub(b"", line.rstrip()).decode(errors="replace").rstrip()
            word, raised = _WORD.match(text), _RAISED.match(text)
            if word:
                self.last_word, self.stopped = word[1] or word[2], self.stopped or bool(word[2])
                if _FAILURE.match(self.last_word):
                    self._leave_in_time()
            elif self.last_word and re.match(r" *rank \d+: ", text):  # errors of several ranks
                self.last_word += "\n" + text.strip()
            elif raised and self.raised.startswith(","):
                self.raised = ": " + raised[1]

    def _leave_in_time(self):
        """mpirun may wait for a host that is gone for a quarter of an hour; the ranks end by themselves."""
        timer = threading.Timer(_PATIENCE, kill_all, [self._process.pid])
        timer.daemon = True
        timer.start()


def kill_all(pid):
    """Kill a launcher with all that it has started here: horovodrun's mpirun, and ranks that hang, would outlive it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(pid)
        for process in [*launcher.children(recursive=True), launcher]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _a_rank_below(pid):
    """A psutil.Process that trains among the descendants of a process; None if there is none."""
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if _TRAINER in process.cmdline():
                return process
    return None


if __name__ == "__main__":
    sys.exit(main())
