"""Versions of what a run's numbers depend on."""

import platform
from importlib import metadata

from . import __version__

_PACKAGES = "mxnet", "horovod", "numpy", "mpi4py"


def versions():
    """Versions by name, of Python, ours and the packages that compute and communicate; None for one that is missing."""
    found = {"partial_fc": __version__, "python": platform.python_version()}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name in _PACKAGES or name.startswith("mxnet-cu"):
            found["mxnet" if name.startswith("mxnet") else name] = distribution.version
    return found
