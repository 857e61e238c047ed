"""Versions of the packages that the results of a run depend on."""

import platform
from importlib import metadata
from typing import Dict

from .. import __version__

_PACKAGES = "mxnet", "horovod", "numpy", "mpi4py"


def versions() -> Dict[str, str]:
    """Versions by name: of this package, Python, and the installed packages that compute and communicate."""
    found = {"partial_fc": __version__, "python": platform.python_version()}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name in _PACKAGES or name.startswith("mxnet-cu"):
            found["mxnet" if name.startswith("mxnet") else name] = distribution.version
    return found
