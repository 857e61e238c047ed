"""The command `partial-fc doctor`."""

import argparse
import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from ..distributed.hosts import Host, is_here, parse_hosts
from ..doctor.checklist import OK, TROUBLE, WARNING, Facts, Finding, count, lines, missing
from ..doctor.facts import gather
from ..doctor.hardware import check_gpus, check_precisions, check_storage
from ..doctor.hosts import ask, check_ssh, compare
from ..doctor.launchers import check_ranks
from ..doctor.programs import checkout, rank_command
from ..doctor.software import check_software
from ..errors import INTERRUPTED, PROBLEMS_FOUND, WRONG_INPUT, InputError
from ..output.closed_pipe import quiet_pipe
from ..output.printable import print_lines, print_message
from .parser import Parser

_RANKS = "ranks"
_ACCEPTANCE = "benchmarks.acceptance"


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    result = Parser(
        prog="partial-fc doctor",
        description="Check whether this host, and others, can train, and print what to do where they cannot. "
        "The exit status is 1 if there is trouble.",
        epilog="example: partial-fc doctor -H ip1:8,ip2:8 --rec data/faces/train.rec",
    )
    result.add_argument(
        "-H",
        dest="hosts",
        metavar="HOSTS",
        help="hosts to check, with their numbers of ranks: ip1:8,ip2:8 (default: none)",
    )
    result.add_argument("--rec", metavar="REC", help="record file that a run will read, PATH/train.rec (default: none)")
    result.add_argument(
        "--models-root", default="models", metavar="DIR", help="folder that a run will write to (default: %(default)s)"
    )
    result.add_argument("--json", action="store_true", help="print one JSON object with all findings and facts instead")
    result.add_argument(
        "--gpu-acceptance",
        action="store_true",
        help="test all computations of a GPU (without one: of the CPU) instead, for some minutes, and print a table "
        "to send back; needs a checkout",
    )
    return result


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        if args.gpu_acceptance:
            _check_alone(args)
            return _accept()
        hosts = parse_hosts(args.hosts) if args.hosts else []
    except InputError as error:
        print_message(f"error: {error}")
        return WRONG_INPUT
    try:
        return Examination(hosts, args.models_root, args.rec, args.json).run()
    except KeyboardInterrupt:
        return INTERRUPTED


def _check_alone(args: argparse.Namespace) -> None:
    """Raise InputError if --gpu-acceptance is given with an option that has no effect on it."""
    without = vars(parser().parse_args(["--gpu-acceptance"]))
    for name, value in vars(args).items():
        if value != without[name]:
            flag = "-H" if name == "hosts" else f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: has no effect with --gpu-acceptance, which tests this host alone")


def _accept() -> int:
    """Run the acceptance of GPUs, a program of the checkout; returns its exit status."""
    folder = checkout()
    path = os.path.join(folder or "", *_ACCEPTANCE.split(".")) + ".py"
    if not folder or not os.path.isfile(path):
        raise InputError(
            "--gpu-acceptance runs benchmarks/acceptance.py, which is not part of the installed package: clone the "
            "repository, and run the command there after `. setup-utils/env.sh`"
        )
    return subprocess.run(rank_command(_ACCEPTANCE), cwd=folder).returncode


class Examination:
    """Checks one host after the other, and prints each finding at once.

    Args:
        hosts: to check beside this one, with their numbers of ranks.
        models_root: folder that a run will write to.
        rec: record file that it will read, or None.
        as_json: whether to print one JSON object at the end instead.
    """

    def __init__(self, hosts: Sequence[Host], models_root: str, rec: Optional[str], as_json: bool) -> None:
        self._hosts, self._models_root, self._rec, self._as_json = hosts, models_root, rec, as_json
        self._found: Dict[str, List[Finding]] = {}  # by heading
        self._facts: Dict[str, Facts] = {}  # by heading

    def run(self) -> int:
        """Check everything; returns the exit status."""
        here = f"this host ({socket.gethostname()})"
        self._examine_here(here)
        others = [host for host in self._hosts if not is_here(host.name)]
        with ThreadPoolExecutor(max(1, len(others))) as pool:
            for host, result in zip(others, pool.map(self._ask, others)):
                self._examine_other(host, *result)
        self._examine_ranks(here)
        return self._finish()

    def _head(self, heading: str) -> None:
        self._found[heading] = []
        if not self._as_json:
            print_lines([heading])

    def _report(self, heading: str, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._found[heading].append(finding)
            if not self._as_json:
                print_lines(lines(finding))

    def _examine_here(self, here: str) -> None:
        self._head(here)
        facts = self._facts[here] = gather(self._models_root, self._rec)
        slots = [host.slots for host in self._hosts if is_here(host.name)]
        self._report(here, self._judge(facts, slots[0] if slots else None))

    def _judge(self, facts: Facts, slots: Optional[int]) -> Iterator[Finding]:
        yield from check_software(facts, alone=all(is_here(host.name) for host in self._hosts))
        yield from check_gpus(facts, slots)
        yield from check_precisions(facts)
        yield from check_storage(facts)

    def _ask(self, host: Host) -> Tuple[List[Finding], Optional[Facts], Optional[Finding]]:
        found = check_ssh(host.name)
        if found[0].status != OK:
            return found, None, None
        return (found, *ask(host.name, self._models_root, self._rec))

    def _examine_other(
        self, host: Host, found: List[Finding], facts: Optional[Facts], problem: Optional[Finding]
    ) -> None:
        self._head(host.name)
        self._report(host.name, found + ([problem] if problem else []))
        if facts:
            here = next(iter(self._facts.values()))
            self._facts[host.name] = facts
            self._report(host.name, self._judge(facts, host.slots))
            self._report(host.name, compare(here, facts))

    def _examine_ranks(self, here: str) -> None:
        """Start ranks on all hosts that answered."""
        self._head(_RANKS)
        if missing(self._facts[here]["horovod"]):
            why = "not tested, since Horovod cannot be imported here"
            self._report(_RANKS, [Finding("collectives", TROUBLE, why, "first solve the problems above")])
            return
        names = [host.name for host in self._hosts if is_here(host.name) or host.name in self._facts]
        self._report(_RANKS, check_ranks(names))

    def _finish(self) -> int:
        findings = [finding for found in self._found.values() for finding in found]
        troubles, warnings = count(findings, TROUBLE), count(findings, WARNING)
        if self._as_json:
            found = {heading: [each._asdict() for each in found] for heading, found in self._found.items()}
            print(json.dumps(dict(troubles=troubles, warnings=warnings, findings=found, facts=self._facts)))
        else:
            print_lines([f"{troubles} trouble{'s' * (troubles != 1)}, {warnings} warning{'s' * (warnings != 1)}"])
        return PROBLEMS_FOUND if troubles else 0
