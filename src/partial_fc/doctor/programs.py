"""Programs that the examination runs: their command lines, and how they are run, since they may never end.

They may also be missing, fail or ask for a password.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

_LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHECKOUT = os.path.dirname(os.path.dirname(_LIBRARY))
_IN_CHECKOUT = '. "$0/config.sh" && exec python -m "$@"'  # in the environment of a rank that trains
_PASSED_ON = re.compile("(HOROVOD|MXNET|OMP|OPENBLAS|MKL|DNNL|NCCL|PARTIAL_FC)_")  # variables, as run.sh has it
# Seconds between SIGTERM and SIGKILL, in which a launcher ends its ranks.
_GRACE = 15


class Outcome(NamedTuple):
    """How a program ended.

    Attributes:
        problem: None if it succeeded, else one line that says why not.
        output, errors: what it printed.
    """

    problem: Optional[str]
    output: str
    errors: str


def run(command: Sequence[str], timeout: float, env: Optional[Dict[str, str]] = None) -> Outcome:
    """Run a program without a terminal or input, for a bounded time. A missing or failing program raises nothing.

    Args:
        command: name or path of the program, and its arguments.
        timeout: seconds after which it and its children are ended.
        env: environment of the program; None for that of this process.
    """
    try:
        # A session of its own: no terminal to ask a password on, and one signal reaches its children, too.
        process = subprocess.Popen(
            command,
            env=env,
            start_new_session=True,
            universal_newlines=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return Outcome(f"{command[0]}: not on PATH" if missing else f"{command[0]}: {error.strerror}", "", "")
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        output, errors = _end(process)
        return Outcome(f"no answer within {timeout:g} s", output, errors)
    except BaseException:  # Ctrl-C: no process is left behind
        _end(process)
        raise
    return Outcome(_problem(process.returncode, output, errors), output, errors)


def _end(process: "subprocess.Popen[str]") -> Tuple[str, str]:
    """End a process and its children; returns what it has printed, as far as it can be read."""
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


def _problem(status: int, output: str, errors: str) -> Optional[str]:
    if status == 0:
        return None
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    printed = (errors.strip() or output.strip()).splitlines()
    return printed[-1].strip() if printed else f"ended with status {status}"


def checkout() -> Optional[str]:
    """Folder of the checkout that holds the library, None if it is installed as a package."""
    return _CHECKOUT if os.path.isfile(os.path.join(_CHECKOUT, "config.sh")) else None


def rank_command(module: str, *arguments: str) -> List[str]:
    """Command that runs a module as a rank runs; on each host, the library must have the same path as here."""
    folder = checkout()
    if folder:
        return ["bash", "-c", _IN_CHECKOUT, folder, module, *arguments]
    return [sys.executable, "-m", module, *arguments]


def ssh_command(host: str, timeout: int, *command: str) -> List[str]:
    """Command that runs another one on a host, without prompts for a password or an unknown key.

    Args:
        host: its name.
        timeout: seconds to connect.
        command: words of the other command.
    """
    options = ["-n", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={timeout}"]
    venv = os.environ.get("PARTIAL_FC_VENV")
    settings = ["env", f"PARTIAL_FC_VENV={venv}"] if venv else []
    return ["ssh", *options, "--", host, " ".join(map(shlex.quote, [*settings, *command]))]


def mpirun_command(hosts: Sequence[str], command: Sequence[str]) -> List[str]:
    """Command that starts one rank for each name in `hosts`, which may repeat; without hosts, two ranks here."""
    where = ["-H", ",".join(f"{host}:{slots}" for host, slots in _slots(hosts))] if hosts else ["--oversubscribe"]
    settings = [word for name in os.environ if _PASSED_ON.match(name) for word in ("-x", name)]
    return ["mpirun", "-np", str(len(hosts) or 2), *where, "--bind-to", "none", "--map-by", "slot", *settings, *command]


def horovodrun_command(hosts: Sequence[str], command: Sequence[str]) -> List[str]:
    """The same under Gloo."""
    where = ",".join(f"{host}:{slots}" for host, slots in _slots(hosts or ["localhost", "localhost"]))
    return ["horovodrun", "--gloo", "-np", str(len(hosts) or 2), "-H", where, *command]


def _slots(hosts: Sequence[str]) -> List[Tuple[str, int]]:
    return [(host, hosts.count(host)) for host in dict.fromkeys(hosts)]
