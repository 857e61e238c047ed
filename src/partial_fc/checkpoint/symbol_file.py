"""Symbols in MXNet's JSON, checked before MXNet reads them.

MXNet trusts the file: some operators take a pointer from an attribute and call through it, others read files, divide
by an attribute that is zero, or crash without the inputs they expect. So a graph may only contain known operators of
networks, with a valid number of inputs and attributes within bounds.
"""

import os
import re
from typing import Any, Dict, Iterable, List, Tuple

import mxnet as mx

from ..errors import InputError, cause
from ..files import parse_json

# r200, the deepest of the published networks, has 1,506 nodes and 300 kB.
MAX_NODES = 20_000
MAX_BYTES = 2**24

_LARGEST = 2**31  # of any number in an attribute
_LONGEST = 4096  # characters of an attribute or a name
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

# Least and most inputs of each operator that a symbol may contain. Only new files count auxiliary states as inputs.
_MANY = 4096
_INPUTS = {
    **dict.fromkeys(
        "Activation relu sigmoid hard_sigmoid tanh softsign erf exp expm1 log log1p log2 log10 sqrt rsqrt "
        "cbrt square abs negative reciprocal sign sin cos tan arcsin arccos arctan sinh cosh arcsinh arccosh "
        "arctanh floor ceil round rint fix trunc clip smooth_l1 gamma gammaln degrees radians Pooling "
        "Pooling_v1 LRN L2Normalization _contrib_AdaptiveAvgPooling2D _contrib_div_sqrt_dim Flatten flatten "
        "Reshape reshape transpose expand_dims squeeze SwapAxis swapaxes slice crop slice_axis SliceChannel "
        "split flip reverse Pad pad tile repeat depth_to_space space_to_depth broadcast_to broadcast_axis "
        "broadcast_axes Dropout identity _copy BlockGrad stop_gradient make_loss MakeLoss Cast cast amp_cast "
        "zeros_like ones_like sum sum_axis mean max max_axis min min_axis prod norm argmax argmin "
        "argmax_channel cumsum softmin SoftmaxActivation one_hot _plus_scalar _PlusScalar _minus_scalar "
        "_MinusScalar _rminus_scalar _RMinusScalar _mul_scalar _MulScalar _div_scalar _DivScalar _rdiv_scalar "
        "_RDivScalar _power_scalar _PowerScalar _rpower_scalar _RPowerScalar _maximum_scalar _MaximumScalar "
        "_minimum_scalar _MinimumScalar _equal_scalar _EqualScalar _not_equal_scalar _NotEqualScalar "
        "_greater_scalar _GreaterScalar _greater_equal_scalar _GreaterEqualScalar _lesser_scalar "
        "_LesserScalar _lesser_equal_scalar _LesserEqualScalar".split(),
        (1, 1),
    ),
    **dict.fromkeys(
        "elemwise_add _add _plus _Plus elemwise_sub _sub _minus _Minus elemwise_mul _mul _Mul elemwise_div "
        "_div _Div _power _Power _maximum _Maximum _minimum _Minimum _equal _greater _greater_equal _lesser "
        "_lesser_equal _not_equal broadcast_add broadcast_plus broadcast_sub broadcast_minus broadcast_mul "
        "broadcast_div broadcast_power broadcast_maximum broadcast_minimum broadcast_equal "
        "broadcast_not_equal broadcast_greater broadcast_greater_equal broadcast_lesser "
        "broadcast_lesser_equal broadcast_like dot batch_dot slice_like reshape_like pick take Embedding "
        "SoftmaxOutput Softmax LinearRegressionOutput".split(),
        (2, 2),
    ),
    **dict.fromkeys("softmax log_softmax LeakyReLU UpSampling Crop _contrib_BilinearResize2D".split(), (1, 2)),
    **dict.fromkeys(["Convolution", "Convolution_v1", "FullyConnected", "Deconvolution"], (2, 3)),
    **dict.fromkeys(["BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm"], (3, 5)),
    **dict.fromkeys(["LayerNorm", "InstanceNorm", "GroupNorm", "where"], (3, 3)),
    **dict.fromkeys(["Concat", "concat", "add_n", "ElementWiseSum", "stack", "amp_multicast"], (1, _MANY)),
    "null": (0, 0),
}
_OUTPUTS = {"SliceChannel": "num_outputs", "split": "num_outputs", "amp_multicast": "num_outputs"}

# Bounds of attributes that MXNet divides by, allocates by or loops over.
_BOUNDS = {
    **dict.fromkeys(["kernel", "stride", "dilate", "num_group"], (1, 2**16)),
    **dict.fromkeys(["num_filter", "num_hidden", "num_args", "num_outputs", "depth"], (1, 2**27)),
    **dict.fromkeys(["input_dim", "output_dim"], (1, 2**27)),
    **dict.fromkeys(["pad", "adj", "pad_width", "reps", "repeats", "height", "width"], (0, 2**16)),
    **dict.fromkeys(["axis", "axes", "dim", "dim1", "dim2", "axis1", "axis2"], (-16, 16)),
    **dict.fromkeys(["scale_height", "scale_width", "sample_type", "workspace", "nsize", "eps"], (0, 2**16)),
    "p": (0, 1),
    "num_groups": (1, 2**16),
    "block_size": (1, 2**10),
    "scale": (1e-9, 2**16),
}


