"""Every reader of a list, with every way in which people and programs write the same list."""

import codecs
import os
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest

from partial_fc.checkpoint.label_map import match_identities, read_label_map
from partial_fc.data.images.align import Landmarks
from partial_fc.data.records.data_set import Grouped
from partial_fc.data.records.record_file import read_property
from partial_fc.data.tools.identity_lists import read_identities, read_leave_out
from partial_fc.data.tools.pairs import read_pairs
from partial_fc.errors import InputError
from partial_fc.eval.image_source import FileImages, listed_images
from partial_fc.eval.protocols import ijb_lists
from partial_fc.eval.protocols.ifrt import image_groups
from partial_fc.eval.protocols.megaface_files import read_template_list
from partial_fc.eval.protocols.noise_lists import read_noises
from partial_fc.lists import text as text_lists
from partial_fc.lists.names import Names, find_path, name_key, read_names
from partial_fc.lists.text import name_and_numbers, real_numbers, text_blocks, text_lines, ways_to_split, whole_numbers

from helpers.cases import for_each

POINTS = "\t".join("1.5 2 3e1 4 5 -6 7 8 .9 10".split())
IMAGES = "African/José/1.jpg\nAfrican/José/2.jpg\nAsian/Ann B/1.jpg\n"
PEOPLE = ["Zoë", "José", "Ann B"]
GROUPED = Grouped(np.arange(4), np.arange(5), np.arange(4))
IJB = {
    "face_tid_mid": "José/1.jpg 300 5\nb.jpg 1 -5\n",
    "name_5pts_score": "".join(f"{name} {POINTS} 0.9\n" for name in ("José/1.jpg", "b.jpg")).replace("\t", " "),
    "template_pair_label": "1 300 0\n300 300 1\n1 1 1\n",
}


def ijb(name):
    def read(path, folder):
        for other, text in IJB.items():
            with open(os.path.join(folder, "meta", f"ijbc_{other}.txt"), "wb") as file:
                file.write(open(path, "rb").read() if other == name else text.encode())
        faces = ijb_lists.read_faces(folder, "IJBC")
        if name == "template_pair_label":
            return ijb_lists.read_pairs(folder, "IJBC", faces.template_ids)
        return faces._replace(names=[name_key(each) for each in faces.names])

    return read


def of_landmarks(path, folder):
    points = Landmarks(path)
    return [points.of(image) for image in ("José/1.jpg", "Ann B/1.jpg")]


def images_found(path, folder):
    source = FileImages(os.path.join(folder, "all"), listed_images(path), 20)
    return [os.path.realpath(source._path(index)) for index in range(len(source.lines))]


def matched(path, folder):
    return match_identities(os.path.join(folder, "old.txt"), path)


def held(path, folder):
    return read_identities(path, SimpleNamespace(names=lambda: PEOPLE), GROUPED)


def left_out(path, folder):
    return read_leave_out(path, [GROUPED] * 2)


def in_property(path, folder):
    os.replace(path, os.path.join(folder, "property"))
    return read_property(folder)


