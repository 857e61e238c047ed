"""Hosts and how many ranks each runs: the one place where lists and files of them are read, and names are checked."""

import os
import re
import socket
from typing import Dict, Iterable, List, NamedTuple, Optional

from ..errors import InputError

_NAME = r"(?P<name>(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*)"  # no option of ssh
_RANKS = r"(?P<slots>[0-9]{1,6})"
_LISTED = re.compile(f"{_NAME}(?::{_RANKS})?")
# As Open MPI has it, or NAME:N as MPICH does. No run starts more ranks than slots, so max_slots changes nothing.
_LINE = re.compile(rf"{_NAME}(?:(?::|\s+slots\s*=\s*){_RANKS})?(?:\s+max[_-]slots\s*=\s*[0-9]+)?")

_LONGEST = 2**20  # characters of a file of hosts

NO_ADDRESS = "the host's name {} does not resolve to an address, which Gloo needs"
NO_ADDRESS_ADVICE = "write both into /etc/hosts, or start with run.sh or horovodrun --mpi, which do not need it"


class Host(NamedTuple):
    """A name, and how many ranks are to run there, None if that is not said."""

    name: str
    slots: Optional[int]


def parse_hosts(text: str) -> List[Host]:
    """Hosts of `name:slots,name`, as launchers take them after -H. One that is repeated has the sum of its slots.

    Raises:
        InputError: for anything else.
    """
    expected = f"-H {text!r}: expected hosts such as ip1:8,ip2:8"
    return _merged(_host(_LISTED.fullmatch(part.strip()), expected) for part in text.split(","))


def read_host_file(path: str) -> List[Host]:
    """Hosts of a file with a line `name slots=8`, `name:8` or `name` for each; # begins a comment.

    A byte order mark, CRLF and empty lines are skipped. A host of several lines has the sum of their slots, one for a
    line without a number.

    Raises:
        InputError: the file cannot be read, or has no hosts or a line of another form.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            text = file.read(_LONGEST + 1)
    except OSError as error:
        raise InputError(f"--hostfile {path}: {error.strerror}") from error
    if len(text) > _LONGEST:
        raise InputError(f"--hostfile {path}: has more than {_LONGEST:,} characters: this is not a list of hosts")
    lines = [line.partition("#")[0].strip() for line in text.split("\n")]
    hosts = _merged(
        _host(_LINE.fullmatch(line), f"{path}, line {number}: {line!r}: expected a host such as worker1 slots=8")
        for number, line in enumerate(lines, start=1)
        if line
    )
    if not hosts:
        raise InputError(f"--hostfile {path}: there is no host in it; expected lines such as worker1 slots=8")
    return hosts


def _host(match, expected):
    if not match:
        raise InputError(expected)
    slots = match["slots"]
    if slots and not int(slots):
        raise InputError(f"{expected}, with at least 1 rank each")
    return Host(match["name"], slots and int(slots))


def _merged(hosts):
    slots = {}
    for host in hosts:
        slots[host.name] = (slots[host.name] or 1) + (host.slots or 1) if host.name in slots else host.slots
    return [Host(name, number) for name, number in slots.items()]


def is_here(name: str) -> bool:
    """Whether a host is this one: launchers start ranks there without ssh."""
    if name in ("localhost", socket.gethostname()):
        return True
    try:
        address = socket.gethostbyname(name)
        with socket.socket() as trial:
            trial.bind((address, 0))  # only an address of this host can be
    except OSError:
        return False
    return True


def own_address() -> Optional[str]:
    """Address that this host's name resolves to, None if it does not."""
    try:
        return socket.getaddrinfo(socket.gethostname(), None)[0][4][0].partition("%")[0]
    except OSError:
        return None


def check_gloo() -> None:
    """Check that Gloo can connect the ranks of this host.

    Horovod 0.28 has Gloo listen where the host's name resolves to, whatever interface was chosen; where it does not
    resolve, every rank crashes.

    Raises:
        InputError: it does not resolve.
    """
    if own_address() is None:
        raise InputError(f"{NO_ADDRESS.format(socket.gethostname())}: {NO_ADDRESS_ADVICE}")


def is_plain(name: str) -> bool:
    """Whether a host's name has only what every MPI takes: letters, digits, dots and hyphens, no underscore."""
    return bool(re.fullmatch("[A-Za-z0-9.-]+", name.rpartition("@")[2]))


def mpi_settings(names: Iterable[str]) -> Dict[str, str]:
    """Environment variables with which Open MPI starts ranks on this host and those of the names.

    It packs the names, and ends where one is not plain, unless packing is turned off. env.sh does so for the name of
    this host.
    """
    if all(map(is_plain, [socket.gethostname(), *names])):
        return {}
    return {"OMPI_MCA_regx": os.environ.get("OMPI_MCA_regx", "naive")}
