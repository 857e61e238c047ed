"""One line of an error, as ranks and commands show it."""

import re

import mxnet as mx
import pytest

from partial_fc.errors import cause, described

ONES = mx.nd.ones
LAYER = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc1")
CONVOLUTION = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=3, kernel=(9, 9), name="c9")
UNKNOWN = '{"nodes": [{"op": "NoSuch", "name": "a", "inputs": []}], "arg_nodes": [], "heads": [[0, 0, 0]]}'


def damaged(path):
    path.write_bytes(b"no parameters" * 10)
    return mx.nd.load(str(path))


@pytest.mark.parametrize(
    "fail, expected",
    [
        (
            lambda _: mx.nd.dot(ONES((2, 3)), ONES((2, 3))),
            r"MXNetError: Check failed: .* \(3 vs. 2\) : dot shape error: \[2,3\] X \[2,3\] \(dot-inl.h:\d+\)",
        ),
        (
            lambda _: ONES((2, 3)) + ONES((2, 4)),
            r"MXNetError: Check failed: .* with shapes \[2,3\] \[2,4\] \(elemwise_binary_broadcast_op.h:\d+\)",
        ),
        (
            lambda _: CONVOLUTION.infer_shape(data=(2, 3, 5, 5)),
            r"MXNetError: Error in operator c9: Check failed: .* \(9 vs. 5\) : kernel size exceed input",
        ),
        (
            lambda _: LAYER.simple_bind(mx.cpu(), data=(2, 3), fc1_weight=(4, 4)),
            r"RuntimeError: simple_bind error. .* Error in operator fc1: Shape inconsistent, .*",
        ),
        (
            lambda _: mx.nd.zeros((2**16, 2**16)),
            r"MXNetError: Check failed: .* allocate is larger than 2\^31 elements.*",
        ),
        (
            lambda _: mx.sym.load_json(UNKNOWN),
            r"MXNetError: Failed loading Op a of type NoSuch: Check failed: .*: Operator NoSuch is not registered",
        ),
        (
            lambda folder: mx.nd.load(str(folder / "none.params")),
            r'MXNetError: Check failed: .*none.params": No such file.*',
        ),
        (
            lambda folder: damaged(folder / "bad.params"),
            r"MXNetError: Check failed: .*: Invalid NDArray file format .*",
        ),
        # raised by the engine, when its result is read
        (
            lambda _: mx.nd.random.normal(0, -1, (2, 2)).asnumpy(),
            r"MXNetError: .*gaussian has to be positive \(.*:\d+\)",
        ),
    ],
)
def test_mxnet_errors(fail, expected, tmp_path):
    with pytest.raises(Exception) as caught:
        fail(tmp_path)
    line = described(caught.value)
    assert "Traceback" not in line and "\n" not in line
    assert re.fullmatch(expected, line), line


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("a wrong value"), "ValueError: a wrong value"),
        (KeyError("a"), "KeyError: 'a'"),
        (MemoryError(), "MemoryError"),
        (RuntimeError("first\n  second\n"), "RuntimeError: first second"),
        (
            mx.MXNetError("[10:11:12] src/a/b.cc:7: Check failed: a == b\nStack trace:\n  [bt] (0) lib.so"),
            "MXNetError: Check failed: a == b (b.cc:7)",
        ),
        (OSError(28, "No space left", "f"), "OSError: [Errno 28] No space left: 'f'"),
    ],
)
def test_other_errors(error, line):
    assert described(error) == line
    assert cause(error) == line.partition(": ")[2] or not str(error)
