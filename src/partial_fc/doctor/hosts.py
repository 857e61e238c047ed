"""Asks other hosts over ssh, by which launchers start ranks there, and compares them with this one."""

import json
import os
import re
import time
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from .checklist import OK, TROUBLE, WARNING, Facts, Finding, missing
from .facts import TIMEOUT
from .programs import checkout, rank_command, run, ssh_command

_CONNECT = 5  # seconds for ssh to connect
_CLOCK = 2  # seconds by which clocks may differ
# Error messages of ssh, and what to do about each.
_SSH = (
    ("not on PATH", "install ssh (Debian, Ubuntu: apt-get install openssh-client)"),
    ("HOST IDENTIFICATION HAS CHANGED", "if it was installed anew: ssh-keygen -R {0}, then ssh {0} once by hand"),
    ("Host key verification failed", "connect once by hand and accept its key: ssh {0}"),
    ("Permission denied", "use a key that needs no password: ssh-keygen, then ssh-copy-id {0}; or ssh-agent"),
    ("Could not resolve", "no such name: see /etc/hosts, or Host and HostName in ~/.ssh/config"),
    ("Connection refused", "start sshd there, or set its Port in ~/.ssh/config"),
    ("", "is it running, and does a firewall block ssh? Try: ssh {0}"),
)
# What must be the same on every host: name, and keys in the facts.
_SAME = (
    ("code", ("code",)),
    ("Python", ("python",)),
    ("MXNet", ("mxnet", "version")),
    ("CUDA in MXNet", ("mxnet", "cuda")),
    ("NumPy", ("mxnet", "numpy")),
    ("Horovod", ("horovod", "version")),
    ("NCCL in Horovod", ("horovod", "nccl")),
    ("MPI", ("mpirun", "version")),
)


def check_ssh(name: str) -> List[Finding]:
    """Findings about ssh without prompts and, if it works, about the clock of the host."""
    before = time.time()
    outcome = run(ssh_command(name, _CONNECT, "date", "+%s.%N"), _CONNECT + 10)
    after = time.time()
    if outcome.problem:
        printed = outcome.problem + outcome.errors
        advice = next(advice for words, advice in _SSH if words in printed).format(name)
        return [Finding("ssh", TROUBLE, outcome.problem, advice)]
    answer = Finding("ssh", OK, f"without prompts, {1000 * (after - before):.0f} ms")
    times = re.findall(r"^\d+\.\d+$", outcome.output, re.M)
    return [answer, _clock(float(times[-1]) - (before + after) / 2, (after - before) / 2)] if times else [answer]


def _clock(ahead: float, uncertain: float) -> Finding:
    message = f"{ahead:+.1f} s from this host's clock, to within {uncertain:.1f} s"
    if abs(ahead) - uncertain > _CLOCK:
        return Finding(
            "clock", WARNING, message, "times of logs and files will be misleading: timedatectl set-ntp true on both"
        )
    return Finding("clock", OK, message)


def ask(name: str, models_root: str, rec: Optional[str]) -> Tuple[Optional[Facts], Optional[Finding]]:
    """Facts of another host, as `facts.gather` returns them, and None; or None and a Finding with the reason.

    Args:
        name: of the host.
        models_root, rec: paths there, see `facts.gather`.
    """
    paths = [os.path.abspath(path) for path in (models_root, rec) if path]
    command = ssh_command(name, _CONNECT, *rank_command("partial_fc.doctor.facts", *paths))
    outcome = run(command, 2 * TIMEOUT)
    reports = [line for line in outcome.output.splitlines() if line.startswith("{")]
    if reports and not outcome.problem:
        return json.loads(reports[-1]), None
    advice = "every host needs the checkout and its .venv at the same path: share it, or clone it and run install.sh"
    if "No module named" in outcome.errors:
        advice = "it has another version of the code: update it to that of this host (git pull), then run install.sh"
    where = checkout() or "the package"
    return None, Finding("checkout", TROUBLE, f"{where}: {outcome.problem or 'no answer'}", advice)


def compare(here: Facts, there: Facts) -> Iterator[Finding]:
    """Yield Findings about differences between the facts of this host and another."""
    differing = []
    for name, keys in _SAME:
        mine, other = _value(here, keys), _value(there, keys)
        if None not in (mine, other) and mine != other:
            differing.append(f"{name} {other}, here {mine}")
    if differing:
        advice = "use the same commit everywhere, and run setup-utils/install.sh with the same Python and MPI"
        yield Finding("versions", TROUBLE, "\n".join(differing), advice)
    else:
        yield Finding("versions", OK, "the same as here")
    if _value(here, ("data", "bytes")) and _value(there, ("data", "bytes")):
        yield _compare_data(here["data"], there["data"])


def _compare_data(mine: Facts, other: Facts) -> Finding:
    for name, key in (("train.rec", "bytes"), ("train.idx", "index_digest")):
        if mine[key] != other[key]:
            message = f"{name} differs from the one here ({key}: {other[key]}, here {mine[key]})"
            return Finding("same data", TROUBLE, message, "copy train.rec and train.idx from one host to the others")
    return Finding("same data", OK, "index and size as here")


def _value(facts: Facts, keys: Sequence[str]) -> Any:
    """Value at the keys, of Python's version without the last number; None if it is unknown."""
    if keys == ("python",):
        return facts["python"].rpartition(".")[0]
    if len(keys) == 1:
        return facts[keys[0]]
    return None if missing(facts[keys[0]]) else facts[keys[0]].get(keys[1])
