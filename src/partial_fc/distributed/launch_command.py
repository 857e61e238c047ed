"""The command line of a launcher, mpirun or horovodrun: its options, its hosts, and the program of its ranks."""

import os
import re
import shlex
import socket
from typing import List, NamedTuple, Optional, Tuple

from ..errors import InputError
from .hosts import Host, own_address, parse_hosts, read_host_file

# All spellings that mpirun or horovodrun accepts, with abbreviations, so that hosts.py checks every host's name.
_HOSTS, _HOST_FILES = re.compile("-H|--?hosts?"), re.compile("--?(hostf(i(le?)?)?|(default-)?(host|machine)file)")
_RANKS = ("-np", "-n", "--num-proc")
# Options without a value, of horovodrun and of those that run.sh passes to mpirun. All others have a value.
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
    """The parts of a command line.

    Attributes:
        launcher: name or path of mpirun or horovodrun.
        options: of the launcher, without hosts and number of ranks.
        ranks: their number as it was given, None if it was not.
        hosts: empty if none were given.
        program: that each rank runs, with its arguments.
    """

    launcher: str
    options: List[str]
    ranks: Optional[str]
    hosts: Tuple[Host, ...]
    program: List[str]

    @property
    def name(self) -> str:
        """Name of the launcher, without its folder."""
        return os.path.basename(self.launcher)

    @property
    def trainer_arguments(self) -> Optional[List[str]]:
        """Arguments of the trainer, None if the program is not `bash config.sh ...`."""
        names = [os.path.basename(word) for word in self.program[:2]]
        return self.program[2:] if names == ["bash", "config.sh"] else None

    def words(self, host_file: str) -> List[str]:
        """The command line to run.

        Args:
            host_file: path of a file with `host_lines`, for mpirun.
        """
        ranks = ["-np", self.ranks] if self.ranks is not None else []
        if self.name != "horovodrun":
            hosts = ["--hostfile", host_file] if self.hosts else []
            return [self.launcher, *self.options, *ranks, *hosts, *self.program]
        hosts = ["-H", ",".join(f"{host.name}:{host.slots}" for host in self.hosts)] if self.hosts else []
        return [self.launcher, *self.options, *ranks, *hosts, *_hidden(self.program)]

    def host_lines(self) -> str:
        """Content of a host file with the hosts."""
        return "".join(f"{name} slots={slots}\n" if slots else f"{name}\n" for name, slots in self.hosts)


def read_command(words: List[str]) -> Command:
    """Split a command line into its parts.

    Raises:
        InputError: the hosts cannot be read, or do not suit this launcher or the number of ranks.
    """
    at, options, ranks = 1, [], None
    listed: Tuple[Host, ...] = ()
    filed: Tuple[Host, ...] = ()
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


def _option(word: str, following: str) -> Tuple[str, str, int]:
    """Name and value of an option, and how many words of the command line they take."""
    name, equals, value = word.partition("=")
    if equals:
        return name, value, 1
    if re.match("-[Hip].", word):  # -Hlocalhost:2
        return word[:2], word[2:], 1
    if word in FLAGS or (len(word) > 2 and any(flag.startswith(word) for flag in FLAGS)):
        return word, "", 1
    return word, following, 2


def _check_hosts(command: Command) -> None:
    if command.name == "horovodrun":
        for name, slots in command.hosts:
            if slots is None:
                raise InputError(f"host {name}: horovodrun needs the number of ranks of each host, such as {name}:8")
            if "@" in name:
                raise InputError(f"host {name}: horovodrun accepts no user name; set User in ~/.ssh/config")
            if name == socket.gethostname() and own_address() is None:  # horovodrun would treat it as another host
                raise InputError(f"host {name}: the name of this host does not resolve; write localhost instead")
    known = [host.slots for host in command.hosts if host.slots is not None]
    complete = known and len(known) == len(command.hosts)
    if complete and command.ranks and command.ranks.isdigit() and int(command.ranks) > sum(known):
        raise InputError(f"-np {command.ranks}: the hosts have only {sum(known)} slots")


def _hidden(program: List[str]) -> List[str]:
    """The same program as one word for bash, so that horovodrun does not see the program's options.

    horovodrun reads its command line with argparse, which also looks at the program's words: it rejects any word that
    could abbreviate two options of horovodrun.
    """
    return ["bash", "-c", "exec env " + shlex.join(program)] if program else []
