"""Residual networks from and to the state dicts of `iresnet` in InsightFace's arcface_torch.

Both have the same layers (BN-Conv-BN-PReLU-Conv-BN units, arXiv 1801.07698) under different names. Three details
differ:

- arcface_torch scales its input to (x - 127.5) / 127.5, ours to (x - 127.5) / 128: the first convolution makes up for
  it.
- Its batch norms add 1e-5 to the variance, ours 2e-5: the stored variance makes up for it, or the gain where the
  variance would have to be negative.
- Ours holds the gain of the last batch norm at 1 and ignores what is stored.
"""

import re
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from ..errors import InputError

_EPS = 1e-5  # of arcface_torch's batch norms
_OUR_EPS = 2e-5
_FIRST_SCALE = 127.5 / 128
_STAGES = 4
_BATCH_NORM = dict(gamma="weight", beta="bias", moving_mean="running_mean", moving_var="running_var")
_COUNTER = "num_batches_tracked"


def _layers(units: Sequence[int]) -> Dict[str, str]:
    """Names of the layers of arcface_torch by ours, for the number of units in each stage."""
    layers = {"conv0": "conv1", "bn0": "bn1", "relu0": "prelu", "bn1": "bn2", "pre_fc1": "fc", "fc1": "features"}
    inner = dict(bn1="bn1", conv1="conv1", bn2="bn2", relu1="prelu", conv2="conv2", bn3="bn3")
    shortcut = dict(conv1sc="downsample.0", sc="downsample.1")
    for stage, count in enumerate(units, start=1):
        for unit in range(count):
            for ours, theirs in {**inner, **(shortcut if unit == 0 else {})}.items():
                layers[f"stage{stage}_unit{unit + 1}_{ours}"] = f"layer{stage}.{unit}.{theirs}"
    return layers


def parameter_names(units: Sequence[int]) -> Dict[str, str]:
    """Names of the parameters of arcface_torch by ours, for the number of units in each of the four stages."""
    names = {}
    for ours, theirs in _layers(units).items():
        kind = re.sub(r"\d.*$", "", ours.rpartition("_")[2])
        if kind in ("bn", "sc", "fc") and ours != "pre_fc1":
            names.update({f"{ours}_{own}": f"{theirs}.{other}" for own, other in _BATCH_NORM.items()})
        elif kind == "relu":
            names[f"{ours}_gamma"] = f"{theirs}.weight"
        else:
            names[f"{ours}_weight"] = f"{theirs}.weight"
    names["pre_fc1_bias"] = "fc.bias"
    return names


def units_of(names: Any, pattern: str, first: int) -> List[int]:
    """Number of units in each stage, from names of parameters.

    Args:
        names: of the parameters.
        pattern: regular expression of a unit's name, with groups for stage and unit.
        first: number of the first unit of a stage.

    Raises:
        InputError: not the names of such a network.
    """
    found: Dict[int, set] = {}
    for name in names:
        match = re.match(pattern, name)
        if match:
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    complete = sorted(found) == list(range(1, _STAGES + 1)) and all(
        sorted(each) == list(range(first, first + len(each))) for each in found.values()
    )
    if not complete:
        raise InputError("not the parameters of a residual network of four stages")
    return [len(found[stage]) for stage in sorted(found)]


def to_iresnet(parameters: Mapping[str, np.ndarray], eps: float = _OUR_EPS) -> Dict[str, np.ndarray]:
    """State dict of arcface_torch's network for a trained residual network of ours.

    Args:
        parameters: float32 arrays by our names, arguments and auxiliary states together.
        eps: of our batch norms, at least 1e-5.

    Returns:
        Float32 arrays by arcface_torch's names, and an int64 counter for each batch norm.

    Raises:
        InputError: not the parameters of such a network: the first name that does not go with it.
    """
    names = parameter_names(units_of(parameters, r"stage(\d+)_unit(\d+)_", 1))
    _check_names(set(names), set(parameters))
    state = {theirs: np.array(parameters[ours], np.float32) for ours, theirs in names.items()}
    state["conv1.weight"] *= np.float32(_FIRST_SCALE)
    state["features.weight"][:] = 1
    for name in [name for name in state if name.endswith("running_var")]:
        state[name] = (state[name].astype(np.float64) + (eps - _EPS)).astype(np.float32)
        state[name.replace("running_var", _COUNTER)] = np.zeros((), np.int64)
    return state


def from_iresnet(state: Mapping[str, np.ndarray]) -> Tuple[List[int], Dict[str, np.ndarray]]:
    """A residual network of ours from a state dict of arcface_torch.

    Args:
        state: arrays by name; a prefix `module.`, of a network that was wrapped for several GPUs, is left out.

    Returns:
        Number of units in each stage, and float32 arrays by our names, arguments and auxiliary states together.

    Raises:
        InputError: not the state dict of such a network: the first name or shape that does not go with it.
    """
    state = {re.sub(r"^module\.", "", name): np.asarray(array) for name, array in state.items()}
    state = {name: array for name, array in state.items() if not name.endswith(_COUNTER)}
    units = units_of(state, r"layer(\d+)\.(\d+)\.", 0)
    names = parameter_names(units)
    _check_names(set(names.values()), set(state))
    result = {ours: np.array(state[theirs], np.float64) for ours, theirs in names.items()}
    _check_finite(result)
    result["conv0_weight"] /= _FIRST_SCALE
    for name in [name for name in result if name.endswith("_moving_var")]:
        _change_eps(result, name[: -len("_moving_var")])
    _fold_last_gain(result)
    return units, {name: array.astype(np.float32) for name, array in result.items()}


def _check_names(expected: set, found: set) -> None:
    for names, what in ((expected - found, "lacks"), (found - expected, "has another")):
        if names:
            raise InputError(
                f"{what} parameter {min(names)} ({len(names)} in all): expected those of a residual network of "
                "arcface_torch's form (r18, r34, r50, r100 ...: prelu, output FC)"
            )


def _check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{name}: has numbers that are not finite")


def _change_eps(arrays: Dict[str, np.ndarray], layer: str) -> None:
    """Make a batch norm with our addend to the variance what it was with arcface_torch's, in place."""
    variance = arrays[f"{layer}_moving_var"]
    changed = np.maximum(variance + _EPS - _OUR_EPS, 0)
    arrays[f"{layer}_gamma"] *= np.sqrt((changed + _OUR_EPS) / (variance + _EPS))
    arrays[f"{layer}_moving_var"] = changed


def _fold_last_gain(arrays: Dict[str, np.ndarray]) -> None:
    """Move the gain of the last batch norm, which ours holds at 1, into the layer before it, in place."""
    gain = arrays["fc1_gamma"].copy()
    arrays["pre_fc1_weight"] *= gain[:, None]
    for name in ("pre_fc1_bias", "fc1_moving_mean"):
        arrays[name] *= gain
    arrays["fc1_gamma"] = np.ones_like(gain)
