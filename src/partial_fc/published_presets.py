"""Preset files of the published form, read as they are.

Such a file has a `config` at module level, and `generate_config(loss_name, dataset, network)`, which changes it. Its
keys become ours; docs/from-the-published-code.md has the table.
"""

import ast
import os
from types import ModuleType
from typing import Any, Callable, Dict, List, Mapping, Sequence

from .errors import InputError

# What the published command line chooses where nothing is typed.
NAMES = {"loss": "cosface", "dataset": "emore", "network": "r100"}
# What generate_config sets, by argument.
_SET_FOR = {
    "loss": ("loss_s", "loss_m1", "loss_m2", "loss_m3"),
    "dataset": ("rec", "num_classes", "val_targets", "lr_steps", "max_update"),
    "network": ("net_name", "num_layers"),
}


class PublishedPresets:
    """The interface of our default.py over a module of the published form.

    Args:
        module: which has just been run: every call changes its `config`.
        path: of its file, for errors.

    Attributes:
        LOSSES, DATASETS, NETWORKS: names that `generate_config` compares its arguments with; empty if it compares none.
        NAMES: names by default.

    Raises:
        InputError: `config` is no dictionary.
    """

    NAMES = NAMES

    def __init__(self, module: ModuleType, path: str) -> None:
        if not isinstance(getattr(module, "config", None), Mapping):
            raise InputError(f"{path}: has neither get_config, nor generate_config and a dictionary config")
        self._module, self._path = module, path
        self.LOSSES, self.DATASETS, self.NETWORKS = _compared_names(path)

    def common(self) -> Dict[str, Any]:
        """Values of every preset, before `generate_config` has changed them."""
        return translate(self._module.config, self._path)

    def get_config(self, loss: str, dataset: str, network: str) -> Dict[str, Any]:
        """Values by key of a preset, with our keys.

        Raises:
            InputError: see `translate`; a key that `generate_config` has not set, with the name that should set it.
        """
        self._module.generate_config(loss, dataset, network)
        names = {"loss": loss, "dataset": dataset, "network": network}
        values = {**self.common(), **names}
        if values.get("source") == "synthetic":  # the published code looks at neither then
            values.update(rec="", val_targets=[])
        for kind, name in names.items():
            for key in _SET_FOR[kind]:
                if key not in values:
                    raise InputError(f"--{kind} {name}: generate_config of {self._path} sets no config.{key} for it")
        if isinstance(values["rec"], str) and values["rec"]:
            values["rec"] = os.path.abspath(values["rec"])
        return values

    def has_fp16(self, loss: str, dataset: str, network: str) -> bool:
        """Whether the preset of these names has `fp16=True`."""
        self._module.generate_config(loss, dataset, network)
        return bool(self._module.config.get("fp16"))


def _compared_names(path: str) -> List[Mapping[str, Mapping[str, Any]]]:
    """For each argument of generate_config, the texts that it is compared with there, in order."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    function = next(
        (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == "generate_config"), None
    )
    arguments = [each.arg for each in function.args.args[:3]] if function else []
    found: List[Dict[str, Mapping[str, Any]]] = [{}, {}, {}]
    for node in ast.walk(function or tree):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id in arguments:
            texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            found[arguments.index(node.left.id)].update((text, {}) for text in texts if isinstance(text, str))
    return list(found)


def translate(published: Mapping[str, Any], path: str) -> Dict[str, Any]:
    """Values by our keys; those with a published name are checked here, all others later as ours.

    Args:
        published: the `config` of a file of the published form. It may have keys of ours, too.
        path: of that file, for errors.

    Raises:
        InputError: a value that the key cannot have, or that is not supported, with what to use instead.
    """
    values: Dict[str, Any] = {}
    for key, value in published.items():
        try:
            values.update(_TRANSLATED[key](value) if key in _TRANSLATED else {key: value})
        except ValueError as error:
            raise InputError(f"{path}: {key}={value!r}: {error}") from None
    return values


def _flag(value: Any) -> bool:
    if value not in (0, 1):  # True and False are equal to these
        raise ValueError("expected 0 or 1, False or True")
    return bool(value)


def _debug(value: Any) -> Dict[str, Any]:
    return {"source": "synthetic" if _flag(value) else "records"}


def _fp16(value: Any) -> Dict[str, Any]:
    return {"precision": "auto" if _flag(value) else "float32"}


def _memonger(value: Any) -> Dict[str, Any]:
    return {"memonger": _flag(value)}


def _lr_steps(value: Any) -> Dict[str, Any]:
    items: Sequence[Any] = value.split(",") if isinstance(value, str) else value
    try:
        return {"lr_steps": [int(item) for item in items]}
    except (TypeError, ValueError):
        raise ValueError("expected updates, such as '100000,160000'") from None


# Published keys that are not ours, or have values of another form.
_TRANSLATED: Dict[str, Callable[[Any], Dict[str, Any]]] = {
    "debug": _debug,
    "fp16": _fp16,
    "memonger": _memonger,
    "lr_steps": _lr_steps,
}
