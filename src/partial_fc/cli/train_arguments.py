"""The arguments of `partial-fc train`, and the configuration that they describe."""

import difflib
import os
import shlex

from ..config import NAMES, PRESETS, assign, check, load_presets, override, preset
from ..errors import InputError
from .parser import Parser, plain

# What belongs to one start of a run, or follows from another key.
_OF_A_START = ("models_root", "resume", "overwrite", "break_lock", "io_only", "pretrained", "centers", "source")
# What other trainers call a key.
_ELSEWHERE = {
    "epochs": "max_update",
    "steps": "max_update",
    "lr": "backbone_lr",
    "learning_rate": "backbone_lr",
    "weight_decay": "wd",
    "workers": "num_workers",
    "output": "models_root",
    "margin": "loss_m2",
    "scale": "loss_s",
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


def from_command_line(argv):
    """The configuration that the arguments of `partial-fc train` describe, checked.

    Raises:
        InputError: wrong arguments; see also `get_config`, `override` and `check`.
    """
    args = parser().parse_args(argv)
    config = preset(args.loss, args.dataset, args.network)
    typed = {}
    for key in _OPTIONS:
        if getattr(args, key) is not None:
            typed[key] = f"{_flag(key)} {getattr(args, key)}"
            assign(config, key, getattr(args, key), typed[key])
    override(config, args.set)
    typed.update({assignment.partition("=")[0]: f"--set {assignment}" for assignment in args.set})
    config.io_only, config.overwrite, config.break_lock = args.io_only, args.overwrite, args.break_lock
    try:
        check(config, typed)
    except (KeyError, AttributeError) as error:  # of an EasyDict: users edit the file of presets
        key = str(error).split("'")[-2]
        raise InputError(f"{os.path.realpath(PRESETS)}: lacks the key {key}, which this version needs") from error
    return config


def arguments(config, **changed):
    """The command line that describes a configuration, with other values of some keys, quoted for a shell.

    What belongs to one start only, such as `resume` and `models_root`, is left out.
    """
    base = preset(*(config[name] for name in NAMES))
    own = [key for key in base if key not in (*NAMES, *_OF_A_START) and config[key] != base[key]]
    defaults = {name: parser().get_default(name) for name in NAMES}
    values = {name: config[name] for name in ("dataset", "network", "loss")}
    values.update({key: _text(config[key]) for key in own if key != "num_classes" or base.num_classes})
    values.update({key: _text(value) for key, value in changed.items()})
    words = []
    for key, value in values.items():
        if value != defaults.get(key):
            words += [_flag(key), value] if key in (*_OPTIONS, *NAMES) else ["--set", f"{key}={value}"]
    return shlex.join(words)


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
        "--break-lock",
        action="store_true",
        help="use a models root whose lock names a run that is over, which this host cannot find out by itself",
    )
    result.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the preset, such as max_update=1000; repeat it for several keys",
    )
    return result
