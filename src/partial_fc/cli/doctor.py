"""The command `partial-fc doctor`."""

import json
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

from ..distributed.hosts import is_here, parse_hosts
from ..doctor.command_lines import checkout, rank_command
from ..doctor.facts import gather
from ..doctor.findings import OK, TROUBLE, WARNING, Finding, count, lines
from ..doctor.gpus import check_gpus
from ..doctor.hosts import ask, check_ssh, compare
from ..doctor.launchers import check_ranks
from ..doctor.software import check_software, missing
from ..doctor.storage import check_storage
from ..errors import InputError
from ..output.closed_pipe import quiet_pipe
from ..output.printable import print_lines, print_message
from .parser import Parser

_RANKS = "ranks"


def parser():
    """Arguments of the command."""
    result = Parser(
        prog="partial-fc doctor",
        description="Examine whether this host, and others, can train, and tell what to do where they cannot. "
        "The exit status is 1 if there is trouble.",
    )
    result.add_argument("-H", dest="hosts", metavar="HOSTS", help="hosts and their ranks: ip1:8,ip2:8")
    result.add_argument("--rec", metavar="REC", help="record file that will be trained on")
    result.add_argument("--models-root", default="models", metavar="DIR", help="folder to be written to (%(default)s)")
    result.add_argument("--json", action="store_true", help="print one JSON object")
    result.add_argument(
        "--gpu-acceptance",
        action="store_true",
        help="instead, try all that a GPU computes (without one: the CPU), and print a table to send back",
    )
    return result


@quiet_pipe
def main(argv=None):
    """Run the command line; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        if args.gpu_acceptance:
            return _accept()
        examination = Examination(args)
    except InputError as error:
        print_message(f"error: {error}")
        return 2
    try:
        return examination.run()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _accept():
    """Run benchmarks/acceptance.py, whose reference is that of the tests: it is in a checkout only."""
    if not checkout():
        raise InputError("--gpu-acceptance compares with the reference of the tests: run it in a checkout")
    return subprocess.run(rank_command("benchmarks.acceptance"), cwd=checkout()).returncode


class Examination:
    """Looks at one host after the other, and prints what it finds as soon as it does.

    Args:
        args: parsed by `parser`.

    Raises:
        InputError: for hosts that are none.
    """

    def __init__(self, args):
        self._args, self._hosts = args, parse_hosts(args.hosts) if args.hosts else []
        self._found, self._facts = {}, {}

    def run(self):
        """Look at everything; returns the exit status."""
        here = f"this host ({socket.gethostname()})"
        self._examine_here(here)
        others = [host for host in self._hosts if not is_here(host.name)]
        with ThreadPoolExecutor(max(1, len(others))) as pool:
            for host, result in zip(others, pool.map(self._ask, others)):
                self._examine_other(host, *result)
        self._examine_ranks(here)
        return self._finish()

    def _head(self, heading):
        self._found[heading] = []
        if not self._args.json:
            print_lines([heading])

    def _tell(self, heading, findings):
        for finding in findings:
            self._found[heading].append(finding)
            if not self._args.json:
                print_lines(lines(finding))

    def _examine_here(self, here):
        self._head(here)
        facts = self._facts[here] = gather(self._args.models_root, self._args.rec)
        slots = [host.slots for host in self._hosts if is_here(host.name)]
        self._tell(here, self._judge(facts, slots[0] if slots else None))

    def _judge(self, facts, slots):
        yield from check_software(facts, alone=all(is_here(host.name) for host in self._hosts))
        yield from check_gpus(facts, slots)
        yield from check_storage(facts)

    def _ask(self, host):
        found = check_ssh(host.name)
        if found[0].status != OK:
            return found, None, None
        return (found, *ask(host.name, self._args.models_root, self._args.rec))

    def _examine_other(self, host, found, facts, fault):
        self._head(host.name)
        self._tell(host.name, found + [fault] * bool(fault))
        if facts:
            here = next(iter(self._facts.values()))
            self._facts[host.name] = facts
            self._tell(host.name, self._judge(facts, host.slots))
            self._tell(host.name, compare(here, facts))

    def _examine_ranks(self, here):
        """Ranks on all hosts that answered."""
        self._head(_RANKS)
        if missing(self._facts[here]["horovod"]):
            why = "not tried, since Horovod cannot be imported here"
            self._tell(_RANKS, [Finding("collectives", TROUBLE, why, "first what is said above")])
            return
        names = [host.name for host in self._hosts if is_here(host.name) or host.name in self._facts]
        self._tell(_RANKS, check_ranks(names))

    def _finish(self):
        findings = [finding for found in self._found.values() for finding in found]
        troubles, warnings = count(findings, TROUBLE), count(findings, WARNING)
        if self._args.json:
            found = {heading: [each._asdict() for each in found] for heading, found in self._found.items()}
            print(json.dumps(dict(troubles=troubles, warnings=warnings, findings=found, facts=self._facts)))
        else:
            print_lines([f"{troubles} trouble{'s' * (troubles != 1)}, {warnings} warning{'s' * (warnings != 1)}"])
        return 1 if troubles else 0
