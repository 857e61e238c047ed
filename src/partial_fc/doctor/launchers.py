"""Starts ranks with each launcher and judges what they report of their collectives."""

import json
import os

from ..distributed.hosts import mpi_settings
from .command_lines import horovodrun_command, mpirun_command, rank_command
from .findings import OK, TROUBLE, WARNING, Finding
from .process import run

TIMEOUT = 120
# GB/s. Of 1 Gbit/s 0.12 arrive; the gradients of r50 are 0.17 GB, and travel twice.
_SLOW = 0.1
_LAST_LINES = 6
# Kept here, since `collective` imports MXNet: a test holds them to be the same.
_MARK = "partial_fc.doctor.collective:"
_LAUNCHERS = {
    "MPI": (mpirun_command, "--mca btl_tcp_if_include IFACE --mca oob_tcp_if_include IFACE for mpirun"),
    "Gloo": (horovodrun_command, "--network-interface IFACE for horovodrun"),
}


def check_ranks(hosts=()):
    """Yield a Finding for each launcher.

    Args:
        hosts: names of hosts with one rank each; of one, with two ranks; of none: two ranks on this host.
    """
    hosts = list(hosts) * (2 if len(hosts) == 1 else 1)
    for launcher in _LAUNCHERS:
        yield _check(launcher, hosts)


def _check(launcher, hosts):
    command, interface = _LAUNCHERS[launcher]
    environment = {**os.environ, **mpi_settings(hosts)}
    outcome = run(command(hosts, rank_command("partial_fc.doctor.collective")), TIMEOUT, environment)
    topic = f"{len(hosts) or 2} x {launcher}"
    result = _result(outcome.output)
    advice = "setup-utils/install.sh tries both launchers, and says more"
    if len(set(hosts)) > 1:
        advice = (
            f"if the hosts have several networks, choose one: {interface}, NCCL_SOCKET_IFNAME=IFACE; every TCP port "
            "must be open between them"
        )
    if outcome.problem or result is None:
        last = [line for line in (outcome.output + outcome.errors).splitlines() if line.strip()][-_LAST_LINES:]
        return Finding(topic, TROUBLE, "\n".join([outcome.problem or "the ranks told nothing", *last]), advice)
    message = _told(result)
    if not result["right"]:
        return Finding(topic, TROUBLE, f"wrong sums: {message}", "setup-utils/install-horovod.sh --force")
    if result["gb_s"]["all_reduce"] < _SLOW:
        advice = advice if len(set(hosts)) > 1 else "does another program keep this host busy?"
        return Finding(topic, WARNING, message, f"slow for the gradients of a large network; {advice}")
    return Finding(topic, OK, message)


def _result(output):
    """What rank 0 reported, from a line that the launcher may have put its own words before."""
    for line in output.splitlines():
        _, mark, told = line.partition(_MARK)
        if mark:
            return json.loads(told)
    return None


def _told(result):
    speeds = ", ".join(f"{name.replace('_', '-')} {value:.2f}" for name, value in result["gb_s"].items())
    hosts = len(set(result["hosts"]))
    where = f"{len(result['hosts'])} ranks on {hosts} host{'s' * (hosts > 1)}, {result['device'].upper()} arrays"
    return f"{where}: {speeds} GB/s; {result['latency_ms']:.1f} ms for a small one"
