"""Command lines that run modules of the library as a rank runs: on this host or another, one process or many."""

import os
import re
import shlex
import sys

_LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHECKOUT = os.path.dirname(os.path.dirname(_LIBRARY))
_IN_CHECKOUT = '. "$0/config.sh" && exec python -m "$@"'  # in the environment of a rank that trains
# What run.sh hands on, too.
_HANDED_ON = re.compile("(HOROVOD|MXNET|OMP|OPENBLAS|MKL|DNNL|NCCL|PARTIAL_FC)_")


def checkout():
    """Folder of the checkout that the library lies in, None if it is installed as a package."""
    return _CHECKOUT if os.path.isfile(os.path.join(_CHECKOUT, "config.sh")) else None


def rank_command(module, *arguments):
    """Run a module with str arguments; on each host, the library has to lie where it lies here."""
    if checkout():
        return ["bash", "-c", _IN_CHECKOUT, checkout(), module, *arguments]
    return [sys.executable, "-m", module, *arguments]


def ssh_command(host, timeout, *command):
    """Run a command on another host, without asking for a password or whether a key is right."""
    options = ["-n", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={timeout}"]
    venv = os.environ.get("PARTIAL_FC_VENV")
    settings = ["env", f"PARTIAL_FC_VENV={venv}"] if venv else []
    return ["ssh", *options, "--", host, " ".join(map(shlex.quote, [*settings, *command]))]


def mpirun_command(hosts, command):
    """Run a command on one rank for each name in `hosts`, which may repeat; without hosts, two ranks on this one."""
    where = ["-H", ",".join(f"{host}:{slots}" for host, slots in _slots(hosts))] if hosts else ["--oversubscribe"]
    settings = [word for name in os.environ if _HANDED_ON.match(name) for word in ("-x", name)]
    return ["mpirun", "-np", str(len(hosts) or 2), *where, "--bind-to", "none", "--map-by", "slot", *settings, *command]


def horovodrun_command(hosts, command):
    """The same under Gloo."""
    where = ",".join(f"{host}:{slots}" for host, slots in _slots(hosts or ["localhost", "localhost"]))
    return ["horovodrun", "--gloo", "-np", str(len(hosts) or 2), "-H", where, *command]


def _slots(hosts):
    return [(host, hosts.count(host)) for host in dict.fromkeys(hosts)]
