"""Symbols of unknown origin: networks load, whatever else MXNet would run or crash on is refused first."""

import json
import random

import mxnet as mx
import pytest

from partial_fc.backbone.shapes import check_elements
from partial_fc.checkpoint.symbol_file import MAX_NODES, check_graph, load_symbol
from partial_fc.errors import InputError
from partial_fc.symbol import NETWORKS, get_symbol


def node(operator, *inputs, name="x", **attributes):
    return {"op": operator, "name": name, "attrs": attributes, "inputs": [[number, 0, 0] for number in inputs]}


DATA = {"op": "null", "name": "data", "inputs": []}


def graph(*nodes):
    return {"nodes": [DATA, *nodes], "arg_nodes": [0], "heads": [[len(nodes), 0, 0]]}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_our_networks_load_as_they_were_saved(network, tmp_path):
    symbol = get_symbol(network, 32)
    symbol.save(str(tmp_path / "s.json"))
    loaded = load_symbol(str(tmp_path / "s.json"))
    assert loaded.tojson() == symbol.tojson()
    check_elements(loaded, (64, 3, 112, 112), "network")


def test_a_head_for_training_and_several_outputs_load(tmp_path):
    data, label = mx.sym.Variable("data", shape=(0, 3, 8, 8)), mx.sym.Variable("softmax_label")
    parts = mx.sym.SliceChannel(data, num_outputs=3)
    fc7 = mx.sym.FullyConnected(mx.sym.Concat(parts[0], parts[2] * 2), num_hidden=5, name="fc7")
    symbol = mx.sym.Group([mx.sym.BlockGrad(fc7), mx.sym.SoftmaxOutput(fc7, label, name="softmax")])
    symbol.save(str(tmp_path / "s.json"))
    assert load_symbol(str(tmp_path / "s.json")).list_outputs() == symbol.list_outputs()


def test_old_files_load(tmp_path):
    """MXNet 0.8 wrote `param`, `attr`, inputs without versions, and batch normalization without its statistics."""
    nodes = [
        {"op": "null", "param": {}, "name": name, "inputs": [], "backward_source_id": -1}
        for name in ("data", "bn_gamma", "bn_beta")
    ]
    nodes.append(
        {
            "op": "BatchNorm",
            "param": {"eps": "0.001", "fix_gamma": "False", "momentum": "0.9"},
            "name": "bn",
            "inputs": [[0, 0], [1, 0], [2, 0]],
            "backward_source_id": -1,
            "attr": {"lr_mult": "1.0"},
        }
    )
    path = write(tmp_path / "old.json", {"nodes": nodes, "arg_nodes": [0, 1, 2], "heads": [[3, 0]]})
    assert load_symbol(path).list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]


ATTACKS = {
    "a pointer that is called": (graph(node("_Native", 0, info="0x41414141")), "_Native"),
    "another": (graph(node("_NDArray", 0, info="0x41414141")), "_NDArray"),
    "a fused operator without its graph": (graph(node("_sg_mkldnn_fully_connected", 0)), "_sg_mkldnn"),
    "a cached operator": (graph(node("_CachedOp", 0)), "_CachedOp"),
    "an operator in Python": (graph(node("Custom", 0, op_type="x")), "Custom"),
    "a function": (graph(node("_CustomFunction", 0)), "_CustomFunction"),
    "a gradient": (graph(node("_backward_Convolution", 0)), "_backward_"),
    "a file that is read": (graph(node("_cvimread", filename="/etc/passwd")), "_cvimread"),
    "random numbers": (graph(node("_random_normal", shape="(9,)")), "_random_normal"),
    "a division by zero": (
        graph(DATA, node("Convolution", 0, 1, kernel="(1, 1)", num_filter="4", num_group="0")),
        r"num_group = 0 is not between 1",
    ),
    "a stride of zero": (graph(node("Pooling", 0, kernel="(2, 2)", stride="(0, 2)")), "stride"),
    "a huge number": (graph(node("Pad", 0, pad_width="(0,0,0,0,1,1,99999999999,1)")), "pad_width"),
    "a huge repetition": (graph(node("tile", 0, reps="(1, 1000000)")), "reps"),
    "a long attribute": (graph(node("Activation", 0, act_type="r" * 5000)), "act_type"),
    "an operator that crashes": (graph(node("LeakyReLU", 0, act_type="rrelu")), "crashes when it computes rrelu"),
    "a cycle": (graph(node("relu", 1)), "does not come before it"),
    "a later node": (graph(node("relu", 2), node("relu", 1)), "does not come before it"),
    "a negative node": (graph(node("relu", -1)), "does not come before it"),
    "too few inputs": (graph(node("Convolution", 0, kernel="(1, 1)", num_filter="4")), "Convolution has 1 inputs"),
    "too many inputs": (graph(node("relu", 0, 0)), "relu has 2 inputs"),
    "wrong num_args": (graph(node("Concat", 0, 0, num_args="3")), "num_args"),
    "an output that is not there": (dict(graph(), heads=[[0, 1, 0]]), "an output that node 0 does not have"),
    "no heads": (dict(graph(), heads=[]), "heads"),
    "an inner graph": (graph(dict(node("relu", 0), subgraphs=[graph()])), "subgraphs"),
    "a control dependency": (graph(dict(node("relu", 0), control_deps=[5])), "control_deps"),
    "no variable": (dict(graph(node("relu", 0)), arg_nodes=[1]), "arg_nodes"),
    "an index beyond": (dict(graph(node("relu", 0)), arg_nodes=[7]), "arg_nodes"),
    "a bad version": (dict(graph(node("relu", 0)), attrs={"mxnet_version": ["int", "x"]}), "mxnet_version"),
    "attributes that are no text": (graph(dict(DATA, attrs={"a": 1})), "is no short text"),
    "too many nodes": (graph(*[node("relu", number) for number in range(MAX_NODES)]), "nodes"),
    "no object": ([], "list of nodes"),
    "no nodes": ({"nodes": []}, "0 nodes"),
    "a node that is none": ({"nodes": [1]}, "node 0 is no object"),
    "an operator that is none": ({"nodes": [{"op": [], "name": "x", "inputs": []}]}, "lacks its operator"),
    "deep nesting": ("[" * 100_000, "not JSON"),
    "no JSON": ("{", "not JSON"),
    "empty": ("", "not JSON"),
}


