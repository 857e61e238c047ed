"""Judges a host's GPUs, precisions and disks."""

from typing import Any, Dict, Iterator, List, Optional

from .checklist import OK, TROUBLE, WARNING, Facts, Finding, missing

# MXNet 1.9.1's wheels have machine code for compute capability 5.0 to 8.6, which also runs on 8.9, and no code that a
# driver could translate for newer GPUs.
_CAPABILITIES = 5.0, 9.0
_BUSY_MIB = 1024
_GIB = 2**30
_LITTLE_ROOM = 5 * _GIB
# MB/s. Each checkpoint of a million identities writes 4 GB of centers and their momentum.
_SLOW_WRITING = 50
# MB/s. Eight GPUs read some 5,000 images of about 10 kB per second.
_SLOW_READING = 50


def check_gpus(facts: Facts, slots: Optional[int] = None) -> Iterator[Finding]:
    """Yield a Finding for each GPU, for its use by MXNet and Horovod, and for the number of ranks.

    Args:
        facts: of the host, see `facts.gather`.
        slots: number of ranks that are to run on the host, None if unknown.
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
        yield Finding("GPUs", OK, f"none; training uses the {facts['cores']} cores of the CPU")
        if slots and slots > facts["cores"]:
            advice = "start fewer ranks: more ranks than cores slow each other down"
            yield Finding("slots", WARNING, f"{slots} ranks on {facts['cores']} cores", advice)
    else:
        yield from _each(gpus or [])
        if not missing(mxnet):
            yield from _use(mxnet, gpus or [], seen, slots)
            yield from _nccl(facts["horovod"], seen)


def _each(gpus: List[Dict[str, str]]) -> Iterator[Finding]:
    for number, gpu in enumerate(gpus):
        capability = gpu["compute_capability"]
        message = f"{gpu['name']}, compute capability {capability}, {gpu['memory_mib']} MiB, driver {gpu['driver']}"
        known = capability.replace(".", "", 1).isdigit()
        if known and not _CAPABILITIES[0] <= float(capability) < _CAPABILITIES[1]:
            advice = "MXNet 1.9.1 supports Maxwell to Ampere, and Ada: use another GPU, or --set device=cpu"
            yield Finding(f"GPU {number}", TROUBLE, message, advice)
        elif gpu["used_mib"].isdigit() and int(gpu["used_mib"]) > _BUSY_MIB:
            message += f", {gpu['used_mib']} MiB in use"
            yield Finding(f"GPU {number}", WARNING, message, "another program uses it: see nvidia-smi")
        else:
            yield Finding(f"GPU {number}", OK, message)


def _use(mxnet: Facts, gpus: List[Dict[str, str]], seen: List[Any], slots: Optional[int]) -> Iterator[Finding]:
    """Whether MXNet can use the GPUs of the host."""
    if not mxnet["cuda"]:
        advice = "setup-utils/install.sh --cuda cu112"
        yield Finding("GPUs", WARNING, f"{len(gpus)} GPUs, but MXNet is built for the CPU", advice)
    elif len(seen) < len(gpus):
        advice = "check CUDA_VISIBLE_DEVICES and the version of the driver: cu112 needs 450.80.02"
        yield Finding("GPUs", TROUBLE if not seen else WARNING, f"MXNet sees {len(seen)} of {len(gpus)} GPUs", advice)
    if seen and slots and slots > len(seen):
        advice = "each rank needs its own GPU: use fewer slots, or --set device=cpu"
        yield Finding("slots", TROUBLE, f"{slots} ranks, but {len(seen)} GPUs", advice)


def _nccl(horovod: Facts, seen: List[Any]) -> Iterator[Finding]:
    if seen and not missing(horovod) and not horovod["nccl"]:
        advice = "install the CUDA toolkit (nvcc) of MXNet's CUDA version, then setup-utils/install-horovod.sh"
        through = "through host memory" if not horovod["cuda"] else "through MPI"
        yield Finding("NCCL", WARNING, f"Horovod lacks it: GPUs exchange arrays {through}, which is slower", advice)


def check_precisions(facts: Facts) -> Iterator[Finding]:
    """Yield a Finding for the precisions that the device computes, with the measured speed, see `facts.gather`."""
    measured = facts["precisions"]
    if missing(facts["mxnet"]):  # which is reported, and nothing could be measured
        return
    if missing(measured):
        why = (measured or {}).get("error", "not tested")
        yield Finding("precision", WARNING, f"not measured: {why}", "train with the default, --precision float32")
        return
    rows = [f"{name}: {_speeds(speeds)}" for name, speeds in measured["gflops"].items()]
    message = "\n".join([f"--precision auto is {measured['auto']}: {measured['reason'].partition(': ')[2]}", *rows])
    if _is_slower(measured):
        advice = f"use --precision float32: {measured['auto']} is not faster here, unless the host was busy just now"
        yield Finding("precision", WARNING, message, advice)
    else:
        yield Finding("precision", OK, message)


def _speeds(speeds: Facts) -> str:
    if missing(speeds):
        return f"not computed: {speeds['error']}"
    return f"product {speeds['product']:.0f}, convolution {speeds['convolution']:.0f} GFLOP/s"


def _is_slower(measured: Facts) -> bool:
    """Whether the precision that auto chooses is slower than float32 in both."""
    exact, chosen = (measured["gflops"].get(name, {}) for name in ("float32", measured["auto"]))
    return missing(chosen) or all(chosen[name] < exact[name] for name in ("product", "convolution"))


def check_storage(facts: Facts) -> Iterator[Finding]:
    """Yield a Finding for the disk that a run writes to, and one for the data that it reads, see `facts.gather`."""
    yield _models_root(facts["models_root"] or {})
    if facts["data"]:
        yield _data(facts["data"])


def _models_root(disk: Facts) -> Finding:
    if "error" in disk or not disk:
        advice = "--models-root DIR: name a folder with free space where this user may write"
        return Finding("models root", TROUBLE, f"cannot write: {disk.get('error', 'not tested')}", advice)
    message = f"{disk['path']}: {disk['free'] / _GIB:.1f} GiB free, writes {disk['write_mb_s']:.0f} MB/s"
    if disk["free"] < _LITTLE_ROOM:
        advice = "make room: a checkpoint of a million identities takes 4 GB, and twice as much while it is written"
        return Finding("models root", WARNING, message, advice)
    if disk["write_mb_s"] < _SLOW_WRITING:
        advice = "checkpoints will take long: use a larger save_interval, or another disk"
        return Finding("models root", WARNING, message, advice)
    return Finding("models root", OK, message)


def _data(data: Facts) -> Finding:
    if "error" in data:
        advice = "--rec is the path of train.rec, with train.idx beside it, and must be the same on every host"
        return Finding("data", TROUBLE, data["error"], advice)
    message = f"{data['path']}: {data['bytes'] / _GIB:.2f} GiB, reads {data['read_mb_s']:.0f} MB/s"
    if data["read_mb_s"] < _SLOW_READING:
        advice = "copy the data to a local SSD; `bash run.sh -- --rec ... --io-only` measures images per second"
        return Finding("data", WARNING, message, advice)
    return Finding("data", OK, message)