READERS = {
    "pairs": ("1\t2\nJosé\t1\t2\nJosé\t1\tAnn B\t1\nJosé\t2\t1\nAnn B\t1\tJosé\t2\n", lambda path, folder: [
        (number, os.path.realpath(one), os.path.realpath(two), same)
        for number, (one, two), same in read_pairs(path, os.path.join(folder, "faces"))]),
    "pairs by path": ("African/José/1.jpg\tAfrican/José/2.jpg\t1\nAfrican/José/1.jpg\tAsian/Ann B/1.jpg\t0\n" * 2,
                      lambda path, folder: [
        (os.path.realpath(one), os.path.realpath(two), same)
        for number, (one, two), same in read_pairs(path, os.path.join(folder, "all"))]),
    "identities": ("\n".join(PEOPLE) + "\n", lambda path, folder: list(map(name_key, read_names(path)))),
    "identities that stay": ("José\nMary\nZoë\n", matched),
    "held out": ("José\n3\n", held),
    "held out, with labels": ("José\t1\nAnn B\t2\n", held),
    "left out": ("1\t2 # José\n2\t0\n", left_out),
    "landmarks": (f"José/1.jpg\t{POINTS}\nAnn B/1.jpg\t{POINTS}\n", of_landmarks),
    "noise": ("# José\nJosé 1.jpg\n1\t7/7@N01/3.jpg\n", lambda path, folder: read_noises(path)),
    "label map": ("0\t7\n12\t1\n", lambda path, folder: read_label_map(path)),
    "property": ("85742,112,112\n", in_property),
    "images": (IMAGES, images_found),
    "ifrt": (IMAGES, lambda path, folder: image_groups(listed_images(path), "list")),
    "megaface": ('{"path": ["José/1.jpg",\n"b.jpg"], "id": ["José", 3]}\n', lambda path, folder: [
        list(map(name_key, column)) for column in read_template_list(path)]),
    **{f"ijb {name}": (text, ijb(name)) for name, text in IJB.items()},
}  # fmt: skip
# Where a line is a label, an empty one is an error, see below; and names may end with spaces.
IN_ORDER, MEANT = {"identities", "identities that stay"}, {"blank between", "spaces at the end"}
WAYS = {
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "byte order mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "two marks": lambda text: 2 * codecs.BOM_UTF8 + text.encode(),
    "files put together": lambda text: text.replace("\n", "\n\ufeff").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "UTF-16, CRLF": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "no end": lambda text: text.rstrip("\n").encode(),
    "blank tail": lambda text: (text + "\n\n").encode(),
    "blank tail, CRLF": lambda text: (text + " \n\t\n\n").replace("\n", "\r\n").encode(),
    "tabs twice": lambda text: text.replace("\t", "\t\t").encode(),
    "spaces around tabs": lambda text: text.replace("\t", " \t  ").encode(),
    "Latin-1": lambda text: text.encode("latin-1"),
    "decomposed": lambda text: unicodedata.normalize("NFD", text).encode(),
    "backslashes": lambda text: text.replace("/", "\\").encode() if '"' not in text else text.encode(),
    "everything": lambda text: (codecs.BOM_UTF8 + (text + "\n\n").replace("\n", "\r\n").encode()),
    "blank between": lambda text: text.replace("\n", "\n\n").encode(),
    "spaces at the end": lambda text: text.replace("\n", "  \n").encode(),
}


@pytest.fixture
def folder(tmp_path):
    """Images of people with accents in the forms that the lists name, and IJB's folder of lists."""
    for name in (
        "faces/José/José_0001.jpg",
        "faces/José/José_0002.jpg",
        "faces/Ann B/Ann B_0001.jpg",
        *("all/" + line for line in IMAGES.split("\n") if line),
        "meta/x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "old.txt").write_text("\n".join(PEOPLE), encoding="utf-8")
    return tmp_path


def read(folder, reader, content):
    path = folder / "list.txt"
    path.write_bytes(content)
    return READERS[reader][1](str(path), str(folder))


def flat(value):
    """Plain lists and numbers, to compare."""
    if isinstance(value, (list, tuple)):
        return [flat(each) for each in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("reader", READERS)
@for_each("way", WAYS)
def test_the_same_list_written_in_another_way(folder, reader, way):
    if reader in IN_ORDER and way in MEANT:
        return
    text = READERS[reader][0]
    expected, found = flat(read(folder, reader, text.encode())), flat(read(folder, reader, WAYS[way](text)))
    if reader == "pairs" and way == "blank between":
        expected, found = ([pair[1:] for pair in pairs] for pairs in (expected, found))  # without numbers of lines
    assert found == expected and expected


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_list(folder, reader):
    """Each names the file, and the line where there is one."""
    jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01"
    for content, message in (
        (jpeg, "line 1: has a zero byte"),
        (b"a\n\n" + jpeg, "line 3: has a zero byte|line 1: expected"),
        ("a".encode("utf-16-le"), "line 1: has a zero byte"),
        (codecs.BOM_UTF16_LE + b"a", "begins as UTF-16"),
    ):
        with pytest.raises(InputError, match=rf"(list\.txt|ijbc_.*\.txt|property)(, |: )({message})"):
            read(folder, reader, content)


def test_files_that_cannot_be_read(tmp_path):
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "nowhere", "No such file")):
        for reading in (text_lines, text_blocks):
            with pytest.raises(InputError, match=f"{path}: cannot be read: {reason}"):
                list(reading(str(path)))


def test_empty_line_among_names(tmp_path):
    (tmp_path / "identities.txt").write_text("Ann\n\nBob\n")
    with pytest.raises(InputError, match="identities.txt, line 2: is empty, expected the name of identity 1"):
        read_names(str(tmp_path / "identities.txt"))


