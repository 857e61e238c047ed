"""Partial FC for MXNet and Horovod: face-recognition training with very large softmax layers.

The public names below are loaded on first use, so that importing the package loads neither MXNet nor Horovod. See
docs/api.md.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "connect": "distributed.collectives",
    "Communicator": "distributed.communicator",
    "PartialFC": "head.partial_fc",
    "MemoryBank": "head.memory_bank",
    "HostBank": "head.host_bank",
    "MarginSoftmax": "head.margin_softmax",
    "AdaFace": "head.adaface",
    "Negatives": "head.negatives",
    "CenterSGD": "head.optimizer",
    "CenterAdamW": "head.optimizer",
    "load_model": "eval.model",
    "Embedder": "eval.embedding",
    "InputError": "errors",
    "CollectiveError": "errors",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
