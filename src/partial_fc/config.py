"""The configuration of a run: a preset, and what the command line overrides."""

import argparse
import difflib
import importlib.util
import os

from .errors import InputError
from .listed_names import check_path

PRESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "presets.py")

_NAMES = ("loss", "dataset", "network")
_POSITIVE = (
    "embedding_size", "image_size", "batch_size", "max_update", "frequent", "verbose", "save_interval", "num_workers",
    "keep_checkpoints",
)
_SHARES = ("bad_record_share", "color_jitter", "low_resolution", "jpeg_compression")
_ONE_OF = {
    "source": ("records", "demo", "synthetic"),
    "net_output": ("FC", "E"),
    "device": ("auto", "cpu", "gpu"),
    "bank": ("device", "host"),
    "last_batch": ("drop", "pad"),
    "on_bad_record": ("error", "skip"),
    "on_save_error": ("continue", "stop"),
}
# Options that stand for `--set key=value` of the same key.
_OPTIONS = {
    "sample_ratio": "share of the class centers in an update, in (0, 1]",
    "batch_size": "images a rank",
    "pretrained": "PREFIX,EPOCH of a model of the same network to start from",
    "rec": "record file train.rec, with train.idx beside it",
    "on_bad_record": "what a record that cannot be used does: error, or skip up to bad_record_share of them",
    "bank": "where the class centers are: device, or host, from which the rows of a step travel",
    "bank_dir": "folder for files that hold the class centers, if the memory cannot",
    "models_root": "folder for model, checkpoints and logs",
    "resume": "auto: go on from the newest checkpoint in the models root; PATH of a checkpoint; or no",
    "centers": "folder of class centers to start from",
    "seed": "of everything random",
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


def override(config, assignments):
    """Apply `key=value` strings in order; the value is read as the type which the key has.

    Raises:
        InputError: an unknown key, with the nearest known one; a value of another type.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: expected key=value")
        if key in _NAMES:
            raise InputError(f"--set {assignment}: presets depend on it; use --{key} {text}")
        if key not in config:
            near = difflib.get_close_matches(key, config, n=1, cutoff=0)
            raise InputError(f"--set {assignment}: no such key; did you mean {near[0]}?")
        if key == "rec":
            config.source = "records"
        try:
            config[key] = _parse(key, text, config[key])
        except ValueError as error:
            raise InputError(f"--set {assignment}: expected {error}") from error


def from_command_line(argv):
    """The configuration that the arguments of `partial-fc train` describe, checked.

    Raises:
        InputError: see `get_config`, `override` and `check`.
    """
    args = parser().parse_args(argv)
    config = get_config(args.loss, args.dataset, args.network)
    if config.rec:
        config.rec = os.path.join(os.environ.get("PARTIAL_FC_DATA", "data"), config.rec)
    override(config, [f"{key}={getattr(args, key)}" for key in _OPTIONS if getattr(args, key) is not None])
    override(config, args.set)
    config.io_only, config.overwrite = args.io_only, args.overwrite
    check(config)
    return config


def parser():
    """Arguments of the trainer."""
    result = argparse.ArgumentParser(prog="partial-fc train", description="Train a face recognition model.")
    result.add_argument("--dataset", default="demo", help="preset of default.py (default: %(default)s)")
    result.add_argument("--network", default="demo", help="backbone (default: %(default)s)")
    result.add_argument("--loss", default="cosface", help="arcface, cosface or softmax (default: %(default)s)")
    for key, meaning in _OPTIONS.items():
        result.add_argument("--" + key.replace("_", "-"), metavar=key.upper(), help=meaning)
    result.add_argument("--io-only", action="store_true", help="only read the images, and tell how fast that is")
    result.add_argument("--overwrite", action="store_true", help="replace another run's results in the models root")
    result.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the preset; repeatable"
    )
    return result


def check(config):
    """Raise InputError for values that no run can start with."""
    for key in _POSITIVE:
        if config[key] < 1:
            raise InputError(f"{key} must be at least 1, not {config[key]!r} (--set {key}=...)")
    if not 0 < config.sample_ratio <= 1:
        raise InputError(f"sample_ratio must lie in (0, 1], not {config.sample_ratio!r}")
    if config.pretrained and not config.pretrained.rpartition(",")[2].isdigit():
        raise InputError(f"--pretrained {config.pretrained}: expected PREFIX,EPOCH such as models/r18/model,0")
    if config.num_classes < 0:
        raise InputError(f"num_classes must not be negative: {config.num_classes}")
    if config.loss_s <= 0 or config.loss_m1 <= 0 or config.loss_m2 < 0 or config.loss_m3 < 0:
        raise InputError("loss_s and loss_m1 must be positive, loss_m2 and loss_m3 not negative")
    for key in _SHARES:
        if not 0 <= config[key] <= 1:
            raise InputError(f"{key} must lie in [0, 1], not {config[key]!r}")
    for key in ("cutout", "save_minutes"):
        if config[key] < 0:
            raise InputError(f"{key} must not be negative: {config[key]}")
    for key, values in _ONE_OF.items():
        if config[key] not in values:
            raise InputError(f"{key} must be one of {', '.join(values)}, not {config[key]!r}")
    for name in config.val_targets:
        check_path(name, "--set val_targets")
    if list(config.lr_steps) != sorted(config.lr_steps):
        raise InputError(f"lr_steps must ascend, not {config.lr_steps!r}")


def describe(config):
    """All keys and values in force, one a line."""
    width = max(map(len, config))
    return "\n".join(f"  {key:{width}} {config[key]}" for key in sorted(config))


def _parse(key, text, current):
    """`text` as a value of the type of `current`, the key's value so far."""
    if isinstance(current, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError("true or false")
        return text.lower() == "true"
    if isinstance(current, (list, tuple)):
        items = [item.strip() for item in text.strip("[]").split(",") if item.strip()]
        return [_number(int, item, "updates, such as 1000,1500") for item in items] if key == "lr_steps" else items
    if isinstance(current, int):
        return _number(int, text, "a whole number")
    if isinstance(current, float):
        return _number(float, text, "a number")
    return text


def _number(kind, text, expected):
    try:
        return kind(text)
    except ValueError:
        raise ValueError(expected) from None