def test_a_line_without_end_is_named_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(text_lists, "_BLOCK", 100)
    (tmp_path / "list").write_text("a\n" + "b" * 10**6)
    lines = text_lines(str(tmp_path / "list"))
    assert next(lines) == (1, "a")
    with pytest.raises(InputError, match="list, line 2: has more than 100 characters"):
        next(lines)


@for_each("block", range(2, 9))
def test_lines_over_the_edges_of_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(text_lists, "_BLOCK", block)
    (tmp_path / "list").write_bytes("\ufeffab\r\n\r\ncd\ré\n\n\ufeffe".encode())
    assert list(text_lines(str(tmp_path / "list"))) == [(1, "ab"), (3, "cd"), (4, "é"), (6, "e")]


def test_names_may_hold_what_else_python_takes_for_an_end(tmp_path):
    (tmp_path / "list").write_text("a\u2028b\x85c\x0bd\n", encoding="utf-8")
    assert list(text_lines(str(tmp_path / "list"))) == [(1, "a\u2028b\x85c\x0bd")]


STRANGE = ["²", "１", "1_000", "nan", "inf", "0x10", "", " ", "1,5", "one", "--1", "1 2", "٣", "9" * 400]


@for_each("text", STRANGE + ["1e3", "1.0", "9" * 19, "-1", "0" * 80 + "7"])
def test_no_whole_number(text):
    with pytest.raises(ValueError):
        whole_numbers(["7", text])


@for_each("text", STRANGE + ["1e", "1e99", "-infinity", "1e400"])
def test_no_number(text):
    with pytest.raises(ValueError):
        real_numbers(["7", text])


def test_numbers():
    assert whole_numbers(["0", "007", "9" * 18]) == [0, 7, 10**18 - 1] and whole_numbers(["-5"], -9) == [-5]
    assert real_numbers(["1", "-.5", "2.", "1e-3"]) == [1, -0.5, 2, 0.001]


@for_each(
    "line, expected",
    [
        ("a 1 2", "a"),
        ("a b  1\t2 ", "a b"),
        ("a, b\t1\t2", "a, b"),
        ("a b, 1, 2", "a b"),
        ("a b\t1 2", "a b"),
        ("a\t\t1\t2", "a"),
        ("2020/1.jpg 1 2", "2020/1.jpg"),
    ],
)
def test_names_before_numbers(line, expected):
    assert name_and_numbers(line, 2, whole_numbers) == (expected, [1, 2])


@for_each(
    "line",
    ["1 2", "a 1", "a 1 2 3", "a 1. 2 3", "a, 1 , 2, 3", "a\t1\t2\t3", "a 1 ２", "\t1\t2", "a b", "a 1 2 b", "a"],
)
def test_other_lines_than_a_name_and_numbers(line):
    with pytest.raises(ValueError):
        name_and_numbers(line, 2, whole_numbers)


def test_ways_to_split():
    assert list(ways_to_split("a b \t\tc,d\n")) == [["a b", "c,d"], ["a b \t\tc", "d"], ["a", "b", "c,d"]]


def test_names_in_other_forms():
    composed, apart = "José", unicodedata.normalize("NFD", "José")
    latin = b"Jos\xe9".decode("utf-8", "surrogateescape")
    for name in (composed, apart, latin):
        assert [Names({name, "Ann"}).find(other) for other in (composed, apart, latin, "Ann")] == [name] * 3 + ["Ann"]
    assert Names({composed, apart}).find(latin) is None and Names({composed, apart}).find(apart) == apart
    assert Names({"a/b"}).find("a\\b") == "a/b" and Names({"a\\b"}).find("a/b") == "a\\b"
    assert Names({"a"}).find("b") is None


@pytest.mark.parametrize("on_disk", ["José/é.jpg", unicodedata.normalize("NFD", "José/é.jpg"), b"Jos\xe9/\xe9.jpg"])
def test_files_under_names_of_other_forms(tmp_path, on_disk):
    path = os.path.join(str(tmp_path), os.fsdecode(on_disk))
    os.makedirs(os.path.dirname(path))
    open(path, "w").close()
    for name in (
        "José/é.jpg",
        "José\\é.jpg",
        unicodedata.normalize("NFD", "José/é.jpg"),
        " José/é.jpg  ",
        b"Jos\xe9\\\xe9.jpg".decode("utf-8", "surrogateescape"),
    ):
        assert find_path(str(tmp_path), name) == path
    assert find_path(str(tmp_path), "no\\where") == os.path.join(str(tmp_path), "no\\where")