def load_symbol(path: str, operators: Iterable[str] = ()) -> mx.sym.Symbol:
    """The symbol of a JSON file, also from an untrusted source.

    Args:
        path: of the file.
        operators: names of further operators that it may contain. Their attributes are bounded like all others, but
            MXNet may not be safe with them.

    Raises:
        InputError: names the file and, if possible, the node: not JSON, not a graph, a node that uses a later one (a
            cycle), an operator that is not allowed, inputs or attributes out of bounds, too many nodes, or an error of
            MXNet.
    """
    text = _read(path)
    try:
        check_graph(_parse(text), operators)
        return mx.sym.load_json(text)
    except (InputError, mx.base.MXNetError) as error:
        raise InputError(f"{path}: not a symbol of MXNet that is safe to load: {cause(error)}") from error


def _read(path: str) -> str:
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise InputError(f"{path}: {size:,} bytes; a symbol has at most {MAX_BYTES:,}")
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a symbol of MXNet that is safe to load: not text in UTF-8") from error


def _parse(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"not JSON: {error}") from error


def check_graph(graph: Any, operators: Iterable[str] = ()) -> None:
    """Raise InputError unless `graph`, parsed JSON, is a symbol of MXNet that is safe to load, see `load_symbol`."""
    _expect(isinstance(graph, dict) and isinstance(graph.get("nodes"), list), "it has no list of nodes")
    nodes, heads = graph["nodes"], graph.get("heads")
    _expect(0 < len(nodes) <= MAX_NODES, f"it has {len(nodes):,} nodes; 1 to {MAX_NODES:,} are allowed")
    allowed = {**dict.fromkeys(operators, (0, _MANY)), **_INPUTS}
    outputs: List[int] = []
    for number, node in enumerate(nodes):
        outputs.append(_check_node(node, f"node {number}", outputs, allowed))
    _expect(isinstance(heads, list) and heads, "it has no heads, which are its outputs")
    for head in heads:
        _check_entry(head, "a head", outputs)
    for key, what in (("arg_nodes", len(nodes) - 1), ("node_row_ptr", 2**31)):
        numbers = graph.get(key, [])
        _expect(isinstance(numbers, list) and all(_is_index(each, what) for each in numbers), f"{key} is damaged")
    numbers = graph.get("arg_nodes", [])
    _expect(all(nodes[each]["op"] == "null" for each in numbers), "arg_nodes names a node that is no variable")
    _check_version(graph.get("attrs", {}))


def _check_node(node: Any, place: str, outputs: List[int], allowed: Dict[str, Tuple[int, int]]) -> int:
    """Check a node; returns the number of its outputs."""
    _expect(isinstance(node, dict), f"{place} is no object")
    operator, name, inputs = node.get("op"), node.get("name"), node.get("inputs")
    _expect(isinstance(name, str) and 0 < len(name) <= _LONGEST, f"{place} has no name")
    place = f"{place} ({name[:60]!r})"
    _expect(isinstance(operator, str) and isinstance(inputs, list), f"{place} lacks its operator or its inputs")
    _expect(
        operator in allowed,
        f"{place}: the operator {operator[:60]!r} is not on the list of safe ones, and may do harm; "
        f"if you trust the file: --allow-operator {operator[:60]}",
    )
    fewest, most = allowed[operator]
    _expect(fewest <= len(inputs) <= most, f"{place}: {operator} has {len(inputs)} inputs")
    unknown = set(node) - {"op", "name", "inputs", "attrs", "attr", "param", "backward_source_id"}
    _expect(not unknown, f"{place} has {', '.join(sorted(unknown))[:60]}, which no network needs")
    for entry in inputs:
        _check_entry(entry, place, outputs)
    attributes = _attributes(node, place)
    _expect(attributes.get("act_type") != "rrelu", f"{place}: MXNet 1.9.1 crashes when it computes rrelu on a CPU")
    num_args = _number(attributes.get("num_args", str(len(inputs))))
    _expect(num_args == len(inputs), f"{place}: num_args is not the number of its inputs")
    return int(_number(attributes.get(_OUTPUTS.get(operator, ""), "1")))


def _check_entry(entry: Any, place: str, outputs: List[int]) -> None:
    """Check a reference to an output of an earlier node: [node, output] or [node, output, version]."""
    _expect(
        isinstance(entry, list) and len(entry) in (2, 3) and _is_index(entry[0], len(outputs) - 1),
        f"{place} takes the output of a node that does not come before it",
    )
    _expect(
        _is_index(entry[1], outputs[entry[0]] - 1) and all(_is_index(each, 2**31) for each in entry[2:]),
        f"{place} takes an output that node {entry[0]} does not have",
    )


def _attributes(node: Dict[str, Any], place: str) -> Dict[str, str]:
    """Checked attributes of a node. Old files have `param` for those of the operator and `attr` for the others."""
    found: Dict[str, str] = {}
    for key in ("attrs", "attr", "param"):
        attributes = node.get(key, {})
        _expect(isinstance(attributes, dict), f"{place}: {key} is no object")
        found.update(attributes)
    for name, value in found.items():
        _expect(isinstance(value, str) and len(value) <= _LONGEST, f"{place}: {name[:60]} is no short text")
        smallest, largest = _BOUNDS.get(name, (-_LARGEST, _LARGEST))
        numbers = [float(number) for number in _NUMBER.findall(value)]
        _expect(
            all(smallest <= number <= largest for number in numbers),
            f"{place}: {name[:60]} = {value[:60]} is not between {smallest:,} and {largest:,}",
        )
    return found


def _number(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text.strip()) else -1.0


def _is_index(value: Any, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest


def _check_version(attributes: Any) -> None:
    """Check the attributes of the graph, [type, value] by name, of which MXNet reads the version."""
    _expect(isinstance(attributes, dict), "attrs is no object")
    for name, value in attributes.items():
        good = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
        _expect(good and (value[0] != "int" or _is_index(value[1], 10**6)), f"attrs: {name[:60]} is damaged")


def _expect(condition: Any, otherwise: str) -> None:
    if not condition:
        raise InputError(otherwise)
