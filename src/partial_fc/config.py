"""The configuration of a run: a preset, and what the command line overrides, checked and frozen."""

import contextlib
import dataclasses
import difflib
import importlib.util
import math
import os
import traceback
from types import MappingProxyType, ModuleType
from typing import Any, Dict, Iterable, Iterator, Mapping, NamedTuple, Tuple

from .config_keys import KEYS, Config, Key, Span, Value, is_span, parse_span, size
from .errors import InputError, described
from .lists.names import check_path

PRESETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "presets.py")

# The names that choose a preset, and their defaults.
NAMES = {"loss": "cosface", "dataset": "demo", "network": "demo"}


class StartOptions(NamedTuple):
    """Options of one start, which are no part of the configuration: a run that continues has its own.

    Attributes:
        io_only: only read the images, and log how fast that is.
        overwrite: remove another run's results in the models root.
        break_lock: ignore the lock of a run that is over, on a host that cannot be asked.
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


def load_presets(path: str = "") -> ModuleType:
    """The preset file as a module of its own, run afresh at every call, not one of the library's modules.

    Raises:
        InputError: it cannot be run, with the line and the exception.
    """
    spec = importlib.util.spec_from_file_location("partial_fc_presets", path or PRESETS)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with naming_presets():
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def naming_presets() -> Iterator[None]:
    """A block that runs code of the preset file: an exception in it becomes an InputError with file and line."""
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if os.path.realpath(frame.filename) == os.path.realpath(PRESETS)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else "?"
        raise InputError(f"{os.path.realpath(PRESETS)}, line {line}: {described(error)}") from error


def get_config(loss: str, dataset: str, network: str) -> Dict[str, Any]:
    """The values of a preset by key, fresh at every call, as default.py has them.

    Raises:
        InputError: an unknown name, with those there are.
    """
    presets = load_presets()
    for kind, name, known in (
        ("loss", loss, presets.LOSSES),
        ("dataset", dataset, presets.DATASETS),
        ("network", network, presets.NETWORKS),
    ):
        if name not in known:
            raise InputError("--{} {}: unknown; one of {}".format(kind, name, ", ".join(known)))
    with naming_presets():
        return presets.get_config(loss, dataset, network)


def preset(loss: str, dataset: str, network: str) -> Dict[str, Any]:
    """As `get_config`, with the record file in its folder: $PARTIAL_FC_DATA, or else `data`.

    Raises:
        InputError: an unknown name; keys of default.py that are not those of the table.
    """
    values = get_config(loss, dataset, network)
    _check_keys(values)
    if values["rec"]:
        values["rec"] = os.path.join(os.environ.get("PARTIAL_FC_DATA", "data"), values["rec"])
    return values


def _check_keys(values: Mapping[str, Any]) -> None:
    file = os.path.realpath(PRESETS)
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
    if key in NAMES:
        raise InputError(f"{typed}: presets depend on it; use --{key} {text}")
    if key not in KEYS:
        raise InputError(f"{typed}: no such key; did you mean {nearest(key)}?")
    try:
        put(values, key, _parse(KEYS[key], text))
    except ValueError as error:
        raise InputError(f"{typed}: {error}") from None


def put(values: Dict[str, Any], key: str, value: Any) -> None:
    """Set one key, and those that give way to it: records take the place of other images, updates that of epochs."""
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
    _check_keys(values)
    for key, entry in KEYS.items():
        problem = next(_problems(entry, values[key]), None)
        if problem:
            where = typed.get(key) or f"{os.path.realpath(PRESETS)}: {key}={values[key]!r}"
            raise InputError(f"{where}: {problem}")
    for name in values["val_targets"]:
        check_path(name, typed.get("val_targets", "val_targets").partition("=")[0])
    return Config(**{key: _frozen(entry, values[key]) for key, entry in KEYS.items()})


def _problems(entry: Key, value: Any) -> Iterator[str]:
    """Reasons why no run can start with a value, as they follow the value in an error."""
    if not _is_of_kind(entry, value):
        yield f"expected: {entry.values}"
    elif entry.choices and value not in entry.choices:
        yield f"must be one of {', '.join(entry.choices)}"
    elif entry.range and not entry.allows(value):
        yield f"must {entry.range}"
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
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is entry.kind


def _frozen(entry: Key, value: Any) -> Any:
    if entry.is_list:
        return tuple(value)
    return float(value) if entry.kind is float else value


def own_records(config: Config) -> bool:
    """Whether --rec names other records than the preset's."""
    return config.rec != preset(config.loss, config.dataset, config.network)["rec"]


def dataset_name(config: Config) -> str:
    """Name of the data set: the preset's, or for other records the name of their folder; or `synthetic`."""
    base = preset(config.loss, config.dataset, config.network)
    if (base["source"], base["rec"]) == (config.source, config.rec):
        return config.dataset
    if config.source == "synthetic":
        return config.source
    folder, file = os.path.split(os.path.abspath(config.rec))
    name = os.path.splitext(file)[0]
    return os.path.basename(folder) or name if name == "train" else name


def describe_changes(config: Config) -> str:
    """The keys in which a configuration differs from its preset, one per line, each line after a line break."""
    base = make_config(preset(config.loss, config.dataset, config.network)).to_dict()
    changed = {key: value for key, value in config.to_dict().items() if value != base[key]}
    width = max(map(len, changed), default=0)
    lines = (f"\n  {key:{width}} {_shown(value)} (preset: {_shown(base[key])})" for key, value in changed.items())
    return "".join(lines)


def _shown(value: Value) -> str:
    return "empty" if value in ("", []) else str(value)


def _parse(entry: Key, text: str) -> Value:
    """`text` as a value of the key's type; raises ValueError that says what was expected."""
    if entry.kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return text.lower() == "true"
    if entry.is_list:
        items = [item.strip() for item in text.strip("[]").split(",") if item.strip()]
        return [parse_span(item) for item in items] if entry.kind == Tuple[Span, ...] else items
    if entry.kind == Span:
        return parse_span(text)
    if entry.kind is int:
        return whole_number(text)
    return number(text) if entry.kind is float else text


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
