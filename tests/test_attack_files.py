"""Files that claim more than they hold: each ends in one of our errors, within bounded memory and time."""

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from partial_fc.checkpoint import checkpoints as checkpoint
from partial_fc.checkpoint.checkpoints import MANIFEST, Damaged, verified_manifest
from partial_fc.checkpoint.numpy_file import open_matrix
from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.images.fit import decode_any
from partial_fc.data.records.record_writer import write_records
from partial_fc.errors import InputError
from partial_fc.files import parse_json
from partial_fc.training.run_state import RunState, check_about

from helpers.faces import face
from helpers.limits import bounded

MANY = 2**40
MAGIC = 0xCED7230A


def sparse(path, start, size, end=b""):
    """A file that begins and ends so, and has zeros between."""
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        file.write(end)


def header(text, version=1, length=None):
    """The header of a `.npy` file."""
    text = text.encode() + b"\n"
    length = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", length) + text


def described(descr="'<f4'", order="False", shape="(2, 3)"):
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")


@pytest.mark.parametrize(
    "content, message",
    [
        (header("{}", 2, 2**32 - 1), "its header claims 4294967295 bytes"),
        (header("(" * 4000), "not a NumPy file of features"),
        (header("-" * 4000 + "1"), "not a NumPy file of features"),
        (described(shape=f"({MANY}, {MANY})") + bytes(24), "24 bytes of numbers do not match"),
        (described(shape="(-2, -3)") + bytes(24), "expected floats in two dimensions"),
        (described(shape="(2.0, 3)") + bytes(24), "not a NumPy file of features"),
        (described() + bytes(23), "23 bytes of numbers do not match"),
        (described() + bytes(25), "25 bytes of numbers do not match"),
        (described("'|O'") + bytes(48), "object of shape"),
        (described("[('a', '<f4')]") + bytes(24), "expected floats"),
        (described("'<f4,<f4'", shape="(1, 3)") + bytes(24), "expected floats"),
    ],
)
def test_headers_of_numpy_files(tmp_path, content, message):
    (tmp_path / "f.npy").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_matrix(str(tmp_path / "f.npy"), "features")


def test_matrices_in_fortrans_order_are_read(tmp_path):
    matrix = np.arange(6, dtype=np.float64).reshape(2, 3)
    np.save(tmp_path / "f.npy", np.asfortranarray(matrix))
    assert np.array_equal(open_matrix(str(tmp_path / "f.npy"), "features"), matrix)


@pytest.fixture
def manifest(tmp_path):
    """Function that writes a manifest with changes, and the checksum that it should have."""

    def write(**changes):
        content = {"num_update": 5, "world_size": 2, "files": {"a": [1, "b"]}, **changes}
        content.update(format=1, checksum=checkpoint.manifest_checksum(content))
        (tmp_path / MANIFEST).write_text(json.dumps(content))
        return str(tmp_path)

    return write


@pytest.mark.parametrize(
    "name, value",
    [
        *(("world_size", value) for value in (10**12, -1, 0, "2", 2.0, True, None, [2])),
        *(("num_update", value) for value in (-1, 10**18, "5", 5.0, None, {})),
        *(
            ("files", value)
            for value in (
                None,
                [],
                {"a": 1},
                {"a": [1]},
                {"a": ["1", "b"]},
                {"a": [-1, "b"]},
                {"a": [1, 2]},
                {"../a": [1, "b"]},
                {"/a": [1, "b"]},
                {"..": [1, "b"]},
                {"": [1, "b"]},
            )
        ),
    ],
)
def test_manifests_of_other_types(manifest, name, value):
    assert verified_manifest(manifest(), lambda _: [])["world_size"] == 2
    with pytest.raises(Damaged, match=f"{MANIFEST}: {name} "):
        verified_manifest(manifest(**{name: value}), lambda _: [])


