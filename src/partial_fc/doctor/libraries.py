"""Imports MXNet, then Horovod, and prints a line of JSON about each; `facts` runs it as a process.

If an import kills the process, the lines printed before are still there.
"""

import json
from typing import Any, Dict


def main() -> None:
    """Print one JSON object per line: `{"mxnet": ...}`, `{"horovod": ...}`."""
    for name, describe in (("mxnet", _mxnet), ("horovod", _horovod)):
        print(json.dumps({name: describe()}), flush=True)


def _mxnet() -> Dict[str, Any]:
    import mxnet as mx
    import numpy as np

    cuda = mx.runtime.Features().is_enabled("CUDA")
    num_gpus = mx.context.num_gpus() if cuda else 0
    memory = [mx.context.gpu_memory_info(number) for number in range(num_gpus)]  # (free, total) bytes
    return {"version": mx.__version__, "numpy": np.__version__, "cuda": cuda, "gpu_memory": memory}


def _horovod() -> Dict[str, Any]:
    from ..distributed.collectives import describe_build

    return describe_build()


if __name__ == "__main__":
    main()
