import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from partial_fc.data import safe_pickle
from partial_fc.data.safe_pickle import PickledArray, load_plain

PLAIN = (
    [b"\xff\xd8\x00'\n\\", b"a" * 300, "text \u1234"],
    (),
    [],
    (1,),
    (1, 2),
    (1, 2, 3),
    (1, 2, 3, 4),
    None,
    True,
    False,
    [0, -1, 255, 65536, 2**40, -(2**70)],
)
ARRAY_OF_HUGE_SHAPE = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85U\x01b\x87R."
)
ONE_BUFFER_IN_MANY_ARRAYS = (
    b"\x80\x05cnumpy.core.numeric\n_frombuffer\n\x94cnumpy\ndtype\n\x8c\x02u1\x85R\x94"
    b"\x96\x00\x00\x10\x00\x00\x00\x00\x00" + bytes(2**20) + b"\x94]("
    b"" + b"h\x00(h\x02h\x01J\x00\x00\x10\x00\x85\x8c\x01CtR" * 1000 + b"e."
)


def refused(data):
    with pytest.raises(ValueError) as error:
        load_plain(data)
    return str(error.value)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_objects_of_every_protocol(protocol):
    assert load_plain(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("protocol", range(6))
def test_numpy_arrays_and_scalars_of_every_protocol(protocol, core):
    arrays = [np.arange(5, dtype=np.uint8), np.array([True, False]), np.array([1, -2, 3], dtype=">i4")]
    frozen = arrays[0].copy()
    frozen.setflags(write=False)
    data = pickle.dumps((arrays, frozen, [np.bool_(True), np.int64(-7)]), protocol)
    current = np.ndarray.__reduce__(arrays[0])[0].__module__.rsplit(".", 1)[0].encode()
    for module in (b".multiarray", b".numeric"):  # protocols 4 and 5 spell out the length of a name
        old, new = current + module, core + module
        data = data.replace(b"\x8c" + bytes([len(old)]) + old, b"\x8c" + bytes([len(new)]) + new)
        data = data.replace(b"c" + old + b"\n", b"c" + new + b"\n")
    assert core in data
    loaded, loaded_frozen, scalars = load_plain(data)
    for expected, array in zip(arrays + [frozen], loaded + [loaded_frozen]):
        assert array.numpy().dtype == expected.dtype
        np.testing.assert_array_equal(array.numpy(), expected)
    assert scalars == [True, -7] and scalars[0] is True


def test_strings_of_python_2_are_bytes():
    long_string = b"T\x03\x00\x00\x00\x00\xfe\xff"
    short_string = b"U\x04\xff\xd8\x00a"
    strings = short_string + long_string
    assert load_plain(b"\x80\x02](" + strings + b"e.") == [b"\xff\xd8\x00a", b"\x00\xfe\xff"]
    text = b"(lp0\nS'\\xff\\xd8\\n\\'x'\np1\naS\"it's\"\nag1\na."
    assert load_plain(text) == [b"\xff\xd8\n'x", b"it's", b"\xff\xd8\n'x"]


def test_numpy_array_of_python_2_in_text():
    data = (
        b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n"
        b"(I1\n(L3L\ntp7\ncnumpy\ndtype\np8\n(S'u1'\np9\nI0\nI1\ntp10\nRp11\n"
        b"(I3\nS'|'\np12\nNNNI-1\nI-1\nI0\ntp13\nbI00\nS'\\xff\\x00a'\np14\ntp15\nb."
    )
    assert load_plain(data).data == b"\xff\x00a"


class Call:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize("protocol", range(6))
def test_calls_are_refused_by_name_and_not_made(protocol, tmp_path):
    marker = str(tmp_path / "made")
    for function, args in (
        (os.mkdir, (marker,)),
        (eval, (f"__import__('os').mkdir({marker!r})",)),
        (getattr, (os, "system")),
    ):
        if function is getattr:
            args = (Call(__import__, "os"), "system")
        message = refused(pickle.dumps([Call(function, *args)], protocol))
        assert (f".{function.__name__}" in message) or ".__import__" in message
    assert not os.path.exists(marker)


@pytest.mark.parametrize(
    "data, name",
    [
        (b"cnumpy.core.multiarray\nset_string_function\n.", "numpy.core.multiarray.set_string_function"),
        (b"cnumpy\nndarray.__class__\n.", "numpy.ndarray.__class__"),
        (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", "numpy.ndarray.__init__"),
        (b"c_codecs\ndecode\n.", "_codecs.decode"),
        (b"ccodecs\nencode\n.", "codecs.encode"),
        (b"(S'true'\nios\nsystem\n.", "os system"),
        (b"Ppersistent\n.", "PERSID"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"}.", "EMPTY_DICT"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "NEWOBJ"),
        (b"(cnumpy\ndtype\no.", "OBJ"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"G\x00\x00\x00\x00\x00\x00\x00\x00.", "BINFLOAT"),
    ],
)
def test_other_names_and_opcodes_are_refused_by_name(data, name):
    assert name in refused(data)


def test_text_is_encoded_as_latin1_only():
    assert load_plain(b"c_codecs\nencode\n(Vab\nVlatin1\ntR.") == b"ab"
    assert "_codecs.encode" in refused(b"c_codecs\nencode\n(Vab\nVrot13\ntR.")


@pytest.mark.parametrize(
    "array",
    [
        np.array([b"a", None], dtype=object),
        np.zeros(2, dtype="f4"),
        np.array([b"abc"]),
        np.zeros(2, dtype=[("a", "u1")]),
        np.zeros((2, 2), dtype=np.uint8),
        np.zeros((2, 1, 1), dtype=np.uint8),
    ],
)
def test_other_arrays_are_refused(array):
    for protocol in range(6):
        message = refused(pickle.dumps(array, protocol))
        assert "NumPy" in message or "DICT" in message  # the fields of a type


def test_a_hostile_array_type_is_refused():
    call = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n%sK\x00\x85U\x01b\x87R."
    assert isinstance(load_plain(call % b"cnumpy\nndarray\n"), PickledArray)
    assert "another type" in refused(call % b"cnumpy\ndtype\n")
    assert "os.system" in refused(call % b"cos\nsystem\n")


def test_state_is_given_to_arrays_and_dtypes_only():
    assert "state" in refused(b"\x80\x02cnumpy\nndarray\nN(K\x01K\x02tb.")
    assert "state" in refused(b"](K\x01tb.")
    assert load_plain(b"NNb.") is None  # nothing to set


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02Nr\xfe\xff\xff\xff.",  # memo index 2**32 - 2
        b"Np99999999999\n.",  # a larger one in text
        b"\x80\x04\x8e" + struct.pack("<Q", 10**12) + b"x.",  # a trillion bytes announced
        b"\x80\x05\x96" + struct.pack("<Q", 10**12) + b"x.",  # the same as bytearray
        b"\x80\x04\x95" + struct.pack("<Q", 10**12) + b"N.",  # a frame of that size
        ARRAY_OF_HUGE_SHAPE,
        b"\x80\x02c_codecs\nencode\nX\x40\x42\x0f\x00" + b"a" * 10**6 + b"X\x06\x00\x00\x00latin1\x86q\x01R"
        b"c_codecs\nencode\nq\x02](" + b"h\x02h\x01R" * 1000 + b"e.",  # one text encoded 1000 times
        ONE_BUFFER_IN_MANY_ARRAYS,
    ],
    ids=["memo", "memo in text", "bytes", "bytearray", "frame", "shape", "one text", "one buffer"],
)
def test_no_more_memory_is_used_than_the_file_justifies(data):
    tracemalloc.start()
    try:
        load_plain(data)
    except ValueError:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(data) + 10**6


