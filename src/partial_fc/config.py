"""The configuration of a run: a preset, and what the command line overrides, checked and frozen."""

import contextlib
import dataclasses
import difflib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from types import MappingProxyType, ModuleType
from typing import Any, Dict, Iterable, Iterator, Mapping, NamedTuple, Protocol, Tuple, cast

from easydict import EasyDict

from .config_entry import Key, Span, Value, is_span, parse_value, size
from .config_keys import KEYS, Config, defaults
from .errors import InputError, described
from .lists.names import check_path
from .published_presets import PublishedPresets

PRESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "presets.py")

# The names that choose a preset, and their defaults.
NAMES = {"loss": "cosface", "dataset": "demo", "network": "demo"}


class StartOptions(NamedTuple):
    """Options of one start, which are no part of the configuration: a run that continues has its own.

    Attributes:
        io_only: only read the images, and log how fast that is.
        overwrite: remove another run's results in the models root.
        break_lock: ignore the lock of a run on another host, which has ended.
    """

    io_only: bool = False
    overwrite: bool = False
    break_lock: bool = False


@dataclasses.dataclass(frozen=True)
class Run:
    """A configuration, with values that are known only once its run has started.

    Attributes:
        config: as it was configured.
        models_root: folder of the results.
        num_classes: identities in the data.
        num_images: images in the data; 0 for noise, which has no epochs.
    """

    config: Config
    models_root: str
    num_classes: int
    num_images: int = 0

    def settings(self) -> Dict[str, Value]:
        """The configuration in force, by key: as the log shows it, and a checkpoint's manifest records it."""
        return {**self.config.to_dict(), "models_root": self.models_root, "num_classes": self.num_classes}


class Presets(Protocol):
    """What the library uses of a preset file: default.py, or a `PublishedPresets`."""

    LOSSES: Mapping[str, Mapping[str, Any]]
    DATASETS: Mapping[str, Mapping[str, Any]]
    NETWORKS: Mapping[str, Mapping[str, Any]]

    def common(self) -> Dict[str, Any]:
        """Values of every preset, where they are not those of the table."""

    def get_config(self, loss: str, dataset: str, network: str) -> Dict[str, Any]:
        """Values of one preset, likewise."""


def presets_path(path: str = "") -> str:
    """The preset file that the key `presets` names; default.py if it is empty."""
    return os.path.realpath(path or PRESETS)


def load_presets(path: str = "") -> Presets:
    """The preset file as a module of its own, run afresh at every call, not one of the library's modules.

    Args:
        path: value of the key `presets`.

    Raises:
        InputError: there is no such file; it cannot be run, with the line and the exception; it is of neither form.
    """
    file = presets_path(path)
    if not os.path.isfile(file):
        raise InputError(f"--presets {path}: no such file")
    loader = importlib.machinery.SourceFileLoader("partial_fc_presets", file)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    with naming_presets(path):
        loader.exec_module(module)
    if hasattr(module, "get_config") or not hasattr(module, "generate_config"):
        _check_form(module, file)
        return cast(Presets, module)
    return PublishedPresets(module, file)


def _check_form(module: ModuleType, file: str) -> None:
    for name in ("get_config", "common", "LOSSES", "DATASETS", "NETWORKS"):
        if not hasattr(module, name):
            raise InputError(
                f"{file}: has no {name}; a preset file has all that default.py has, or config and generate_config, "
                "as published"
            )


@contextlib.contextmanager
def naming_presets(path: str = "") -> Iterator[None]:
    """A block that runs code of a preset file: an exception in it becomes an InputError with file and line."""
    file = presets_path(path)
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if os.path.realpath(frame.filename) == file]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else "?"
        raise InputError(f"{file}, line {line}: {described(error)}") from error


def default_names(path: str = "") -> Dict[str, str]:
    """The names of the preset that is taken where none are given."""
    return dict(getattr(load_presets(path), "NAMES", NAMES))


