"""The configuration of a run: a preset, and what the command line overrides."""

import argparse
import difflib
import importlib.util
import os
import shlex
from types import MappingProxyType

from .argument_parser import Parser, number, plain, whole_number
from .errors import InputError
from .listed_names import check_path

PRESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "presets.py")

_NAMES = ("loss", "dataset", "network")
_POSITIVE = (
    "embedding_size", "image_size", "batch_size", "max_update", "frequent", "verbose", "save_interval", "num_workers",
    "keep_checkpoints",
)
_SHARES = ("bad_record_share", "color_jitter", "low_resolution", "jpeg_compression")
_NOT_NEGATIVE = (
    "num_classes", "backbone_lr", "memory_bank_lr", "lr_factor", "momentum", "wd", "loss_m2", "loss_m3", "cutout",
    "save_minutes",
)
_ONE_OF = {
    "source": ("records", "demo", "synthetic"),
    "net_output": ("FC", "E"),
    "initializer": ("normal", "xavier"),
    "device": ("auto", "cpu", "gpu"),
    "bank": ("device", "host"),
    "last_batch": ("drop", "pad"),
    "on_bad_record": ("error", "skip"),
    "on_save_error": ("continue", "stop"),
}
# What belongs to one start of a run, or follows from another key.
_OF_A_START = ("models_root", "resume", "overwrite", "break_lock", "io_only", "pretrained", "centers", "source")
# What other trainers call a key.
_ELSEWHERE = {
    "epochs": "max_update", "steps": "max_update", "lr": "backbone_lr", "learning_rate": "backbone_lr",
    "weight_decay": "wd", "workers": "num_workers", "output": "models_root", "margin": "loss_m2", "scale": "loss_s",
}
_OF_THE_LAUNCHER = ("-np", "-H", "--hostfile", "--restarts")
# Options that stand for `--set key=value` of the same key.
_OPTIONS = {
    "sample_ratio": "share of the class centers in an update, in (0, 1]",
    "batch_size": "images per rank",
    "pretrained": "PREFIX[,EPOCH] of a model of the same network to start from",
    "rec": "record file of your own, PATH/train.rec, with train.idx beside it",
    "on_bad_record": "what a record that cannot be used does: error, or skip up to bad_record_share of them",
    "bank": "where the class centers are: device, or host, from which the rows of a step travel",
    "bank_dir": "folder for files that hold the class centers, if the memory cannot",
    "models_root": "folder for model, checkpoints and logs",
    "resume": "auto: continue from the newest checkpoint in the models root; PATH of a checkpoint; or no",
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
        _assign(config, key, text, f"--set {assignment}")


def _assign(config, key, text, typed):
    """Set one key from text; `typed` (str) is what the user wrote, for errors."""
    if key in _NAMES:
        raise InputError(f"{typed}: presets depend on it; use --{key} {text}")
    if key not in config:
        near = difflib.get_close_matches(key, config, n=1, cutoff=0)
        raise InputError(f"{typed}: no such key; did you mean {near[0]}?")
    if key == "rec":
        config.source = "records"
    try:
        config[key] = _parse(key, text, config[key])
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise InputError(f"{typed}: {error}") from None


def from_command_line(argv):
    """The configuration that the arguments of `partial-fc train` describe, checked.

    Raises:
        InputError: wrong arguments; see also `get_config`, `override` and `check`.
    """
    args = parser().parse_args(argv)
    config = get_config(args.loss, args.dataset, args.network)
    if config.rec:
        config.rec = os.path.join(os.environ.get("PARTIAL_FC_DATA", "data"), config.rec)
    typed = {}
    for key in _OPTIONS:
        if getattr(args, key) is not None:
            typed[key] = f"{_flag(key)} {getattr(args, key)}"
            _assign(config, key, getattr(args, key), typed[key])
    override(config, args.set)
    typed.update({assignment.partition("=")[0]: f"--set {assignment}" for assignment in args.set})
    config.io_only, config.overwrite, config.break_lock = args.io_only, args.overwrite, args.break_lock
    try:
        check(config, typed)
    except (KeyError, AttributeError) as error:  # of an EasyDict: users edit the file of presets
        key = str(error).split("'")[-2]
        raise InputError(f"{os.path.realpath(PRESETS)}: lacks the key {key}, which this version needs") from error
    return config


def own_records(config):
    """Whether --rec names other records than the preset's."""
    return config.rec != _preset(config).rec


def dataset_name(config):
    """Name of the data set, for people and folders: the preset's, or that of the folder of one's own records."""
    if _preset(config).source == config.source:
        return config.dataset
    folder, file = os.path.split(os.path.abspath(config.rec))
    name = os.path.splitext(file)[0]
    return os.path.basename(folder) or name if name == "train" else name


def arguments(config, **changed):
    """The command line that describes a configuration, with other values of some keys, quoted for a shell.

    What belongs to one start only, such as `resume` and `models_root`, is left out.
    """
    preset = _preset(config)
    own = [key for key in preset if key not in (*_NAMES, *_OF_A_START) and config[key] != preset[key]]
    defaults = {name: parser().get_default(name) for name in _NAMES}
    values = {name: config[name] for name in ("dataset", "network", "loss")}
    values.update({key: _text(config[key]) for key in own if key != "num_classes" or preset.num_classes})
    values.update({key: _text(value) for key, value in changed.items()})
    words = []
    for key, value in values.items():
        if value != defaults.get(key):
            words += [_flag(key), value] if key in (*_OPTIONS, *_NAMES) else ["--set", f"{key}={value}"]
    return shlex.join(words)


def _preset(config):
    return from_command_line([word for name in _NAMES for word in (_flag(name), config[name])])


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _flag(key):
    return "--" + key.replace("_", "-")


def _key(option):
    return option.lstrip("-").replace("-", "_")


class _TrainParser(Parser):
    """Raises its errors: every rank has them, and one prints them."""

    def error(self, message):
        raise InputError(plain(message))

    def explain(self, word):
        """Keys of the presets count as names of options, too."""
        option, equals, _ = word.partition("=")
        if not word.startswith("-"):
            more = f"{word}: --set takes one KEY=VALUE, repeat it: --set {shlex.quote(word)}"
            return more if equals else super().explain(word)
        if option in _OF_THE_LAUNCHER:
            return f"{option}: an option of the launcher, before --: bash run.sh {option} ... -- ARGS"
        key = _key(option)
        keys = {*load_presets().get_config("cosface", "demo", "demo"), *map(_key, self._option_string_actions)}
        near = difflib.get_close_matches(_ELSEWHERE.get(key, key), sorted(keys), n=1)
        if not near:
            return super().explain(word)
        has_option = _flag(near[0]) in self._option_string_actions
        return f"{option}: no such option; the nearest is {_flag(near[0]) if has_option else f'--set {near[0]}=VALUE'}"


def parser():
    """Arguments of the trainer."""
    result = _TrainParser(prog="partial-fc train", description="Train a face recognition model.")
    presets = load_presets()
    for name, default, what, known in (
        ("dataset", "demo", "preset of default.py", presets.DATASETS),
        ("network", "demo", "backbone", presets.NETWORKS),
        ("loss", "cosface", "margin softmax", presets.LOSSES),
    ):
        result.add_argument(_flag(name), default=default, help=f"{what}: {', '.join(known)} (default: {default})")
    for key, meaning in _OPTIONS.items():
        result.add_argument(_flag(key), metavar=key.upper(), help=meaning)
    result.add_argument("--io-only", action="store_true", help="only read the images, and log how fast that is")
    result.add_argument("--overwrite", action="store_true", help="overwrite another run's results in the models root")
    result.add_argument(
        "--break-lock", action="store_true",
        help="use a models root whose lock names a run that is over, which this host cannot find out by itself",
    )
    result.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="override a key of the preset, such as max_update=1000; repeat it for several keys",
    )
    return result


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
