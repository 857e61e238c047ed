"""Starts ranks with each launcher and judges the values and the speed of their collectives."""

import json
import os
from typing import Iterator, Optional, Sequence

from ..distributed.hosts import mpi_settings
from .checklist import OK, TROUBLE, WARNING, Facts, Finding
from .programs import horovodrun_command, mpirun_command, rank_command, run

TIMEOUT = 120
# GB/s; a network of 1 Gbit/s has 0.12. The gradients of r50 are 0.17 GB, and travel twice.
_SLOW = 0.1
_LAST_LINES = 6
# Repeated here, since `collective` imports MXNet; a test compares the two.
_MARK = "partial_fc.doctor.collective:"
_LAUNCHERS = {
    "MPI": (mpirun_command, "--mca btl_tcp_if_include IFACE --mca oob_tcp_if_include IFACE for mpirun"),
    "Gloo": (horovodrun_command, "--network-interface IFACE for horovodrun"),
}


def check_ranks(hosts: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield a Finding for each launcher.

    Args:
        hosts: names of hosts, which get one rank each, a single one two; none: two ranks on this host.
    """
    names = list(hosts) * (2 if len(hosts) == 1 else 1)
    for launcher in _LAUNCHERS:
        yield _check(launcher, names)


def _check(launcher: str, hosts: Sequence[str]) -> Finding:
    command, interface = _LAUNCHERS[launcher]
    environment = {**os.environ, **mpi_settings(hosts)}
    outcome = run(command(hosts, rank_command("partial_fc.doctor.collective")), TIMEOUT, environment)
    topic = f"{len(hosts) or 2} x {launcher}"
    result = _result(outcome.output)
    advice = "setup-utils/install.sh tests both launchers and prints more"
    if len(set(hosts)) > 1:
        advice = (
            f"if the hosts have several networks, choose one: {interface}, NCCL_SOCKET_IFNAME=IFACE; every TCP port "
            "must be open between them"
        )
    if outcome.problem or result is None:
        last = [line for line in (outcome.output + outcome.errors).splitlines() if line.strip()][-_LAST_LINES:]
        return Finding(topic, TROUBLE, "\n".join([outcome.problem or "the ranks reported nothing", *last]), advice)
    message = _summary(result)
    if not result["right"]:
        return Finding(topic, TROUBLE, f"wrong sums: {message}", "setup-utils/install-horovod.sh --force")
    if result["gb_s"]["all_reduce"] < _SLOW:
        advice = advice if len(set(hosts)) > 1 else "is this host busy with another program?"
        return Finding(topic, WARNING, message, f"slow for the gradients of a large network; {advice}")
    return Finding(topic, OK, message)


def _result(output: str) -> Optional[Facts]:
    """The report of rank 0, from a line that the launcher may have prefixed; None if there is none."""
    for line in output.splitlines():
        _, mark, report = line.partition(_MARK)
        if mark:
            return json.loads(report)
    return None


def _summary(result: Facts) -> str:
    speeds = ", ".join(f"{name.replace('_', '-')} {value:.2f}" for name, value in result["gb_s"].items())
    hosts = len(set(result["hosts"]))
    where = f"{len(result['hosts'])} ranks on {hosts} host{'s' * (hosts > 1)}, {result['device'].upper()} arrays"
    return f"{where}: {speeds} GB/s; {result['latency_ms']:.1f} ms for a small one"
