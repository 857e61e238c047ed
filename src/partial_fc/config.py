"""The configuration of a run: a preset, and what the command line overrides."""

import difflib
import importlib.util
import math
import os
from types import MappingProxyType

from .errors import InputError
from .lists.names import check_path

PRESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "presets.py")

NAMES = ("loss", "dataset", "network")
_POSITIVE = (
    "embedding_size",
    "image_size",
    "batch_size",
    "max_update",
    "frequent",
    "verbose",
    "save_interval",
    "num_workers",
    "keep_checkpoints",
)
_SHARES = ("bad_record_share", "color_jitter", "low_resolution", "jpeg_compression")
_NOT_NEGATIVE = (
    "num_classes",
    "backbone_lr",
    "memory_bank_lr",
    "lr_factor",
    "momentum",
    "wd",
    "loss_m2",
    "loss_m3",
    "cutout",
    "save_minutes",
)
_ONE_OF = {
    "source": ("records", "demo", "synthetic"),
    "net_output": ("FC", "E", "F", "G", "H", "I", "J", "SFC", "GAP", "GNAP", "GDC"),
    "initializer": ("normal", "xavier"),
    "device": ("auto", "cpu", "gpu"),
    "bank": ("device", "host"),
    "last_batch": ("drop", "pad"),
    "on_bad_record": ("error", "skip"),
    "on_save_error": ("continue", "stop"),
}


def load_presets(path=PRESETS):
    """The preset file as a module of its own, run afresh at every call, not one of the library's modules."""
    spec = importlib.util.spec_from_file_location("partial_fc_presets", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def get_config(loss, dataset, network):
    """The preset of the three names.

    Raises:
        InputError: an unknown name, with the ones there are.
    """
    presets = load_presets()
    for kind, name, known in (
        ("loss", loss, presets.LOSSES),
        ("dataset", dataset, presets.DATASETS),
        ("network", network, presets.NETWORKS),
    ):
        if name not in known:
            raise InputError("--{} {}: unknown; one of {}".format(kind, name, ", ".join(known)))
    return presets.get_config(loss, dataset, network)


def preset(loss, dataset, network):
    """As `get_config`, with the record file in its folder: $PARTIAL_FC_DATA, or else `data`."""
    config = get_config(loss, dataset, network)
    if config.rec:
        config.rec = os.path.join(os.environ.get("PARTIAL_FC_DATA", "data"), config.rec)
    return config


def override(config, assignments):
    """Apply `key=value` strings in order; the value is read as the type which the key has.

    Raises:
        InputError: an unknown key, with the nearest known one; a value of another type.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: expected key=value")
        assign(config, key, text, f"--set {assignment}")


def assign(config, key, text, typed):
    """Set one key from text; `typed` (str) is what the user wrote, for errors. Raises InputError as `override`."""
    if key in NAMES:
        raise InputError(f"{typed}: presets depend on it; use --{key} {text}")
    if key not in config:
        near = difflib.get_close_matches(key, config, n=1, cutoff=0)
        raise InputError(f"{typed}: no such key; did you mean {near[0]}?")
    if key == "rec":
        config.source = "records"
    try:
        config[key] = _parse(key, text, config[key])
    except ValueError as error:
        raise InputError(f"{typed}: {error}") from None


def own_records(config):
    """Whether --rec names other records than the preset's."""
    return config.rec != preset(config.loss, config.dataset, config.network).rec


def dataset_name(config):
    """Name of the data set, for people and folders: the preset's, or that of the folder of one's own records."""
    if preset(config.loss, config.dataset, config.network).source == config.source:
        return config.dataset
    folder, file = os.path.split(os.path.abspath(config.rec))
    name = os.path.splitext(file)[0]
    return os.path.basename(folder) or name if name == "train" else name


def check(config, typed=MappingProxyType({})):
    """Raise InputError for values that no run can start with.

    Args:
        typed: by key, what the user wrote (`--batch-size 0`); errors begin with it, or else with `key=value`.
    """
    for key, holds, expected in _rules(config):
        if not holds:
            raise InputError(f"{typed.get(key) or f'{key}={config[key]}'}: {expected}")


def _rules(config):
    """(key, whether its value can be used, what it must be)."""
    for key in _POSITIVE:
        yield key, config[key] >= 1, "must be at least 1"
    for key in _NOT_NEGATIVE:
        yield key, config[key] >= 0, "must not be negative"
    for key in _SHARES:
        yield key, 0 <= config[key] <= 1, "must lie in [0, 1]"
    for key in ("loss_s", "loss_m1"):
        yield key, config[key] > 0, "must be positive"
    for key, values in _ONE_OF.items():
        yield key, config[key] in values, f"must be one of {', '.join(values)}"
    yield "sample_ratio", 0 < config.sample_ratio <= 1, "must lie in (0, 1]"
    yield "lr_steps", list(config.lr_steps) == sorted(config.lr_steps), "must ascend"
    for name in config.val_targets:
        check_path(name, "--set val_targets")


def describe(config):
    """All keys and values in force, one a line."""
    width = max(map(len, config))
    return "\n".join(f"  {key:{width}} {config[key]}" for key in sorted(config))


def _parse(key, text, current):
    """`text` as a value of the type of `current`, the key's value so far."""
    if isinstance(current, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return text.lower() == "true"
    if isinstance(current, (list, tuple)):
        items = [item.strip() for item in text.strip("[]").split(",") if item.strip()]
        return [_update(item) for item in items] if key == "lr_steps" else items
    if isinstance(current, int):
        return whole_number(text)
    return number(text) if isinstance(current, float) else text


def _update(text):
    if not text.isdecimal():
        raise ValueError(f"expected updates, such as 1000,1500, not {text!r}")
    return int(text)


def whole_number(text: str) -> int:
    """The whole number in a text; raises ValueError that says what was expected."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected a whole number, not {text!r}") from None


def number(text: str) -> float:
    """The finite number in a text; raises ValueError that says what was expected."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number, not {text!r}")
    return value