@pytest.mark.parametrize("content", ["[" * 10**6, '{"a":' * 10**5, "1" * 10**6, "[]", "null", '{"format": 1}', "\0"])
def test_text_that_is_no_manifest(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(Damaged, match=MANIFEST):
        verified_manifest(str(tmp_path), lambda _: [])


def test_manifests_without_end(tmp_path):
    sparse(tmp_path / MANIFEST, b"{", MANY)
    error, memory = bounded(
        "from partial_fc.checkpoint.checkpoints import verified_manifest",
        f"verified_manifest({str(tmp_path)!r}, lambda _: [])",
    )
    assert "16,777,216 bytes, the limit for JSON" in error and memory < 2**27


def about(**changes):
    report = {"num_update": 5, "loss": 1.0, "seconds": 2, "waited": 0.0, "position": 7, "notes": 0}
    progress = {"first": report, "last": report, "history": [[5, {"lfw": 0.9}]], "best": {"lfw": [0.9, 5]}}
    return {"num_update": 5, "configuration": {"batch_size": 4}, "versions": {}, "progress": {**progress, **changes}}


@pytest.mark.parametrize(
    "changes",
    [
        {"first": None},
        {"last": {}},
        {"last": {"num_update": 5}},
        {"history": 3},
        {"history": [[1]]},
        {"best": []},
        {"history": [["5", {}]]},
        {"best": {"lfw": 1}},
        {"done": {"num_update": 5, "images": -1, "unit": 4}},
        {"done": [5]},
        {"done": {"other": 5}},
        {"kept": {"of": 3, "num_update": 5, "accuracy": 0.5, "waited": 0}},
        {"kept": {"of": "lfw", "num_update": 5, "accuracy": "x", "waited": 0}},
        {"kept": {"of": "lfw"}},
        {"kept": 3},
        {"best": {"lfw": ["a", 5]}},
        {"last": {"num_update": 4, "loss": 1.0, "seconds": 1.0}},
        {"last": {"num_update": 5, "loss": "x", "seconds": 1.0}},
        {"last": {"num_update": 5, "loss": 1.0, "seconds": 1.0, "position": -3}},
    ],
)
def test_progress_of_other_types(changes):
    check_about(about())
    assert RunState.from_json(about()["progress"]).last.position == 7
    with pytest.raises(Damaged, match="the checkpoint of update 5: its "):
        check_about(about(**changes))


@pytest.mark.parametrize("name", ["configuration", "versions", "progress"])
def test_manifests_that_lack_what_runs_save(name):
    with pytest.raises(Damaged, match=name if name != "progress" else "not the progress of a run"):
        check_about({**about(), name: None})
    with pytest.raises(Damaged, match="is not a count"):
        check_about({**about(), "configuration": {"batch_size": "4"}})


def test_what_a_run_misses_in_a_manifest_is_reported_with_the_folder(manifest):
    with pytest.raises(Damaged, match="^.*: the checkpoint of update 5: its manifest has no configuration"):
        verified_manifest(manifest(), check_about)


def test_numbers_of_json_have_few_digits():
    assert parse_json("[12345678901234567890]") == [12345678901234567890]
    for text in ("1" * 21, "-" + "1" * 10**6, "[" * 10**5):
        with pytest.raises(ValueError, match="digits|nested"):
            parse_json(text)


LARGE_FILES = {
    "feature": (b"", "eval.protocols.megaface_files import read_feature as use", "more than 1,048,576"),
    "list": (b"{", "eval.protocols.megaface_files import read_template_list as use", "268,435,456 characters"),
    "image": (b"\xff\xd8\xff", "data.images.fit import read_image as use", "more than"),
    "safetensors": (
        struct.pack("<Q", MANY - 9),
        "checkpoint.center_files import _read_shard as use",
        "its header claims",
    ),
    "index": (b"1\t0\n", "data.records.index import read_index as read\nuse = lambda path: read(path, 8)", "than 256"),
    "hosts": (b"a", "distributed.hosts import read_host_file as use", "has more than 1,048,576 characters"),
    "params": (struct.pack("<3Q", 0x112, 0, 2**50), "checkpoint.params_file import load_ndarrays as use", "announces"),
    "npy": (described(shape="(3, 2)"), "eval.features import read_features as use", "do not match"),
}


@pytest.mark.parametrize("name", LARGE_FILES)
def test_files_of_a_terabyte(tmp_path, name):
    start, imports, message = LARGE_FILES[name]
    if name == "feature":
        start = struct.pack("<4i", 2**30, 1, 4, 5)
    sparse(tmp_path / "file", start, MANY)
    error, memory = bounded(f"from partial_fc.{imports}", f"use({str(tmp_path / 'file')!r})", most=2**31)
    assert message in error and memory < 2**30 * (2 if name in ("list", "image") else 0.25)


def test_verification_sets_of_one_large_array(tmp_path):
    size = 2**26
    for content in ((np.zeros(size, np.uint8), [True]), ([b"a", b"b"], np.zeros(size, np.uint8))):
        (tmp_path / "a.bin").write_bytes(pickle.dumps(content, 4))
        error, memory = bounded(
            "from partial_fc.data.verification_set import load_verification_set as load",
            f"load({str(tmp_path / 'a.bin')!r})",
            most=2**30,
        )
        assert "images are not a list" in error or "2 images for 67108864 pairs" in error
        assert memory < 4 * size


def part(kind, length):
    return struct.pack("<II", MAGIC, kind << 29 | length)


def announced(size):
    """Beginnings of records, each of which goes on to the end of the file and has a longer label than that."""
    return b"".join(part(0, length - 8) + struct.pack("<If", 2**26, 0) for length in range(size, 0, -16))


def unfinished(size):
    """Beginnings of records in several parts; each goes on to the end of the file, where its next part is missing."""
    return b"".join(part(1, length - 8) + bytes(8) for length in range(size, 0, -16))


def in_each_other(size):
    """Beginnings of records which all go on with the same empty parts, of which there is no last one."""
    count = size // 16
    return b"".join(part(1, 8 * (count - 1 - place)) for place in range(count)) + part(2, 0) * count


@pytest.mark.parametrize("make", [announced, unfinished, in_each_other])
def test_records_within_records_take_no_time(tmp_path, make):
    path = str(tmp_path / "a.rec")
    with open(path, "wb") as file:
        file.write(make(2**22))
    error, memory = bounded(
        "import mmap\nfrom partial_fc.data.records.recordio import read_record, walk",
        f"file = open({path!r}, 'rb'); data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); "
        "assert not any(found for _, found, _ in walk(file.fileno(), data, 0, len(data), read_record))",
        seconds=20,
    )
    assert error is None and memory < 2**27


def test_ranges_of_endless_records(tmp_path):
    """An identity whose range begins and ends at 10^38 would be looked for in as many records as float32 rounds off."""
    write_records(str(tmp_path / "train.rec"), [[encode_jpeg(face(0, 0, 16))], [encode_jpeg(face(1, 0, 16))]])
    content = (tmp_path / "train.rec").read_bytes()
    assert content.count(struct.pack("<2f", 2, 3)) == 1
    for edge in (1e38, np.inf):
        (tmp_path / "train.rec").write_bytes(content.replace(struct.pack("<2f", 2, 3), struct.pack("<2f", edge, edge)))
        error, _ = bounded(
            "from partial_fc.data.records.identity_ranges import empty_identities as use\n"
            "from partial_fc.data.records.record_file import RecordFile as File",
            f"use(File({str(tmp_path / 'train.rec')!r}))",
            seconds=20,
        )
        assert error is None


def large_jpeg():
    content = bytearray(encode_jpeg(face(0, 0, 16)))
    place = content.find(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">2H", 65500, 65500)
    return bytes(content)


def large_png():
    content = bytearray(cv2.imencode(".png", face(0, 0, 16))[1].tobytes())
    content[16:24] = struct.pack(">2I", 12000, 12000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def written(kind, **options):
    file = io.BytesIO()
    Image.fromarray(face(0, 0, 16)).save(file, kind, **options)
    return bytearray(file.getvalue())


def two_sizes_tiff():
    """The width stands there twice: for PIL the last counts, for libtiff the first."""
    content = written("TIFF")
    (start,) = struct.unpack_from("<I", content, 4)
    for entry in range(struct.unpack_from("<H", content, start)[0]):
        place = start + 2 + 12 * entry
        if content[place : place + 2] == struct.pack("<H", 284):
            content[place : place + 12] = struct.pack("<2H2I", 256, 4, 1, 30000)
    return bytes(content)


def two_sizes_jp2():
    content = written("JPEG2000")
    place = content.find(b"\xff\x4f\xff\x51") + 8
    content[place : place + 8] = struct.pack(">2I", 30000, 30000)
    return bytes(content)


def large_gif():
    """Its screen is small, and its picture large."""
    content = written("GIF")
    place = content.rfind(b"\x2c\0\0\0\0") + 5
    content[place : place + 4] = struct.pack("<2H", 13000, 13000)
    return bytes(content)


@pytest.mark.parametrize(
    "make, message",
    [
        (large_jpeg, "too large: 65500x65500"),
        (large_png, "too large: 12000x12000"),
        (two_sizes_tiff, "two sizes"),
        (two_sizes_jp2, "two sizes"),
        (large_gif, "too large: 13000x13000"),
    ],
)
def test_images_that_are_larger_than_they_say_or_than_any(make, message):
    with pytest.raises(InputError, match=message):
        decode_any(make())


@pytest.mark.parametrize("kind", ["TIFF", "JPEG2000", "GIF", "WEBP", "BMP", "PPM", "PNG"])
def test_other_images_are_read_as_before(kind):
    assert decode_any(bytes(written(kind))).shape == (16, 16, 3)


def test_jpeg_2000_without_colors_crashes_no_process(tmp_path):
    """OpenCV 4.11 dies of it."""
    content = written("JPEG2000")
    place = content.find(b"\xff\x4f\xff\x51") + 40
    content[place : place + 2] = b"\0\0"
    (tmp_path / "image").write_bytes(content)
    imports = "from partial_fc.data.images.fit import decode_any, read_image"
    error, _ = bounded(imports, f"decode_any(read_image({str(tmp_path / 'image')!r}))")
    assert "damaged JPEG2000" in error


def test_jpeg_2000_has_the_pixels_of_opencv():
    for options in ({}, {"irreversible": True, "quality_layers": [30]}):
        content = bytes(written("JPEG2000", **options))
        assert np.array_equal(decode_any(content), cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))


def test_a_size_that_no_image_has_asks_for_no_memory():
    with pytest.raises(InputError, match="too large: 1000000x1000000 pixels"):
        decode_image(encode_jpeg(face(0, 0, 16)), (10**6, 10**6))


def tar(*members):
    """A tar file of headers and contents."""
    return b"".join(head.tobuf(tarfile.USTAR_FORMAT) + body for head, body in members) + bytes(1024)


def member(name, size, kind=tarfile.REGTYPE):
    head = tarfile.TarInfo(name)
    head.size, head.type = size, kind
    return head


def named(name):
    """A member that has its name, which may have any characters, in a header of its own."""
    record = b" path=" + name.encode() + b"\n"
    return member("x", len(record) + 2, tarfile.XHDTYPE), (b"%d" % (len(record) + 2) + record).ljust(512, b"\0")


@pytest.mark.parametrize(
    "content, message",
    [
        (tar((member("x", 2**33 - 1, tarfile.XHDTYPE), b"")), "a header is said to have 8,589,934,591 bytes"),
        (tar((member("x", 2**33 - 1, tarfile.GNUTYPE_LONGNAME), b"")), "a header is said to have"),
        (tar((member("train.rec", 2**33 - 1), b"")), "more than 1 GB"),
        (tar((member("unknown", 2**33 - 1), b"")), "more than 1 GB"),
        (
            tar(named("a\0b"), (member("x", 0), b"")),
            r"the path 'a\x00b' has characters that names of files cannot have",
        ),
        (b"\xfd7zXZ\0" + bytes(600), "damaged"),
    ],
    ids=range(6),
)
def test_archives(tmp_path, content, message):
    for compress in (bytes, gzip.compress):
        (tmp_path / "glint360k.tar").write_bytes(compress(content))
        error, memory = bounded(
            "import contextlib\nfrom partial_fc.data.tools.glint360k import prepare",
            f"prepare({str(tmp_path)!r}, lambda *_: contextlib.nullcontext(lambda _: None))",
        )
        assert message in error and memory < 2**26
