"""A configuration in a TOML file, KEY = VALUE for keys of the table without sections, and what the log says of it."""

import contextlib
import json
import sys
from typing import Any, Dict, Iterator, Mapping, Tuple

from ..config import NAMES, load_presets, make_config, nearest, preset, put
from ..config_entry import Value
from ..config_keys import KEYS, SECTIONS, Config
from ..errors import InputError
from ..files import atomic_path, read_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST = 2**20  # bytes
# Keys for images in files; noise is neither read nor changed.
_OF_IMAGES = (
    "num_workers",
    "last_batch",
    "on_bad_record",
    "bad_record_share",
    "flip",
    "color_jitter",
    "low_resolution",
    "jpeg_compression",
    "cutout",
)
_PATHS_OF_ONE_START = ("models_root", "resume")  # a file written by one run leaves them to the next one


def read_config(path: str) -> Dict[str, Any]:
    """The values in a file, by key; their ranges are not checked.

    Raises:
        InputError: which names file and key or line: no such file, not TOML, an unknown key, a name of presets or of
            their file that is not a text; a file of presets that cannot be read.
    """
    try:
        values = read_toml(path)
    except InputError as error:
        raise InputError(f"--config {error}") from None
    for key, value in values.items():
        if isinstance(value, dict):
            raise InputError(f"--config {path}: [{key}]: expected lines KEY = VALUE without sections")
        if key not in KEYS:
            raise InputError(f"--config {path}: {key}: no such key; did you mean {nearest(key)}?")
        if key in (*NAMES, "presets") and not isinstance(value, str):
            kind = "file" if key == "presets" else "preset"
            raise InputError(f"--config {path}: {key} = {_as_toml(value)}: expected the name of a {kind}, in quotes")
    if values.get("presets"):
        with _naming(path):
            load_presets(values["presets"])
    return values


def read_toml(path: str) -> Dict[str, Any]:
    """Values of any TOML file, by key; bytes that are not UTF-8 become surrogates, as in names of files.

    Raises:
        InputError: no such file, not TOML, more than a megabyte; the message begins with the path.
    """
    try:
        text = read_file(path, _MOST).decode(errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, or a number with thousands of digits
        raise InputError(f"{path}: {error}") from None


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """A block whose errors are those of a file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"--config {path}: {error}") from None


def with_file(path: str, file: Mapping[str, Any], names: Mapping[str, str], presets: str = "") -> Dict[str, Any]:
    """The values of the presets of these names in the file `presets`, overridden by those of a configuration's file.

    If a preset is another than the one that the file names, the keys in which the two differ have the values of the
    preset of `names`: they override the file, as everything on the command line does.

    Raises:
        InputError: an unknown preset.
    """
    theirs = file.get("presets", presets)
    with _naming(path) if file else contextlib.nullcontext():
        before = preset(**{name: file.get(name, names[name]) for name in NAMES}, path=theirs)
    values = preset(**names, path=presets)
    names_a_preset = (*NAMES, "presets")
    kept = {key: value for key, value in file.items() if key not in names_a_preset and values[key] == before[key]}
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


def describe_changes(config: Config) -> str:
    """The keys in which a configuration differs from its preset, one per line, each line after a line break.

    A key that changes nothing, because of the value of another key, says so.
    """
    base = make_config(preset(config.loss, config.dataset, config.network, config.presets)).to_dict()
    changed = {key: value for key, value in config.to_dict().items() if value != base[key]}
    width = max(map(len, changed), default=0)
    idle = dict(_idle_keys(config))
    lines = (
        f"\n  {key:{width}} {_shown(value)} (preset: {_shown(base[key])}{idle.get(key, '')})"
        for key, value in changed.items()
    )
    return "".join(lines)


def _idle_keys(config: Config) -> Iterator[Tuple[str, str]]:
    """Keys that have no effect, each with the reason, as it ends a line of the log."""
    multistep, has_images = config.lr_schedule == "multistep", config.source != "synthetic"
    margins = config.loss_m1 - 1, config.loss_m2, config.loss_m3, config.adaface_m
    if not any(margins):
        yield "margin_warmup", "; no effect: the loss has no margin"
    for key, other, works in (
        ("lr_steps", "lr_schedule", multistep),
        ("lr_factor", "lr_schedule", multistep),
        ("lr_power", "lr_schedule", config.lr_schedule == "poly"),
        ("momentum", "optimizer", config.optimizer != "adamw" or config.center_optimizer != "adamw"),
        ("center_optimizer", "freeze_centers", not config.freeze_centers),
        ("memory_bank_lr", "freeze_centers", not config.freeze_centers),
        ("interclass_filtering_mode", "interclass_filtering", config.interclass_filtering),
        ("sampling_correction", "sample_ratio", config.sample_ratio < 1),
        ("adaface_h", "adaface_m", config.adaface_m),
        ("adaface_t_alpha", "adaface_m", config.adaface_m),
        ("bad_record_share", "on_bad_record", config.on_bad_record == "skip"),
        *((key, "source", has_images) for key in _OF_IMAGES),
    ):
        if not works:
            yield key, f"; no effect: {other} is {_shown(getattr(config, other))}"


def _shown(value: Value) -> str:
    return "empty" if value in ("", []) else str(value)
