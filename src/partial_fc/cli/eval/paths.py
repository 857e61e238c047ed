"""Paths that the arguments of a command name, checked before anything is read, computed or drawn."""

import os

from ...checkpoint.model_files import check_model_exists
from ...errors import InputError

_FILES = ("bin", "list", "pairs", "probe_list", "probe_noises", "distractor_list", "distractor_noises")
_FOLDERS = ("images", "probe_images", "distractor_images", "probe_features", "distractor_features")
_WRITTEN = ("json", "csv", "roc", "histogram", "report")
_MADE = ("keep", "write_features")


def check_paths(args):
    """Raise InputError for a path that is missing, or of another kind, or cannot be written; it names the option.

    Args:
        args: parsed arguments of a command; those that it lacks are not looked at.
    """
    for name, kind in [(name, "file") for name in _FILES] + [(name, "folder") for name in _FOLDERS]:
        for path in _paths(args, name):
            _check_input(_option(name), path, kind)
    for path in _paths(args, "features"):
        _check_input("--features", path, "file")
    for path in _paths(args, "rec"):
        if not os.path.exists(path):
            raise InputError(f"--rec {path}: no such file or folder")
    for path in _paths(args, "folder"):
        _check_input("FOLDER", path, "folder")
    for name in _paths(args, "model"):
        check_model_exists(name, "--model")
    check_outputs(args)


def check_outputs(args):
    """As `check_paths`, of the files and folders that the arguments name for results."""
    for name in _WRITTEN:
        for path in _paths(args, name):
            folder = os.path.dirname(os.path.abspath(path))
            if path != "-" and (os.path.isdir(path) or not _is_writable(folder)):
                raise InputError(
                    f"{_option(name)} {path}: is a folder, or there is no folder {folder} that can be written to"
                )
    for name in _MADE:
        for path in _paths(args, name):
            nearest = os.path.abspath(path)
            while not os.path.lexists(nearest):
                nearest = os.path.dirname(nearest)
            if not _is_writable(nearest):
                raise InputError(f"{_option(name)} {path}: {nearest} is not a folder that can be written to")


def _check_input(option, path, kind):
    right, wrong = (os.path.isfile, os.path.isdir) if kind == "file" else (os.path.isdir, os.path.isfile)
    if wrong(path):
        raise InputError(f"{option} {path}: is a {'folder' if kind == 'file' else 'file'}, not a {kind}")
    if not right(path) and not (kind == "file" and os.path.exists(path)):  # a pipe is read as a file
        raise InputError(f"{option} {path}: no such {kind}")


def _paths(args, name):
    """What an argument names, a list; empty where there is none."""
    found = getattr(args, name, None)
    return found if isinstance(found, list) else [found] if found else []


def _option(name):
    return "--" + name.replace("_", "-")


def _is_writable(folder):
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
