"""A launcher's command line, of mpirun or horovodrun: its options, its hosts, and the program that its ranks run."""

import os
import re
import shlex
import socket
from typing import List, NamedTuple, Optional, Tuple

from ..errors import InputError
from .hosts import Host, own_address, parse_hosts, read_host_file

# All spellings that mpirun or horovodrun takes, abbreviations too: no host comes past `hosts`, where names are checked.
_HOSTS, _HOST_FILES = re.compile("-H|--?hosts?"), re.compile("--?(hostf(i(le?)?)?|(default-)?(host|machine)file)")
_RANKS = ("-np", "-n", "--num-proc")
# Options without a value: mpirun's, of those that run.sh gives it, and horovodrun's. All others have one.
FLAGS = frozenset(
    """
    --oversubscribe
    -h --help -v --version -cb --check-build --disable-cache --verbose --gloo --mpi --jsrun --tcp
    --hierarchical-allreduce --no-hierarchical-allreduce --hierarchical-allgather --no-hierarchical-allgather
    --torus-allreduce --no-torus-allreduce --autotune --no-autotune --timeline-mark-cycles --no-timeline-mark-cycles
    --stall-check --no-stall-check --mpi-threads-disable --no-mpi-threads-disable
    -prefix-timestamp --prefix-output-with-timestamp --log-with-timestamp --log-without-timestamp
    --log-hide-timestamp --no-log-hide-timestamp
    """.split()
)


class Command(NamedTuple):
    """A command line in parts.

    Attributes:
        launcher: name or path of mpirun or horovodrun.
        options: its own, list of str, without hosts and number of ranks.
        ranks: their number as it was given, None where it was not.
        hosts: tuple of Host, empty where none were given.
        program: what each rank runs, list of str.
    """

    launcher: str
    options: List[str]
    ranks: Optional[str]
    hosts: Tuple[Host, ...]
    program: List[str]

    @property
    def name(self) -> str:
        """Of the launcher, without its folder."""
        return os.path.basename(self.launcher)

    @property
    def trainer_arguments(self) -> Optional[List[str]]:
        """What the trainer gets, None if the program is not `bash config.sh ...`."""
        names = [os.path.basename(word) for word in self.program[:2]]
        return self.program[2:] if names == ["bash", "config.sh"] else None

    def words(self, host_file: str) -> List[str]:
        """The command as it is run.

        Args:
            host_file: path where mpirun finds `host_lines`.
        """
        ranks = ["-np", self.ranks] if self.ranks is not None else []
        if self.name != "horovodrun":
            hosts = ["--hostfile", host_file] if self.hosts else []
            return [self.launcher, *self.options, *ranks, *hosts, *self.program]
        hosts = ["-H", ",".join(f"{host.name}:{host.slots}" for host in self.hosts)] if self.hosts else []
        return [self.launcher, *self.options, *ranks, *hosts, *_hidden(self.program)]

    def host_lines(self) -> str:
        """The hosts as a host file."""
        return "".join(f"{name} slots={slots}\n" if slots else f"{name}\n" for name, slots in self.hosts)


def read_command(words: List[str]) -> Command:
    """Take a command line, list of str, apart.

    Raises:
        InputError: its hosts cannot be read, or do not do for this launcher and number of ranks.
    """
    at, options, ranks, listed, filed = 1, [], None, (), ()
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        name, value, length = _option(words[at], "".join(words[at + 1 : at + 2]))
        if _HOSTS.fullmatch(name):
            listed = tuple(parse_hosts(value))
        elif _HOST_FILES.fullmatch(name):
            filed = tuple(read_host_file(value))
        elif name in _RANKS:
            ranks = value
        else:
            options += words[at : at + length]
        at += length
    program = words[at + 1 :] if words[at : at + 1] == ["--"] else words[at:]
    command = Command(words[0], options, ranks, listed or filed, program)
    _check_hosts(command)
    return command


def _option(word, following):
    """Name and value of an option, and how many words of the command line they are."""
    name, equals, value = word.partition("=")
    if equals:
        return name, value, 1
    if re.match("-[Hip].", word):  # -Hlocalhost:2
        return word[:2], word[2:], 1
    if word in FLAGS or (len(word) > 2 and any(flag.startswith(word) for flag in FLAGS)):  # argparse takes beginnings
        return word, "", 1
    return word, following, 2


def _check_hosts(command):
    if command.name == "horovodrun":
        for name, slots in command.hosts:
            if slots is None:
                raise InputError(f"host {name}: horovodrun needs the number of ranks of each host, such as {name}:8")
            if "@" in name:
                raise InputError(f"host {name}: horovodrun takes no user's name; write User into ~/.ssh/config")
            if name == socket.gethostname() and own_address() is None:  # horovodrun would take it for another host
                raise InputError(f"host {name}: the name of this host does not resolve; write localhost instead")
    slots = [host.slots for host in command.hosts]
    if slots and None not in slots and (command.ranks or "").isdigit() and int(command.ranks) > sum(slots):
        raise InputError(f"-np {command.ranks}: the hosts have room for {sum(slots)} ranks")


def _hidden(program):
    """The same program in one word for bash, so that horovodrun does not see the program's options.

    It reads its command line with Python's argparse, which looks at the program's words, too: one that may abbreviate
    two options of horovodrun is an error, wherever it stands.
    """
    return ["bash", "-c", "exec env " + shlex.join(program)] if program else []
