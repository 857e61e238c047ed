"""Results made again from the JSON that `eval ... --json FILE` writes."""

from typing import Any, Dict, Tuple

from ..errors import InputError
from .output import Result
from .protocols.ijb import ADDED

_ABOUT = "protocol", "data", "model", "settings"
_SCALING: Dict[str, Tuple[type, ...]] = {"mean": (int, float), "scale": (int, float), "scaling": (str,)}
_DEEPEST = 4  # dictionaries in dictionaries; those of results have 3
# Figures of verification: those of all rows, and the names in JSON of those of the images as they are.
_COMMON = "pairs", "xnorm"
_WITHOUT_FLIP = {
    "threshold": "threshold_no_flip",
    "auc": "auc_no_flip",
    "tar": "tar_no_flip",
    "tar_interval": "tar_no_flip_interval",
}


def result_from(value: Any, path: str) -> Result:
    """The Result whose `output.results_json` is `value`, an object, without its curves and histograms.

    Raises:
        InputError: it is another value; the message names the file, `path`, and what is wrong.
    """
    about = [value.get(name) for name in _ABOUT] if isinstance(value, dict) else [None]
    if not all(isinstance(each, str) for each in about[:3]):
        raise InputError(f"{path}: not what `eval ... --json FILE` writes, which has protocol, data and model")
    figures = {name: each for name, each in value.items() if name not in _ABOUT}
    _check(figures, path)
    settings = about[3] or {}
    _check_settings(settings, path)
    groups = groups_of(value["protocol"], figures, settings)
    for row in groups.values() or [figures]:
        _check_rates(row.get("tar", {}), path)
    return Result(value["protocol"], value["data"], value["model"], figures, settings=settings, groups=groups)


def groups_of(protocol: str, figures: Dict[str, Any], settings: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    """`Result.groups` by the figures of a result; empty where all figures make one row."""
    if protocol == "verification":
        return {"no": _without_flip(figures), "added": _with_flip(figures)}
    added = ADDED.get(str(settings.get("embeddings")))
    if protocol == "ijb" and added:
        return {added: figures}
    if protocol != "ifrt":
        return {}
    names = [name for name in figures if f"{name} pairs" in figures]
    return {name: {"tar": figures[name], "pairs": figures[f"{name} pairs"]} for name in names}


def _without_flip(figures: Dict[str, Any]) -> Dict[str, Any]:
    """Figures of the images as they are, by the names that they have beside those of the sums."""
    return _picked(figures, {"accuracy": "accuracy", "accuracy_std": "accuracy_std", **_WITHOUT_FLIP})


def _with_flip(figures: Dict[str, Any]) -> Dict[str, Any]:
    """Figures of the sums with mirror images."""
    accuracies = {"accuracy": "accuracy_flip", "accuracy_std": "accuracy_flip_std"}
    return _picked(figures, {**accuracies, **{name: name for name in _WITHOUT_FLIP}})


def _picked(figures: Dict[str, Any], names: Dict[str, str]) -> Dict[str, Any]:
    """The common figures, and by their keys in `names` those that have these names."""
    common = {name: name for name in _COMMON}
    return {name: figures[other] for name, other in {**common, **names}.items() if other in figures}


def _check(figures: Dict[str, Any], path: str, depth: int = 1) -> None:
    """Raise InputError for figures other than numbers, texts, null, and a few levels of dictionaries of these."""
    for name, value in figures.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            _check(value, path, depth + 1)
        elif isinstance(value, (dict, list)):
            raise InputError(f"{path}: {name!r:.80} is not a figure of an evaluation")


def _check_settings(settings: Any, path: str) -> None:
    if not isinstance(settings, dict):
        raise InputError(f"{path}: settings is {settings!r:.80}, expected an object")
    for name, kinds in _SCALING.items() if "mean" in settings else ():
        if not isinstance(settings.get(name), kinds):
            raise InputError(f"{path}: settings: {name} is {settings.get(name)!r:.80}")


def _check_rates(tars: Any, path: str) -> None:
    """Raise InputError for other than true accept rates by `roc.far_name`, some of them None."""
    try:
        whole = all(0 < float(far) <= 1 and (tar is None or 0 <= tar <= 1) for far, tar in tars.items())
    except (AttributeError, TypeError, ValueError):
        whole = False
    if not whole:
        raise InputError(f"{path}: tar is {tars!r:.80}, expected rates by false accept rates")
