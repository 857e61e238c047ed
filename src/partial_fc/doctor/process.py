"""Programs that may be missing, fail, ask for a password or never end."""

import os
import signal
import subprocess
from typing import NamedTuple, Optional

# Seconds that a program gets between SIGTERM and SIGKILL: a launcher ends its ranks in it.
_GRACE = 15


class Outcome(NamedTuple):
    """How a program ended: `problem` is None if well, else one line that says why not; what it printed."""

    problem: Optional[str]
    output: str
    errors: str


def run(command, timeout, env=None):
    """Run a program without a terminal or input, for a bounded time.

    Args:
        command: list of str.
        timeout: seconds after which it and its children are ended.
        env: of the program; None for that of this process.

    Returns:
        Outcome; nothing is raised for a program that is missing or fails.
    """
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        # A session of its own: no terminal to ask a password on, and one signal reaches its children, too.
        process = subprocess.Popen(
            command, env=env, start_new_session=True, universal_newlines=True, errors="replace", **pipes
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return Outcome(f"{command[0]}: not on PATH" if missing else f"{command[0]}: {error.strerror}", "", "")
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        output, errors = _end(process)
        return Outcome(f"no answer within {timeout} s", output, errors)
    except BaseException:  # Ctrl-C: nothing stays behind
        _end(process)
        raise
    return Outcome(_problem(process.returncode, output, errors), output, errors)


def _end(process):
    """End a process and its children; returns what it had printed, as far as that is to be had."""
    for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            return process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:  # perhaps waiting for a dead file system, which no signal ends
            continue
    return "", ""


def _problem(status, output, errors):
    if status == 0:
        return None
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    printed = (errors.strip() or output.strip()).splitlines()
    return printed[-1].strip() if printed else f"ended with status {status}"
