"""Asks other hosts by ssh, as the launchers start ranks there, and compares them with this one."""

import json
import os
import re
import time

from .command_lines import checkout, rank_command, ssh_command
from .facts import TIMEOUT
from .findings import OK, TROUBLE, WARNING, Finding
from .process import run
from .software import missing

_CONNECT = 5
_CLOCK = 2  # seconds
# What ssh says, and what helps.
_SSH = (
    ("not on PATH", "install ssh (Debian, Ubuntu: apt-get install openssh-client)"),
    ("HOST IDENTIFICATION HAS CHANGED", "if it was set up anew: ssh-keygen -R {0}, then ssh {0} once by hand"),
    ("Host key verification failed", "connect once by hand and accept its key: ssh {0}"),
    ("Permission denied", "a key that needs no password: ssh-keygen, then ssh-copy-id {0}; or ssh-agent"),
    ("Could not resolve", "no such name: see /etc/hosts, or Host and HostName in ~/.ssh/config"),
    ("Connection refused", "start sshd there, or set its Port in ~/.ssh/config"),
    ("", "is it up, and does a firewall leave ssh through? Try: ssh {0}"),
)
# What must be the same on every host: name, and where it is in the facts.
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


def check_ssh(name):
    """Finding about ssh without prompts, and of the clock if it works."""
    before = time.time()
    outcome = run(ssh_command(name, _CONNECT, "date", "+%s.%N"), _CONNECT + 10)
    after = time.time()
    if outcome.problem:
        said = outcome.problem + outcome.errors
        advice = next(advice for words, advice in _SSH if words in said).format(name)
        return [Finding("ssh", TROUBLE, outcome.problem, advice)]
    answer = Finding("ssh", OK, f"without prompts, {1000 * (after - before):.0f} ms")
    times = re.findall(r"^\d+\.\d+$", outcome.output, re.M)
    return [answer, _clock(float(times[-1]) - (before + after) / 2, (after - before) / 2)] if times else [answer]


def _clock(ahead, uncertain):
    message = f"{ahead:+.1f} s from this host's, to within {uncertain:.1f} s"
    if abs(ahead) - uncertain > _CLOCK:
        return Finding("clock", WARNING, message, "logs and saved files will mislead: timedatectl set-ntp true on both")
    return Finding("clock", OK, message)


def ask(name, models_root, rec):
    """Facts of another host, as `facts.gather` gives them, and None; or None and a Finding that says why not."""
    paths = [os.path.abspath(path) for path in (models_root, rec) if path]
    command = ssh_command(name, _CONNECT, *rank_command("partial_fc.doctor.facts", *paths))
    outcome = run(command, 2 * TIMEOUT)
    told = [line for line in outcome.output.splitlines() if line.startswith("{")]
    if told and not outcome.problem:
        return json.loads(told[-1]), None
    advice = "every host needs the checkout and its .venv in the same folder: a shared one, or a clone and install.sh"
    if "No module named" in outcome.errors:
        advice = "another version of the code is there: bring it to that of this host (git pull), then install.sh"
    where = checkout() or "the package"
    return None, Finding("checkout", TROUBLE, f"{where}: {outcome.problem or 'no answer'}", advice)


def compare(here, there):
    """Yield Findings on what differs between the facts of this host and another."""
    differing = []
    for name, keys in _SAME:
        mine, other = _value(here, keys), _value(there, keys)
        if None not in (mine, other) and mine != other:
            differing.append(f"{name} {other}, here {mine}")
    if differing:
        advice = "the same commit everywhere, and setup-utils/install.sh with the same Python and MPI"
        yield Finding("versions", TROUBLE, "\n".join(differing), advice)
    else:
        yield Finding("versions", OK, "the same as here")
    if _value(here, ("data", "bytes")) and _value(there, ("data", "bytes")):
        yield _compare_data(here["data"], there["data"])


def _compare_data(mine, other):
    for name, key in (("train.rec", "bytes"), ("train.idx", "index_digest")):
        if mine[key] != other[key]:
            message = f"{name} is another one than here ({key}: {other[key]}, here {mine[key]})"
            return Finding("same data", TROUBLE, message, "copy train.rec and train.idx from one host to the others")
    return Finding("same data", OK, "index and size as here")


def _value(facts, keys):
    """What is at the keys, of versions of Python without the last number; None if it is not there."""
    if keys == ("python",):
        return facts["python"].rpartition(".")[0]
    if len(keys) == 1:
        return facts[keys[0]]
    return None if missing(facts[keys[0]]) else facts[keys[0]].get(keys[1])