def get_config(loss: str, dataset: str, network: str, path: str = "") -> Dict[str, Any]:
    """The values of a preset by key, fresh at every call: the preset file's, and the table's defaults for other keys.

    Args:
        loss, dataset, network: names of the preset.
        path: value of the key `presets`.

    Raises:
        InputError: an unknown name, with those there are.
    """
    presets = load_presets(path)
    for kind, name, known in (
        ("loss", loss, presets.LOSSES),
        ("dataset", dataset, presets.DATASETS),
        ("network", network, presets.NETWORKS),
    ):
        own = kind == "network" and os.path.isfile(name + "-symbol.json")
        if known and name not in known and not own:
            more = ", or PREFIX of your own network in PREFIX-symbol.json" if kind == "network" else ""
            raise InputError("--{} {}: unknown; one of {}{}".format(kind, name, ", ".join(known), more))
    with naming_presets(path):
        return EasyDict({**defaults(), **presets.get_config(loss, dataset, network)})


def preset(loss: str, dataset: str, network: str, path: str = "") -> Dict[str, Any]:
    """As `get_config`, with the record file in its folder, $PARTIAL_FC_DATA or else `data`, and the key `presets`.

    Raises:
        InputError: an unknown name; keys of the preset file that are not those of the table.
    """
    values = get_config(loss, dataset, network, path)
    values["presets"] = path
    _check_keys(values)
    if values["rec"]:
        values["rec"] = os.path.join(os.environ.get("PARTIAL_FC_DATA", "data"), values["rec"])
    return values


def _check_keys(values: Mapping[str, Any]) -> None:
    file = presets_path(values.get("presets", ""))
    for key in KEYS:
        if key not in values:
            raise InputError(f"{file}: lacks the key {key}, which this version needs")
    for key in values:
        if key not in KEYS:
            raise InputError(f"{file}: there is no key {key}; the nearest is {nearest(key)}")


def nearest(key: str) -> str:
    """The key whose name is most like another one."""
    return difflib.get_close_matches(key, KEYS, n=1, cutoff=0)[0]