def test_an_array_of_a_huge_shape_has_no_data():
    with pytest.raises(ValueError, match="without data"):
        load_plain(ARRAY_OF_HUGE_SHAPE).numpy()


def test_an_array_shorter_than_its_shape_is_refused():
    data = pickle.dumps(np.arange(9, dtype=np.uint8), 2)
    assert "another size" in refused(data.replace(b"K\x01K\x09\x85", b"K\x01K\x0a\x85"))


def test_shared_lists_are_never_written_out():
    levels = b"]q\x00" + b"".join(
        b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60)
    )
    assert "requires str" in refused(b"\x80\x04" + levels + b"\x8c\x01x\x93.")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"0.",
        b"t.",
        b"R.",
        b"K\x01a.",
        b"(e.",
        b"h\x05.",
        b"\x85.",
        b"NNR.",
        b"c_codecs\nencode\n)R.",
        b"c_codecs\nencode\n(NNtR.",
        b"\xff",
        b"\x89PNG\r\n\x1a\n",
        b"I1x\n.",
        b"S'ab\n.",
        b"Sab\n.",
        b"cnumpy\n",
        b"X\xff\xff\xff\xff.",
        b"NK\x01b.",
    ],
)
def test_damaged_data_is_a_value_error(data):
    refused(data)


@pytest.mark.parametrize("protocol", range(6))
def test_every_truncation_is_a_value_error(protocol):
    data = pickle.dumps((PLAIN, np.arange(3, dtype=np.uint8), np.bool_(True)), protocol)
    for length in range(len(data)):
        refused(data[:length])
    assert "truncated" in refused(data[:-1])


@pytest.mark.parametrize("opcodes", [b"N\x94", b"]\x94", b"(", b")"])
def test_opcodes_are_no_more_than_images_need(opcodes, monkeypatch):
    monkeypatch.setattr(safe_pickle, "_OPCODES_AT_LEAST", 1000)
    tracemalloc.start()
    message = refused(b"\x80\x04(" + opcodes * 400_000 + b"l.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "more opcodes than" in message and peak < 6 * 400_000 * len(opcodes) + 10**6


@pytest.mark.parametrize("opcode", [b"I", b"L", b"g", b"N\x94p"])
def test_numbers_have_few_digits(opcode):
    assert "many digits" in refused(opcode + b"1" * 10**6 + b"\n.")
    assert load_plain(b"L" + b"1" * 60 + b"L\n.") == int("1" * 60)
