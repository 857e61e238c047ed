"""Hosts and their numbers of ranks: the one place that reads lists and files of hosts and checks names."""

import os
import re
import socket
from typing import Dict, Iterable, List, Match, NamedTuple, Optional

from ..errors import InputError

_NAME = r"(?P<name>(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*)"  # cannot be an option of ssh
_RANKS = r"(?P<slots>[0-9]{1,6})"
_LISTED = re.compile(f"{_NAME}(?::{_RANKS})?")
# As in Open MPI, or NAME:N as in MPICH. No run starts more ranks than slots, so max_slots has no effect.
_LINE = re.compile(rf"{_NAME}(?:(?::|\s+slots\s*=\s*){_RANKS})?(?:\s+max[_-]slots\s*=\s*[0-9]+)?")

_LONGEST = 2**20  # characters of a host file

NO_ADDRESS = "the host's name {} does not resolve to an address, which Gloo needs"
NO_ADDRESS_ADVICE = "add name and address to /etc/hosts, or start with run.sh or horovodrun --mpi, which do not need it"


class Host(NamedTuple):
    """A host and the number of ranks that are to run there, None if unspecified."""

    name: str
    slots: Optional[int]


def parse_hosts(text: str) -> List[Host]:
    """Hosts of a list `name:slots,name`, as launchers take it after -H. A repeated host has the sum of its slots.

    Raises:
        InputError: the list has another form.
    """
    expected = f"-H {text!r}: expected hosts such as ip1:8,ip2:8"
    return _merged(_host(_LISTED.fullmatch(part.strip()), expected) for part in text.split(","))


def read_host_file(path: str) -> List[Host]:
    """Hosts of a host file, with a line `name slots=8`, `name:8` or `name` for each; # begins a comment.

    A byte order mark, CRLF and empty lines are ignored. A host with several lines has the sum of their slots; a line
    without a number counts as one.

    Raises:
        InputError: the file cannot be read, lists no hosts, or has a line of another form.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            text = file.read(_LONGEST + 1)
    except OSError as error:
        raise InputError(f"--hostfile {path}: {error.strerror}") from error
    if len(text) > _LONGEST:
        raise InputError(f"--hostfile {path}: has more than {_LONGEST:,} characters, so it is not a host file")
    lines = [line.partition("#")[0].strip() for line in text.split("\n")]
    hosts = _merged(
        _host(_LINE.fullmatch(line), f"{path}, line {number}: {line!r}: expected a host such as worker1 slots=8")
        for number, line in enumerate(lines, start=1)
        if line
    )
    if not hosts:
        raise InputError(f"--hostfile {path}: lists no hosts; expected lines such as worker1 slots=8")
    return hosts


def _host(match: Optional[Match[str]], expected: str) -> Host:
    if not match:
        raise InputError(expected)
    slots = int(match["slots"]) if match["slots"] else None
    if slots == 0:
        raise InputError(f"{expected}, with at least 1 rank each")
    return Host(match["name"], slots)


def _merged(hosts: Iterable[Host]) -> List[Host]:
    slots: Dict[str, Optional[int]] = {}
    for name, number in hosts:
        slots[name] = (slots[name] or 1) + (number or 1) if name in slots else number
    return [Host(name, number) for name, number in slots.items()]


def is_here(name: str) -> bool:
    """Whether a name is that of this host, where launchers start ranks without ssh."""
    if name in ("localhost", socket.gethostname()):
        return True
    try:
        address = socket.gethostbyname(name)
        with socket.socket() as trial:
            trial.bind((address, 0))  # succeeds only for an address of this host
    except OSError:
        return False
    return True


def own_address() -> Optional[str]:
    """Address that this host's name resolves to; None if it does not resolve."""
    try:
        return socket.getaddrinfo(socket.gethostname(), None)[0][4][0].partition("%")[0]
    except OSError:
        return None


def check_gloo() -> None:
    """Check that Gloo can connect the ranks of this host.

    In Horovod 0.28 Gloo listens at the address that the host's name resolves to, whatever interface was chosen; every
    rank crashes if the name does not resolve.

    Raises:
        InputError: the name does not resolve.
    """
    if own_address() is None:
        raise InputError(f"{NO_ADDRESS.format(socket.gethostname())}: {NO_ADDRESS_ADVICE}")


def is_plain(name: str) -> bool:
    """Whether every MPI accepts a host's name: it has only letters, digits, dots and hyphens, no underscore."""
    return bool(re.fullmatch("[A-Za-z0-9.-]+", name.rpartition("@")[2]))


def mpi_settings(names: Iterable[str]) -> Dict[str, str]:
    """Environment variables with which Open MPI can start ranks on this host and the named ones.

    Open MPI compresses the list of names, and fails if one is not plain, unless compression is turned off. env.sh does
    so for the name of this host.
    """
    if all(map(is_plain, [socket.gethostname(), *names])):
        return {}
    return {"OMPI_MCA_regx": os.environ.get("OMPI_MCA_regx", "naive")}
