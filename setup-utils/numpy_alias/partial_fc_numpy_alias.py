"""Gives NumPy its name ``numpy.bool`` back, which MXNet 1.9.1 uses and NumPy 1.24 to 1.26 lack.

The .pth file beside this module imports it whenever Python starts in the environment, so that Horovod's
build, horovodrun and every rank have the name before MXNet is imported. NumPy itself is imported no earlier.
"""

import sys
from importlib.machinery import PathFinder, SourceFileLoader


class _NumpyLoader(SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        module.__dict__.setdefault("bool", bool)


class _NumpyFinder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "numpy":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _NumpyLoader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _NumpyFinder)
