"""Options that several commands have, each with one name, default and meaning."""

import argparse
import os
import shlex
from typing import Callable, Iterable, Optional, Sequence, Union

from ..data.progress import progress
from ..errors import InputError
from ..files import atomic_path
from ..limits import usable_cores
from ..output.printable import print_lines
from .parser import positive

RECORDS = "folder with train.rec and train.idx, or path of a .rec file"
ON_TERMINAL = "-"

Options = Union[argparse.ArgumentParser, "argparse._ArgumentGroup"]  # what options are added to


def add_workers(command: Options, what: str) -> None:
    """Add --workers, the number of threads that do `what`."""
    command.add_argument(
        "--workers",
        type=positive,
        default=usable_cores(),
        metavar="N",
        help=f"threads that {what} (default: %(default)s, the usable cores)",
    )


def add_overwrite(command: Options, what: str) -> None:
    """Add --overwrite, which replaces existing results: `what`, in the plural."""
    command.add_argument(
        "--overwrite", action="store_true", help=f"replace existing {what}; nothing is replaced by default"
    )


def add_seed(command: Options, what: str) -> None:
    """Add --seed, of `what` is random."""
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help=f"seed of {what}; equal seeds give equal results"
    )


def add_json(command: Options) -> None:
    """Add --json, for `print_facts` or `results.write_results`."""
    command.add_argument(
        "--json",
        nargs="?",
        const=ON_TERMINAL,
        metavar="FILE",
        help="print JSON instead of text; with FILE, print the text and write the JSON to FILE (default: no JSON)",
    )


def add_fit(command: Options) -> None:
    """Add --size, to which images of other sizes are made to fit."""
    command.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="cut the middle square of every image and resize it to N x N pixels (default: the size of the first "
        "image, which all must have)",
    )


def shown(unit: str) -> Callable[[Iterable], Iterable]:
    """Function that shows the progress of an iteration over things called `unit`, such as identities."""
    return lambda things: progress(things, unit)


def print_result(lines: Sequence[str], json: str, json_path: Optional[str]) -> None:
    """Print the lines of a result, or its JSON instead, or write that to a file, as `--json` says."""
    print_lines(json.split("\n") if json_path == ON_TERMINAL else lines)
    if json_path and json_path != ON_TERMINAL:
        write_text(json_path, json + "\n")


def write_text(path: str, text: str) -> None:
    """Write a text file, whole or not at all. Raises OSError naming the file."""
    with atomic_path(path) as unfinished:
        with open(unfinished, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)


def check_file_to_write(option: str, path: Optional[str]) -> None:
    """Raise InputError, which names the option, unless a file can be written at the path; `-` and None always can."""
    if not path or path == ON_TERMINAL:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise InputError(f"{option} {path}: is a folder, not a file")
    if not is_writable(folder):
        raise InputError(f"{option} {path}: the folder {folder} does not exist or cannot be written to")


def check_new_file(argument: str, path: str, overwrite: bool) -> None:
    """Raise InputError, which names the argument, if a file cannot be written, or exists and must not be replaced."""
    check_file_to_write(argument, path)
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{argument} {path}: exists already; --overwrite replaces it")


def check_folder_to_write(option: str, path: Optional[str]) -> None:
    """Raise InputError, which names the option, unless the folder exists or can be made, and can be written to."""
    if not path:
        return
    nearest = os.path.abspath(path)
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    if not is_writable(nearest):
        raise InputError(f"{option} {path}: {nearest} is not a folder that can be written to")


def command_line(*words: str) -> str:
    """A command of `partial-fc` to be copied into a shell: words with spaces or other special characters are quoted."""
    return shlex.join(["partial-fc", *words])


def is_writable(folder: str) -> bool:
    """Whether a folder exists in which this user may write files."""
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
