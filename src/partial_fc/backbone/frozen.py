"""Parts of a backbone, chosen by the names of its parameters: those that are frozen, and those with factors."""

import json
import re
from typing import Collection, Dict, List, Optional, Sequence, Set, Tuple

import mxnet as mx

from ..errors import InputError
from .graph import Entry, Graph, Node, rewrite

_STATISTICS = slice(3, 5)  # inputs of a BatchNorm: data, gamma, beta, mean, variance


def frozen_names(symbol: mx.sym.Symbol, patterns: Sequence[str], freeze_bn: bool) -> Set[str]:
    """Names of the parameters and batch statistics that training leaves as they are.

    Args:
        symbol: a network with the input `data`.
        patterns: regular expressions, each for whole names.
        freeze_bn: whether all batch normalizations are frozen, parameters and statistics.

    Raises:
        InputError: a pattern that is no regular expression or fits no name; nothing of the backbone is left to train.
    """
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    names.remove("data")
    frozen = {name for pattern in patterns for name in _matches(names, pattern, "freeze")}
    if freeze_bn:
        frozen.update(name for inputs in _norms(symbol) for name in inputs)
    if frozen.issuperset(set(symbol.list_arguments()) - {"data"}):
        raise InputError(
            "freeze: nothing of the backbone is left to train; to train only the centers, use backbone_lr=0"
        )
    return frozen


def factors(names: Collection[str], settings: Sequence[str], key: str) -> Dict[str, float]:
    """Factors by the names of parameters; if several patterns match a name, the last one is used.

    Args:
        names: of the parameters.
        settings: each PATTERN:FACTOR, a regular expression for whole names and a number of at least 0.
        key: of the configuration, for errors.

    Raises:
        InputError: a setting of another form, or a pattern as in `frozen_names`.
    """
    found = {}
    for setting in settings:
        match = re.fullmatch(r"(.+):([0-9.]+(?:[eE][+-]?[0-9]+)?)", setting)
        try:
            pattern, factor = (match[1], float(match[2])) if match else ("", -1.0)
        except ValueError:
            pattern = ""
        if not pattern:
            raise InputError(
                f"{key}: expected PATTERN:FACTOR with a factor of at least 0, as fc1.*:10, not {setting!r}"
            )
        found.update(dict.fromkeys(_matches(names, pattern, key), factor))
    return found


def with_fixed_statistics(symbol: mx.sym.Symbol, frozen: Collection[str]) -> mx.sym.Symbol:
    """The symbol whose batch normalizations use, and keep, their running statistics where these are frozen.

    Args:
        symbol: any; it is left as it is.
        frozen: names; a batch normalization is frozen if one of its statistics is.
    """

    def rule(graph: Graph, node: Node) -> Optional[Entry]:
        if node["op"] == "BatchNorm":
            statistics = [graph.nodes[entry[0]]["name"] for entry in node["inputs"][_STATISTICS]]
            if not set(frozen).isdisjoint(statistics):
                node["attrs"] = {**node.get("attrs", {}), "use_global_stats": "True"}
        return None

    return rewrite(symbol, rule)


def _norms(symbol: mx.sym.Symbol) -> List[Tuple[str, ...]]:
    """Names of the parameters and statistics of each batch normalization."""
    nodes = json.loads(symbol.tojson())["nodes"]
    return [
        tuple(nodes[entry[0]]["name"] for entry in node["inputs"][1:]) for node in nodes if node["op"] == "BatchNorm"
    ]


def _matches(names: Collection[str], pattern: str, key: str) -> List[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"{key}: {pattern!r} is not a regular expression: {error}") from None
    matches = [name for name in names if expression.fullmatch(name)]
    if not matches:
        raise InputError(
            f"{key}: no parameter of the network has a name like {pattern!r}: a pattern must match a "
            f"whole name, as stage1.* does; names of this network are {', '.join(list(names)[:3])} ..."
        )
    return matches
