"""The arguments of `partial-fc train`, and the configuration that they describe."""

import argparse
import difflib
import shlex
from typing import Any, NoReturn, Sequence, Tuple

from ..config import StartOptions, assign, default_names, load_presets, make_config, override, preset
from ..config_keys import KEYS, Config
from ..errors import InputError
from .parser import Parser, plain
from .train_help import as_text, defaults, epilog, help_text

_OPTIONS = [key for key, entry in KEYS.items() if entry.option]  # which stand for `--set key=value` of the same key
# A command that repeats a run leaves out what belongs to one start.
_NOT_REPEATED = {key for key, entry in KEYS.items() if entry.start}
# Names of keys in other trainers.
_ELSEWHERE = {
    "epochs": "max_epochs",
    "num_epoch": "max_epochs",
    "warmup_epoch": "warmup_updates",
    "steps": "max_update",
    "lr": "backbone_lr",
    "learning_rate": "backbone_lr",
    "weight_decay": "wd",
    "workers": "num_workers",
    "output": "models_root",
    "margin": "loss_m2",
    "scale": "loss_s",
    "fp16": "precision",
    "debug": "source",
}
_OF_THE_LAUNCHER = ("-np", "-H", "--hostfile", "--restarts")


def from_command_line(argv: Sequence[str]) -> Config:
    """The configuration of `read_command_line`."""
    return read_command_line(argv)[0]


def read_command_line(argv: Sequence[str]) -> Tuple[Config, StartOptions]:
    """The configuration that the arguments of `partial-fc train` describe, checked, and the options of this start.

    Raises:
        InputError: wrong arguments; see also `config.preset`, `override` and `make_config`.
    """
    from ..training.config_file import read_config, typed_in, with_file

    first = _first_options(argv)
    file = read_config(first.config) if first.config else {}
    presets = file.get("presets", "") if first.presets is None else first.presets
    args = parser(presets).parse_args(argv)
    names = {name: getattr(args, name) or file.get(name, default) for name, default in default_names(presets).items()}
    values = with_file(args.config, file, names, presets)
    typed = typed_in(args.config, file)
    for key in _OPTIONS:
        text = getattr(args, key)
        if text is not None:
            typed[key] = f"{KEYS[key].flag} {text}"
            assign(values, key, text, typed[key])
    override(values, args.set)
    typed.update({assignment.partition("=")[0]: f"--set {assignment}" for assignment in args.set})
    return make_config(values, typed), StartOptions(args.io_only, args.overwrite, args.break_lock)


def arguments(config: Config, **changed: Any) -> str:
    """The command line that describes a configuration, with other values of some keys, quoted for a shell.

    Keys of one start only, such as `resume` and `models_root`, are left out.
    """
    now = config.to_dict()
    base = preset(config.loss, config.dataset, config.network, config.presets)
    if now["rec"] != base["rec"]:
        base["source"] = "records"  # as --rec sets it
    unnamed = {**default_names(config.presets), "presets": ""}
    values = {name: now[name] for name in ("presets", "dataset", "network", "loss")}
    values.update({key: now[key] for key in KEYS if key not in _NOT_REPEATED and now[key] != base[key]})
    values.update(changed)
    words = []
    for key, value in values.items():
        if value != unnamed.get(key):
            has_option = KEYS[key].option or key in unnamed
            words += [KEYS[key].flag, as_text(value)] if has_option else ["--set", f"{key}={as_text(value)}"]
    return shlex.join(words)


def _key(option: str) -> str:
    return option.lstrip("-").replace("-", "_")


class _TrainParser(Parser):
    """Raises its errors: every rank has them, and one prints them."""

    def error(self, message: str) -> NoReturn:
        raise InputError(plain(message))

    def explain(self, word: str) -> str:
        """Keys of the presets count as names of options, too."""
        option, equals, _ = word.partition("=")
        if not word.startswith("-"):
            more = f"{word}: --set takes one KEY=VALUE, repeat it: --set {shlex.quote(word)}"
            return more if equals else super().explain(word)
        if option in _OF_THE_LAUNCHER:
            return f"{option}: an option of the launcher, before --: bash run.sh {option} ... -- ARGS"
        key = _key(option)
        keys = {*KEYS, *map(_key, self._option_string_actions)}
        near = difflib.get_close_matches(_ELSEWHERE.get(key, key), sorted(keys), n=1)
        if not near:
            return super().explain(word)
        nearest = "--" + near[0].replace("_", "-")
        has_option = nearest in self._option_string_actions
        return f"{option}: no such option; the nearest is {nearest if has_option else f'--set {near[0]}=VALUE'}"


def _first_options(argv: Sequence[str]) -> argparse.Namespace:
    """`presets` and `config`, on which the other arguments depend; None where they are not given."""
    first = _TrainParser(add_help=False)
    for option in (KEYS["presets"].flag, "--config"):
        first.add_argument(option)
    return argparse.ArgumentParser.parse_known_args(first, argv)[0]


def parser(path: str = "") -> Parser:
    """Parser of the trainer's arguments; `path` is the value of --presets."""
    result = _TrainParser(
        prog="partial-fc train",
        description="Train a face recognition model.",
        epilog=epilog(path),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    presets, default, names = load_presets(path), defaults(path), default_names(path)
    for name, known in (("dataset", presets.DATASETS), ("network", presets.NETWORKS), ("loss", presets.LOSSES)):
        own = ", or PREFIX of your own in PREFIX-symbol.json" if name == "network" else ""
        meaning = f"{KEYS[name].meaning.partition(':')[0]}: {', '.join(known)}{own} (default: {names[name]})"
        result.add_argument(KEYS[name].flag, metavar=name.upper(), help=meaning)
    result.add_argument(KEYS["presets"].flag, metavar="FILE", help=KEYS["presets"].meaning)
    for key in _OPTIONS:
        result.add_argument(
            KEYS[key].flag, metavar=key.upper(), help=help_text(KEYS[key], default[key]).replace("%", "%%")
        )
    _add_start_options(result)
    result.add_argument(
        "--config",
        metavar="FILE",
        help="TOML file of preset names and keys; config.toml of a run repeats that run; "
        "everything else on the command line overrides it",
    )
    result.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the preset, such as max_update=1000; repeat it for several keys, see below",
    )
    return result


def _add_start_options(result: argparse.ArgumentParser) -> None:
    for option, meaning in (
        ("--io-only", "only read the images, and log how fast that is, in images per second"),
        ("--overwrite", "overwrite results of another run in --models-root; without this option, they are an error"),
        (
            "--break-lock",
            "ignore the lock of the models root; use it only if you know that the run that the lock names has ended",
        ),
    ):
        result.add_argument(option, action="store_true", help=meaning)
