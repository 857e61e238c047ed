"""The starts of one `--restarts`: a later one continues what an earlier one has begun, and nothing else."""

import contextlib
import os
from typing import Iterable

from ..distributed.restarts import SERIES
from ..files import atomic_path, read_file

_FILE = ".series"  # in the models root: the name of the starts whose run is there
_LARGEST = 4096  # bytes of it


def record_series(models_root: str) -> None:
    """Write into a models root which starts its run belongs to, if the launcher has named them; raises OSError."""
    path, name = os.path.join(models_root, _FILE), os.environ.get(SERIES, "")
    if name:
        with atomic_path(path) as unfinished, open(unfinished, "w") as file:
            file.write(name)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def root_of_series(models_roots: Iterable[str]) -> str:
    """The first of some models roots with the run of an earlier start of the same launch; empty if there is none.

    Raises:
        InputError, OSError: the file of one of them cannot be read.
    """
    name = os.environ.get(SERIES, "")
    return next((root for root in models_roots if name and _series_in(root) == name), "")


def _series_in(models_root: str) -> str:
    try:
        return read_file(os.path.join(models_root, _FILE), _LARGEST).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
