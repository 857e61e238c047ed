"""A configuration in a TOML file: KEY = VALUE for keys of the table, without sections."""

import json
import sys
from typing import Any, Dict, Mapping

from .config import NAMES, nearest, preset, put
from .config_keys import KEYS, SECTIONS, Config, Value
from .errors import InputError
from .files import atomic_path, read_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST = 2**20  # bytes
_PATHS_OF_ONE_START = ("models_root", "resume")  # a file written by one run leaves them to the next one


def read_config(path: str) -> Dict[str, Any]:
    """The values in a file, by key; their ranges are not checked.

    Raises:
        InputError: which names file and key or line: no such file, not TOML, an unknown key, a preset's name that is
            not a text.
    """
    try:
        values = tomllib.loads(read_file(path, _MOST).decode(errors="surrogateescape"))
    except (OSError, tomllib.TOMLDecodeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"--config {path}: {reason}") from None
    for key, value in values.items():
        if isinstance(value, dict):
            raise InputError(f"--config {path}: [{key}]: expected lines KEY = VALUE without sections")
        if key not in KEYS:
            raise InputError(f"--config {path}: {key}: no such key; did you mean {nearest(key)}?")
        if key in NAMES and not isinstance(value, str):
            raise InputError(f"--config {path}: {key} = {_as_toml(value)}: expected the name of a preset, in quotes")
    return values


def with_file(path: str, file: Mapping[str, Any], names: Mapping[str, str]) -> Dict[str, Any]:
    """The values of the presets of these names, overridden by those of a file.

    If a preset is another than the file's, the keys in which the two differ have the values of the preset of `names`:
    they override the file, as everything on the command line does.

    Raises:
        InputError: an unknown preset.
    """
    try:
        before = preset(**{name: file.get(name, NAMES[name]) for name in NAMES})
    except InputError as error:
        raise (InputError(f"--config {path}: {error}") if file else error) from None
    values = preset(**names)
    kept = {key: value for key, value in file.items() if key not in NAMES and values[key] == before[key]}
    for key, value in kept.items():
        put(values, key, value)
    values.update(kept)  # also a key that gave way to another one of the file
    return values


def typed_in(path: str, file: Mapping[str, Any]) -> Dict[str, str]:
    """How errors name the values of a file, by key."""
    return {key: f"--config {path}: {key} = {_as_toml(value)}" for key, value in file.items()}


def write_config(path: str, config: Config, num_ranks: int) -> None:
    """Write a file with which `partial-fc train --config PATH` repeats a run; raises OSError."""
    titles = {first: title for title, first in SECTIONS.items()}
    lines = [f"# The configuration of a run, ranks: {num_ranks}. To repeat it, with the same numbers:"]
    lines.append(f"# bash run.sh -np {num_ranks} -- --config {_as_toml(path)}")
    for key, value in config.to_dict().items():
        if key in titles:
            lines += ["", f"# {titles[key]}"]
        if key not in _PATHS_OF_ONE_START:
            lines.append(f"{key} = {_as_toml(value)}")
    with atomic_path(path) as unfinished, open(unfinished, "w", errors="surrogateescape", encoding="utf-8") as file:
        file.write("\n".join([*lines, ""]))


def _as_toml(value: Value) -> str:
    """A value as TOML; its texts are those of JSON, but for the character 127."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
