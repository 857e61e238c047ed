"""Paths that the arguments of a command name, checked before anything is read, computed or drawn."""

import argparse
import os
from typing import List

from ...errors import InputError
from ..options import check_file_to_write, check_folder_to_write

_FILES = (
    "bin",
    "list",
    "pairs",
    "features",
    "landmarks",
    "calibrate",
    "probe_list",
    "probe_noises",
    "distractor_list",
    "distractor_noises",
)
_FOLDERS = ("images", "gallery", "probe_images", "distractor_images", "probe_features", "distractor_features")
_WRITTEN_FILES = ("json", "csv", "roc", "histogram", "report")
_WRITTEN_FOLDERS = ("keep", "write_features")


def check_paths(args: argparse.Namespace) -> None:
    """Raise InputError, which names the option, for a path that is missing, of the wrong kind, or cannot be written.

    Args:
        args: parsed arguments of a command; options that it lacks are not checked.
    """
    from ...checkpoint.model_files import check_model_exists  # these import MXNet: --help need not wait for it
    from ...eval.mistakes import is_list
    from ...eval.onnx_model import is_onnx

    for name, kind in [(name, "file") for name in _FILES] + [(name, "folder") for name in _FOLDERS]:
        for path in _paths(args, name):
            _check_input(_option(name), path, kind)
    for path in _paths(args, "rec"):
        if not os.path.exists(path):
            raise InputError(f"--rec {path}: no such file or folder")
    for name in ("left", "right", "photo"):
        for path in _paths(args, name):
            _check_input("photo", path, "file")
    for path in _paths(args, "folder"):
        _check_input("FOLDER", path, "folder")
    for name in _paths(args, "model"):
        if is_onnx(name):
            _check_input("--model", name, "file")
        else:
            check_model_exists(name, "--model")
    for name in _WRITTEN_FILES:
        for path in _paths(args, name):
            check_file_to_write(_option(name), path)
    for name in _WRITTEN_FOLDERS:
        for path in _paths(args, name):
            check_folder_to_write(_option(name), path)
    for path in _paths(args, "mistakes"):
        (check_file_to_write if is_list(path) else check_folder_to_write)("--mistakes", path)


def _check_input(option: str, path: str, kind: str) -> None:
    right, wrong = (os.path.isfile, os.path.isdir) if kind == "file" else (os.path.isdir, os.path.isfile)
    if wrong(path):
        raise InputError(f"{option} {path}: is a {'folder' if kind == 'file' else 'file'}, not a {kind}")
    if not right(path) and not (kind == "file" and os.path.exists(path)):  # a pipe is read as a file
        raise InputError(f"{option} {path}: no such {kind}")


def _paths(args: argparse.Namespace, name: str) -> List[str]:
    """The paths of an argument; none if it is missing or was not given."""
    found = getattr(args, name, None)
    return found if isinstance(found, list) else [found] if found else []


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
