"""Run by `facts` in a process of its own: import MXNet, then Horovod, and print a line of JSON about each.

If the process dies while it imports one, the lines of those before are there nevertheless.
"""

import json


def main():
    """Print one JSON object a line: `{"mxnet": ...}`, `{"horovod": ...}`."""
    for name, describe in (("mxnet", _mxnet), ("horovod", _horovod)):
        print(json.dumps({name: describe()}), flush=True)


def _mxnet():
    import mxnet as mx
    import numpy as np

    cuda = mx.runtime.Features().is_enabled("CUDA")
    num_gpus = mx.context.num_gpus() if cuda else 0
    memory = [mx.context.gpu_memory_info(number) for number in range(num_gpus)]  # (free, total) bytes
    return {"version": mx.__version__, "numpy": np.__version__, "cuda": cuda, "gpu_memory": memory}


def _horovod():
    from ..distributed.collectives import describe_build

    return describe_build()


if __name__ == "__main__":
    main()
