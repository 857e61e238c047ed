import struct

import mxnet as mx
import numpy as np
import pytest

from partial_fc.checkpoint.params_file import load_ndarrays
from partial_fc.errors import InputError

from helpers.limits import bounded

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
NAME = struct.pack("<2Q", 1, 5) + b"arg:a"


def array(shape, kind=0, version=V2, storage=0, device=1, data=None, dimensions=None):
    """An array as the file has it; `data` by default as long as it has to be for four bytes a number."""
    start = struct.pack("<I", version) + (struct.pack("<i", storage) if version in (V2, V3) else b"")
    start += struct.pack("<i", len(shape) if dimensions is None else dimensions)
    start += struct.pack(f"<{len(shape)}q", *shape)
    data = bytes(4 * int(np.prod(shape))) if data is None else data
    return start + struct.pack("<3i", device, 0, kind) + data


def container(*arrays, names=NAME, count=None):
    return struct.pack("<3Q", 0x112, 0, len(arrays) if count is None else count) + b"".join(arrays) + names


def legacy(shape, data):
    """An array of before MXNet 0.12."""
    return struct.pack(f"<I{len(shape)}I3i", len(shape), *shape, 1, 0, 0) + data


def test_all_kinds_that_mxnet_writes(tmp_path):
    path = str(tmp_path / "a.params")
    kinds = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
    for save in ({f"arg:{kind}": mx.nd.ones((2, 3, 1), dtype=kind) for kind in kinds}, [mx.nd.ones(1), mx.nd.zeros(7)]):
        mx.nd.save(path, save)
        found = load_ndarrays(path)
        pairs = [(found[name], save[name]) for name in save] if isinstance(save, dict) else list(zip(found, save))
        assert len(found) == len(save)
        for loaded, expected in pairs:
            assert loaded.dtype == expected.dtype and np.array_equal(loaded.asnumpy(), expected.asnumpy())


@pytest.mark.parametrize(
    "content",
    [
        array((2, 3), version=V1, data=np.arange(6, dtype="<f4").tobytes()),
        legacy((2, 3), np.arange(6, dtype="<f4").tobytes()),
    ],
)
def test_older_versions(tmp_path, content):
    (tmp_path / "a.params").write_bytes(container(content))
    assert np.array_equal(load_ndarrays(str(tmp_path / "a.params"))["arg:a"].asnumpy(), np.arange(6).reshape(2, 3))


ATTACKS = {
    "2^31 dimensions": (container(array((), dimensions=2**31 - 1, data=bytes(50))), "announces 2,147,483,647 dim"),
    "negative dimensions": (container(array((), dimensions=-5, data=bytes(50))), "announces -5 dimensions"),
    "legacy dimensions": (container(struct.pack("<I", 2**31) + bytes(60)), "announces 2,147,483,648 dimensions"),
    "no dimensions": (container(array((), data=b"")), "no dimensions"),
    "large": (container(array((2**14, 2**14), data=bytes(16))), "announces 1,073,741,824 more bytes, but"),
    "overflow": (container(array((2**32, 2**32), data=b"")), "has the shape"),
    "negative": (container(array((-2, -3), data=bytes(24))), "has the shape"),
    "unknown": (container(array((0, 3), data=b"")), "has the shape"),
    "sparse": (container(array((2, 3), storage=1)), "is sparse, storage 1: save it dense"),
    "type": (container(array((1,), kind=77)), r"unknown device or type \(1, 77\)"),
    "device": (container(array((1,), device=9)), r"unknown device or type \(9, 0\)"),
    "many arrays": (container(array((1,)), count=2**60), "announces 1,152,921,504,606,846,976 arrays"),
    "no arrays": (container(names=struct.pack("<Q", 0)), "announces 0 arrays"),
    "fewer arrays": (container(array((1,)), count=2), "array 1 has an unknown device|more bytes, but|dimensions"),
    "many names": (container(array((1,)), names=struct.pack("<Q", 2**60)), "names for 1 arrays"),
    "long name": (container(array((1,)), names=struct.pack("<2Q", 1, 2**40)), "a name claims"),
    "name in no UTF-8": (container(array((1,)), names=struct.pack("<2Q", 1, 1) + b"\xff"), "decode"),
    "a name twice": (
        container(array((1,)), array((1,)), names=struct.pack("<QQ5sQ5s", 2, 5, b"arg:a", 5, b"arg:a")),
        "repeats a name",
    ),
    "mixed": (container(array((1,)), array((1,), version=V3), names=struct.pack("<Q", 0)), "some of its arrays"),
    "surplus": (container(array((1,))) + b"x", "1 bytes follow its end"),
    "another form": (b"garbage" * 100, "does not begin like one"),
    "empty": (b"", "announces 24 more bytes, but 0 are left"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_files_may_claim(tmp_path, name):
    content, message = ATTACKS[name]
    (tmp_path / "a.params").write_bytes(content)
    with pytest.raises(InputError, match=f"a.params: not a file of MXNet arrays that is safe to load: .*{message}"):
        load_ndarrays(str(tmp_path / "a.params"))


def test_every_truncation_is_an_error(tmp_path):
    path = str(tmp_path / "a.params")
    mx.nd.save(path, {"arg:a": mx.nd.ones((2, 3)), "aux:b": mx.nd.ones(4)})
    content = open(path, "rb").read()
    for length in range(len(content)):
        (tmp_path / "a.params").write_bytes(content[:length])
        with pytest.raises(InputError, match="safe to load"):
            load_ndarrays(path)


def test_a_file_of_92_bytes_takes_no_memory(tmp_path):
    content = container(array((), dimensions=2**31 - 1, data=bytes(44)), names=b"")
    assert len(content) == 92
    (tmp_path / "0_centers.param").write_bytes(content)
    (tmp_path / "a-0000.params").write_bytes(content)
    for imports, call in (
        ("model_files import read_parameters", f"read_parameters({str(tmp_path / 'a-0000.params')!r})"),
        ("convert_centers import import_original", f"import_original({str(tmp_path)!r}, 'none', 10)"),
    ):
        imports = f"from partial_fc.checkpoint.{imports}"
        error, memory = bounded(imports, call)
        assert "announces 2,147,483,647 dimensions" in error and memory < 2**24