@pytest.mark.parametrize("content, message", ATTACKS.values(), ids=ATTACKS)
def test_what_no_network_needs_is_refused(content, message, tmp_path):
    path = write(tmp_path / "s.json", content)
    with pytest.raises(InputError, match=f"s.json: not a symbol of MXNet that is safe to load: .*{message}"):
        load_symbol(path)


def test_no_text_and_large_files(tmp_path):
    (tmp_path / "s.json").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="not text in UTF-8"):
        load_symbol(str(tmp_path / "s.json"))
    with open(tmp_path / "s.json", "r+b") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="1,099,511,627,776 bytes; a symbol has at most"):
        load_symbol(str(tmp_path / "s.json"))


def test_a_user_may_allow_an_operator(tmp_path):
    path = write(tmp_path / "s.json", graph(node("cbrt", 0, name="root"), node("_contrib_round_ste", 1, name="top")))
    with pytest.raises(InputError, match=r"node 2 \('top'\): the operator '_contrib_round_ste' .*--allow-operator"):
        load_symbol(path)
    assert load_symbol(path, ["_contrib_round_ste"]).list_outputs() == ["top_output"]


def damaged(graph, chance):
    """A graph with one to three changes."""
    graph = json.loads(json.dumps(graph))
    values = ["0", "-1", "(0,0)", "()", "(65536,65536)", "1e30", "nan", "None", "[1,2", "", "2147483648", "True", 1]
    operators = ["Convolution", "BatchNorm", "Concat", "dot", "Reshape", "tile", "_Native", "null"]
    for _ in range(chance.randint(1, 3)):
        one = chance.choice(graph["nodes"])
        other = [chance.randrange(len(graph["nodes"])), chance.choice([0, 0, 1, -1]), 0]
        change = chance.randrange(6)
        if change == 0:
            one["op"] = chance.choice(operators)
        elif change == 1:
            one.setdefault("attrs", {})[chance.choice(["kernel", "num_group", "shape", "axis", "pad", "p"])] = "0"
        elif change == 2 and one.get("attrs"):
            one["attrs"][chance.choice(list(one["attrs"]))] = chance.choice(values)
        elif change == 3:
            one["inputs"].append(other)
        elif change == 4 and one["inputs"]:
            one["inputs"][chance.randrange(len(one["inputs"]))] = other
        else:
            graph["heads"] = [other]
    return graph


def test_damaged_graphs_are_loaded_or_refused():
    """MXNet loads, infers and binds what passes the check; it may raise its own error, but must not crash."""
    whole = json.loads(get_symbol("demo", 8).tojson())
    passed = 0
    for seed in range(150):
        candidate = damaged(whole, random.Random(seed))
        try:
            check_graph(candidate)
            symbol = mx.sym.load_json(json.dumps(candidate))
            check_elements(symbol, (1, 3, 48, 48), "network")
            symbol.simple_bind(mx.cpu(), grad_req="null", data=(1, 3, 48, 48)).forward()[0].asnumpy()
            passed += 1
        except (InputError, mx.base.MXNetError, RuntimeError):  # simple_bind makes its errors RuntimeErrors
            pass
    assert 5 < passed < 145