def override(values: Dict[str, Any], assignments: Iterable[str]) -> None:
    """Apply `key=value` strings to the values of a preset, in order; a value is read as the type of its key.

    Raises:
        InputError: an unknown key, with the nearest known one; a value of another type.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: expected key=value")
        assign(values, key, text, f"--set {assignment}")


def assign(values: Dict[str, Any], key: str, text: str, typed: str) -> None:
    """Set one key from text; errors begin with `typed`, the option as the user wrote it. Raises as `override`."""
    if key in (*NAMES, "presets"):
        raise InputError(f"{typed}: presets depend on it; use --{key} {text}")
    if key not in KEYS:
        raise InputError(f"{typed}: no such key; did you mean {nearest(key)}?")
    try:
        put(values, key, parse_value(KEYS[key], text))
    except ValueError as error:
        raise InputError(f"{typed}: {error}") from None


def put(values: Dict[str, Any], key: str, value: Any) -> None:
    """Set one key, and reset the keys that it replaces: records replace other images, updates replace epochs."""
    if key == "rec":
        values["source"] = "records"
    elif key == "max_update":
        values["max_epochs"] = 0
    values[key] = value


def make_config(values: Mapping[str, Any], typed: Mapping[str, str] = MappingProxyType({})) -> Config:
    """The frozen configuration of values by key.

    Args:
        typed: options as the user wrote them (`--batch-size 0`), by key; an error about another key names default.py.

    Raises:
        InputError: a missing or unknown key; a value that no run can start with.
    """
    values = {"presets": "", **values}
    _check_keys(values)
    for key, entry in KEYS.items():
        problem = next(_problems(entry, values[key]), None)
        if problem:
            where = typed.get(key) or f"{presets_path(values['presets'])}: {key}={values[key]!r}"
            raise InputError(f"{where}: {problem}")
    _check_one_margin(values, typed)
    _check_length(values, typed)
    if values["sub_centers"] > 1 and values["published_files"]:
        where = typed.get("published_files") or typed.get("sub_centers") or presets_path(values["presets"])
        raise InputError(
            f"{where}: the published files hold one center per class: set sub_centers=1, or no published_files"
        )
    for name in values["val_targets"]:
        check_path(name, typed.get("val_targets", "val_targets").partition("=")[0])
    return Config(**{key: _frozen(entry, values[key]) for key, entry in KEYS.items()})


def _check_one_margin(values: Mapping[str, Any], typed: Mapping[str, str]) -> None:
    """Raise InputError for AdaFace together with m1, m2 or m3."""
    for key, none in (("loss_m1", 1), ("loss_m2", 0), ("loss_m3", 0)):
        if values["adaface_m"] and values[key] != none:
            where = typed.get(key) or typed.get("adaface_m") or presets_path(values["presets"])
            raise InputError(
                f"{where}: adaface_m={values['adaface_m']:g} and {key}={values[key]:g} exclude each other: AdaFace has "
                f"no m1, m2 and m3; set adaface_m=0 or {key}={none}"
            )


def _check_length(values: Mapping[str, Any], typed: Mapping[str, str]) -> None:
    """Raise InputError for a training without a length."""
    if not values["max_update"] and not values["max_epochs"]:
        where = typed.get("max_update") or f"{presets_path(values['presets'])}: max_update=0"
        raise InputError(f"{where}: must be at least 1, unless max_epochs gives the length of the training")


def _problems(entry: Key, value: Any) -> Iterator[str]:
    """Reasons why no run can start with a value, as they follow the value in an error."""
    if not _is_of_kind(entry, value):
        yield f"expected: {entry.values}"
    elif entry.choices and value not in entry.choices:
        yield f"must be one of {', '.join(choice or 'empty' for choice in entry.choices)}"
    elif entry.range and not entry.allows(value):
        yield f"must {entry.range}"
    elif entry.kind == Tuple[Span, ...] and any(size(span) < 0 for span in value):
        yield "must not be negative"
    elif entry.kind == Tuple[Span, ...] and len({type(span) for span in value}) > 1:
        yield "must be all in updates or all in epochs"
    elif entry.kind == Tuple[Span, ...] and list(value) != sorted(value, key=size):
        yield "must ascend"


def _is_of_kind(entry: Key, value: Any) -> bool:
    if entry.is_list:
        is_item = is_span if entry.kind == Tuple[Span, ...] else lambda item: type(item) is str
        return isinstance(value, (list, tuple)) and all(map(is_item, value))
    if entry.kind == Span:
        return is_span(value)
    if entry.kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return type(value) is entry.kind


def _frozen(entry: Key, value: Any) -> Any:
    if entry.is_list:
        return tuple(value)
    return float(value) if entry.kind is float else value


def own_records(config: Config) -> bool:
    """Whether --rec names other records than the preset's."""
    return config.rec != _preset_of(config)["rec"]


def _preset_of(config: Config) -> Dict[str, Any]:
    return preset(config.loss, config.dataset, config.network, config.presets)


def published_precision(config: Config) -> str:
    """What has chosen the precision `auto` in a file of the published form, for the log; empty in all other cases."""
    presets = load_presets(config.presets) if config.precision == "auto" else None
    has_fp16 = isinstance(presets, PublishedPresets) and presets.has_fp16(config.loss, config.dataset, config.network)
    return "fp16=True" if has_fp16 else ""


def dataset_name(config: Config) -> str:
    """Name of the data set: the preset's, or for other records the name of their folder; or `synthetic`."""
    base = _preset_of(config)
    if (base["source"], base["rec"]) == (config.source, config.rec):
        return config.dataset
    if config.source == "synthetic":
        return config.source
    folder, file = os.path.split(os.path.abspath(config.rec))
    name = os.path.splitext(file)[0]
    return os.path.basename(folder) or name if name == "train" else name
