"""Facts of a host on which everything is well."""

import copy

FACTS = {
    "host": "node1",
    "address": "10.0.0.1",
    "python": "3.11.7",
    "executable": "/checkout/.venv/bin/python",
    "code": "00ff",
    "cores": 8,
    "open_files": 65536,
    "shared_memory": 2**33,
    "clock_synchronized": True,
    "trainer": {},
    "mpirun": {"version": "mpirun (Open MPI) 4.1.8", "path": "/checkout/.venv/bin/mpirun"},
    "horovodrun": {"version": "0.28.1", "path": "/checkout/.venv/bin/horovodrun"},
    "gpus": None,
    "driver": None,
    "mxnet": {"version": "1.9.1", "numpy": "1.23.5", "cuda": False, "gpu_memory": []},
    "horovod": {
        "version": "0.28.1",
        "mpi": True,
        "gloo": True,
        "nccl": False,
        "cuda": False,
        "mpi_library": "Open MPI v4.1.8",
    },
    "precisions": {
        "device": "cpu",
        "auto": "bfloat16",
        "reason": "auto: this CPU has AVX512_BF16",
        "gflops": {
            "float32": {"product": 100.0, "convolution": 110.0},
            "bfloat16": {"product": 200.0, "convolution": 220.0},
        },
    },
    "models_root": {"path": "/models", "free": 2**40, "write_mb_s": 500.0},
    "data": {"path": "/data/train.rec", "bytes": 2**33, "index_digest": "ab", "read_mb_s": 500.0},
}
GPU = dict(name="Tesla V100", compute_capability="7.0", driver="470.57", memory_mib="32510", used_mib="3")


def facts_with(**changes):
    """The facts with some changed: a dictionary changes these keys of one, another value replaces the whole."""
    facts = copy.deepcopy(FACTS)
    for name, change in changes.items():
        keep = isinstance(change, dict) and isinstance(facts[name], dict) and "error" not in change
        facts[name] = {**facts[name], **change} if keep else change
    return facts


def on_gpus(**changes):
    """The facts of a host with two GPUs."""
    mxnet = dict(cuda=True, gpu_memory=[[2**34, 2**35]] * 2)
    return facts_with(**{"gpus": [GPU, GPU], "mxnet": mxnet, "horovod": dict(nccl=True, cuda=True), **changes})
