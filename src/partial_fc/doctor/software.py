"""Judges a host's versions (Python, MXNet, Horovod, MPI), its name and its limits."""

import ipaddress
from typing import Iterator, Optional

from ..distributed.hosts import NO_ADDRESS, NO_ADDRESS_ADVICE, is_plain
from .checklist import OK, TROUBLE, WARNING, Facts, Finding, missing

_INSTALL = ". setup-utils/env.sh; if nothing is installed yet, setup-utils/install.sh first"
_PYTHON = (3, 8), (3, 14)
_OPEN_FILES = 1024  # sockets to all ranks, shared memory, records
_SHARED_MEMORY = 2**29


def check_software(facts: Facts, alone: bool = True) -> Iterator[Finding]:
    """Yield a Finding for each program and library, and for the name and the limits of the host where they matter.

    Args:
        facts: of the host, see `facts.gather`.
        alone: whether all ranks are to run on one host.
    """
    yield _python(facts)
    yield _mxnet(facts["mxnet"])
    if not missing(facts["mxnet"]):  # the others need it
        yield from _horovod(facts)
        yield _trainer(facts["trainer"])
    yield from _name(facts["host"], facts["address"], alone)
    yield from _system(facts)


def _python(facts: Facts) -> Finding:
    version = tuple(map(int, facts["python"].split(".")[:2]))
    message = f"{facts['python']}, {facts['executable']}"
    if _PYTHON[0] <= version < _PYTHON[1]:
        return Finding("Python", OK, message)
    return Finding("Python", TROUBLE, message, "use 3.8 to 3.13: setup-utils/install.sh --python PATH")


def _mxnet(mxnet: Facts) -> Finding:
    if missing(mxnet):
        advice = _INSTALL
        if "libcuda" in mxnet["error"]:
            advice = "install NVIDIA's driver, or MXNet for the CPU: setup-utils/install.sh --cuda none"
        return Finding("MXNet", TROUBLE, f"cannot be imported: {mxnet['error']}", advice)
    build = "CUDA" if mxnet["cuda"] else "CPU"
    return Finding("MXNet", OK, f"{mxnet['version']}, {build} build, NumPy {mxnet['numpy']}")


def _horovod(facts: Facts) -> Iterator[Finding]:
    horovod, mpirun = facts["horovod"], facts["mpirun"]
    if missing(horovod):
        yield Finding("Horovod", TROUBLE, f"cannot be imported: {horovod['error']}", _INSTALL)
        return
    parts = [name for key, name in (("mpi", "MPI"), ("gloo", "Gloo"), ("nccl", "NCCL")) if horovod[key]]
    message = f"{horovod['version']} with {', '.join(parts)}"
    lacking = [name for name in ("MPI", "Gloo") if name not in parts]
    if lacking:
        advice = "setup-utils/install-horovod.sh --force; .venv/install.log has the compiler's output"
        yield Finding("Horovod", WARNING, f"{message}, without {' and '.join(lacking)}", advice)
    else:
        yield Finding("Horovod", OK, message)
    yield _mpi(horovod, mpirun)
    if missing(facts["horovodrun"]):
        advice = ". setup-utils/env.sh; or start with run.sh, which only needs mpirun"
        yield Finding("horovodrun", WARNING, facts["horovodrun"]["error"], advice)


def _mpi(horovod: Facts, mpirun: Facts) -> Finding:
    """Whether mpirun is there and belongs to the MPI that Horovod and mpi4py use."""
    if missing(mpirun):
        advice = ". setup-utils/env.sh, or setup-utils/install-mpi.sh; without MPI: horovodrun --gloo"
        return Finding("MPI", WARNING, f"no mpirun: {mpirun['error']}", advice)
    message = f"{mpirun['version']}, {mpirun['path']}; {horovod['mpi_library']} in mpi4py"
    loaded = horovod["mpi_library"].split()
    if not loaded or loaded[-1].lstrip("v") not in mpirun["version"]:
        advice = "they must have one version: . setup-utils/env.sh, or setup-utils/install-horovod.sh --force"
        return Finding("MPI", WARNING, message, advice)
    return Finding("MPI", OK, message)


def _trainer(trainer: Facts) -> Finding:
    if "error" in trainer:
        return Finding("trainer", TROUBLE, f"cannot be started: {trainer['error']}", _INSTALL)
    return Finding("trainer", OK, "starts; all imports are there")


def _name(name: str, address: Optional[str], alone: bool) -> Iterator[Finding]:
    if address is None:
        yield Finding("host name", WARNING, NO_ADDRESS.format(name), NO_ADDRESS_ADVICE)
    elif not alone and ipaddress.ip_address(address).is_loopback:
        message = f"{name} resolves to {address}: Gloo cannot connect two hosts whose names do so"
        advice = "write its address in the network of the hosts into /etc/hosts; run.sh and horovodrun --mpi work"
        yield Finding("host name", WARNING, message, advice)
    if not is_plain(name):
        message = f"{name} has characters that some MPIs refuse in the name of a host"
        advice = "run.sh, horovodrun and . setup-utils/env.sh make Open MPI accept it; for other MPIs, rename the host"
        yield Finding("host name", WARNING, message, advice)


def _system(facts: Facts) -> Iterator[Finding]:
    if facts["open_files"] < _OPEN_FILES:
        yield Finding("open files", WARNING, f"at most {facts['open_files']} per process", "ulimit -n 65536")
    shared = facts["shared_memory"]
    if shared is not None and shared < _SHARED_MEMORY:
        yield Finding(
            "/dev/shm",
            WARNING,
            f"{shared / 2**20:.0f} MiB free; the ranks of a host exchange arrays through it",
            "in a container: docker run --shm-size=1g, or --ipc=host",
        )
    if facts["clock_synchronized"] is False:
        yield Finding("clock", WARNING, "not synchronized by NTP", "timedatectl set-ntp true")
