"""Judges a host's GPUs."""

from .findings import OK, TROUBLE, WARNING, Finding
from .software import missing

# Of MXNet 1.9.1's wheels: machine code for 5.0 to 8.6, which 8.9 runs, too, and none that a driver could translate.
_CAPABILITIES = 5.0, 9.0
_BUSY_MIB = 1024


def check_gpus(facts, slots=None):
    """Yield Findings about `facts`, see `facts.gather`.

    Args:
        slots: ranks that are to run on the host, None if that is not known.
    """
    mxnet, gpus = facts["mxnet"], facts["gpus"]
    seen = [] if missing(mxnet) else mxnet["gpu_memory"]
    if facts["driver"]:
        yield Finding(
            "GPUs",
            TROUBLE,
            f"nvidia-smi fails: {facts['driver']['error']}",
            "install the driver again, or restart after its update; in a container: docker run --gpus all",
        )
    elif not gpus and not seen:
        yield Finding("GPUs", OK, f"none; training takes the {facts['cores']} cores of the CPU")
        if slots and slots > facts["cores"]:
            advice = "fewer ranks: more of them than cores slow each other down"
            yield Finding("slots", WARNING, f"{slots} ranks on {facts['cores']} cores", advice)
    else:
        yield from _each(gpus or [])
        if not missing(mxnet):
            yield from _use(mxnet, gpus or [], seen, slots)
            yield from _nccl(facts["horovod"], seen)


def _each(gpus):
    for number, gpu in enumerate(gpus):
        capability = gpu["compute_capability"]
        message = f"{gpu['name']}, compute capability {capability}, {gpu['memory_mib']} MiB, driver {gpu['driver']}"
        known = capability.replace(".", "", 1).isdigit()
        if known and not _CAPABILITIES[0] <= float(capability) < _CAPABILITIES[1]:
            advice = "MXNet 1.9.1 has no code for it (Maxwell to Ampere, and Ada): another GPU, or --set device=cpu"
            yield Finding(f"GPU {number}", TROUBLE, message, advice)
        elif gpu["used_mib"].isdigit() and int(gpu["used_mib"]) > _BUSY_MIB:
            message += f", {gpu['used_mib']} MiB of it in use"
            yield Finding(f"GPU {number}", WARNING, message, "another program uses it: see nvidia-smi")
        else:
            yield Finding(f"GPU {number}", OK, message)


def _use(mxnet, gpus, seen, slots):
    """Whether MXNet can use the GPUs that are there."""
    if not mxnet["cuda"]:
        advice = "setup-utils/install.sh --cuda cu112"
        yield Finding("GPUs", WARNING, f"{len(gpus)} GPUs, but MXNet is built for the CPU", advice)
    elif len(seen) < len(gpus):
        advice = "see CUDA_VISIBLE_DEVICES, and whether the driver is recent enough: 450.80.02 for cu112"
        yield Finding("GPUs", TROUBLE if not seen else WARNING, f"MXNet sees {len(seen)} of {len(gpus)} GPUs", advice)
    if seen and slots and slots > len(seen):
        advice = "a rank takes a GPU of its own: fewer slots, or --set device=cpu"
        yield Finding("slots", TROUBLE, f"{slots} ranks, but {len(seen)} GPUs", advice)


def _nccl(horovod, seen):
    if seen and not missing(horovod) and not horovod["nccl"]:
        advice = "install the CUDA toolkit (nvcc) of MXNet's CUDA version, then setup-utils/install-horovod.sh"
        through = "through host memory" if not horovod["cuda"] else "through MPI"
        yield Finding("NCCL", WARNING, f"Horovod was built without: GPUs exchange arrays {through}, slower", advice)
