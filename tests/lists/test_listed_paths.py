"""A path that a list or an archive names leads to nothing outside of the folder that it starts from."""

import json
import os

import numpy as np
import pytest

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.images.folder import ImageFolder
from partial_fc.data.tools.pack import pack
from partial_fc.data.tools.pairs import read_pairs
from partial_fc.errors import InputError
from partial_fc.eval.image_source import FileImages, images_below, listed_images
from partial_fc.eval.protocols.ijb_lists import AlignedFaces, read_faces
from partial_fc.eval.protocols.megaface_files import FeatureFolder, TemplateList, open_template_list, write_for_kit
from partial_fc.files import read_file
from partial_fc.lists.names import check_path, find_path, new_path

from helpers.cases import for_each
from helpers.faces import face

ESCAPES = (
    "../a.jpg",
    "x/../../a.jpg",
    "x/..",
    "..",
    "/etc/passwd",
    "//host/a.jpg",
    "\\\\host\\a.jpg",
    "..\\a.jpg",
    "x\\..\\a",
    "C:\\a.jpg",
    "C:a.jpg",
    "z:/a.jpg",
    " ../a.jpg",
    "x/ ../a.jpg",
    " /etc/passwd",
    "\u00e9/../../a.jpg",
    "../\udce9.jpg",
)
every_escape = for_each("path", ESCAPES)


@pytest.fixture
def folder(tmp_path):
    """`in`, with images in `x`, and beside it an image that no list may reach."""
    for place in ("in/x/x_0001.jpg", "in/x/x_0002.jpg", "a.jpg"):
        write_image(tmp_path / place)
    return tmp_path / "in"


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(face(0, 0)))


def write(path, text):
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return str(path)


@pytest.mark.parametrize("place", [check_path, find_path, new_path])
@every_escape
def test_paths_that_may_lead_out(place, path, tmp_path):
    arguments = (path, "list, line 3") if place is check_path else (str(tmp_path), path)
    with pytest.raises(InputError, match=".*: the path .* may lead out of the folder"):
        place(*arguments)


@pytest.mark.parametrize(
    "path, message",
    [
        ("", "an empty path"),
        ("  ", "an empty path"),
        ("a\0b", "names of files"),
        ("a\nb", "names of files"),
        ("a\rb", "names of files"),
        ("\ud800", "names of files"),
    ],
)
def test_paths_of_no_file(path, message):
    with pytest.raises(InputError, match=f"list, line 3: .*{message}"):
        check_path(path, "list, line 3")


@for_each("path", ["a", "a/b.jpg", "./a", "..a/b..", "a...b", "7@N01/3 .jpg", "\u00e9", "\udce9", "a\\b", " a "])
def test_other_paths(path, tmp_path):
    assert check_path(path, "") == path
    for found in (find_path(str(tmp_path), path), new_path(str(tmp_path), path)):
        assert found == os.path.join(str(tmp_path), path)


def test_no_spelling_of_a_path_leads_out(tmp_path):
    """Whatever slashes, dots, blanks and accents make up a path: all that is found lies in the folder, or it raises."""
    random = np.random.RandomState(0)
    parts = ["..", ".", "/", "\\", " ", "a", "\u00e9", "e\u0301", "\udce9", "C:", "\t"]
    (tmp_path / "in").mkdir()
    raised = 0
    for _ in range(20000):
        name = "".join(random.choice(parts, random.randint(1, 8)))
        try:
            found = find_path(str(tmp_path / "in"), name)
        except InputError:
            raised += 1
        else:
            assert os.path.normpath(found.replace("\\", "/")).startswith(str(tmp_path / "in")), name
    assert 5000 < raised < 15000


@every_escape
def test_lists_of_images_name_the_line(path, folder, tmp_path):
    listed = write(tmp_path / "list", f"x/x_0001.jpg\n\n{path}\n")
    with pytest.raises(InputError, match="list, line 3: the path "):
        listed_images(listed, str(folder))
    with pytest.raises(InputError, match="may lead out"):
        FileImages(str(folder), ["x/x_0001.jpg", path]).read(1)


def test_a_list_without_a_folder_leads_anywhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    paths = listed_images(write(tmp_path / "list", f"{tmp_path}/a.jpg\n../a.jpg\nx/x_0001.jpg\n"))
    source = FileImages(None, paths)
    assert [source.read(row).ndim for row in range(3)] == [3, 3, 3]


@every_escape
def test_pairs_name_the_line(path, folder, tmp_path):
    for line in (f"{path}\t1\t2", f"x\t1\t{path}\t2", f"{path}\tx/x_0001.jpg\t1", f"1\tx/x_0001.jpg\t{path}"):
        listed = write(tmp_path / "pairs", f"x\t1\t2\n{line}\n")
        with pytest.raises(InputError, match="pairs, line 2: .*the path .* may lead out"):
            read_pairs(listed, str(folder))


@pytest.mark.parametrize("which", ["face_tid_mid", "name_5pts_score"])
@every_escape
def test_ijb_names_the_line(which, path, folder):
    (folder / "meta").mkdir(exist_ok=True)
    for name, numbers in (("face_tid_mid", "1\t1"), ("name_5pts_score", "\t".join(map(str, range(11))))):
        names = ["x/x_0001.jpg", path if name == which else "x/x_0002.jpg"]
        write(folder / "meta" / f"ijbc_{name}.txt", "".join(f"{each}\t{numbers}\n" for each in names))
    with pytest.raises(InputError, match=f"{which}.txt, line 2: .*may lead out"):
        read_faces(str(folder), "IJBC")


def test_ijb_reads_nothing_outside(folder):
    class Faces:
        names, landmarks = ["../../a.jpg"], np.zeros((1, 5, 2))

    with pytest.raises(InputError, match="may lead out"):
        AlignedFaces(Faces, str(folder), 112).read(0)


@every_escape
def test_megaface_names_the_entry_and_writes_nothing(path, tmp_path):
    with pytest.raises(InputError, match="list.json: entry 2: the path "):
        open_template_list(write(tmp_path / "list.json", json.dumps({"path": ["a/b.jpg", path], "id": ["a", "b"]})))
    out = tmp_path / "out" / "deep"
    for name, ending in ((path, ".bin"), ("a", "/../../../evil.bin")):
        lists = [TemplateList(["a/b.jpg"], ["a"]), TemplateList([name], ["a"])]
        with pytest.raises(InputError, match="may lead out"):
            write_for_kit(str(out), lists, np.ones((2, 1, 4), np.float32), ending)
    written = {os.path.join(parent, name) for parent, _, names in os.walk(tmp_path) for name in names}
    inside = {"facescrub/a/b.jpg.bin", "templatelists/facescrub_features_list.json"}
    assert written <= {str(tmp_path / "list.json"), *(str(out / name) for name in inside)}
    with pytest.raises(InputError, match="may lead out"):
        FeatureFolder(str(out), [path], "/x.bin")


def test_links_are_followed_to_read_and_not_to_write(folder, tmp_path):
    (folder / "out").symlink_to(tmp_path)
    (folder / "file").symlink_to(tmp_path / "a.jpg")
    (folder / "inner").symlink_to(folder / "x")
    assert FileImages(str(folder), ["out/a.jpg", "file"]).read(1).ndim == 3
    for name in ("out/new", "file", "out/a.jpg"):
        with pytest.raises(InputError, match="a link leads out of .*in: not written"):
            new_path(str(folder), name)
    assert new_path(str(folder), "inner/new") == str(folder / "inner" / "new")
    link = tmp_path / "link"  # a folder that the user names may be one
    link.symlink_to(folder)
    assert new_path(str(link), "new") == str(link / "new")


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\x07", "\u202egpj.exe", "a\x85b"])
def test_files_with_control_characters_are_not_written(name, tmp_path):
    with pytest.raises(InputError, match="control characters"):
        new_path(str(tmp_path), name)


@pytest.mark.parametrize("name", ["../lfw", "/data/lfw", "x/../../lfw"])
def test_verification_sets_lie_beside_the_records(name):
    with pytest.raises(InputError, match="--set val_targets: the path .*lfw' may lead out"):
        from_command_line(["--set", f"val_targets=a,{name}"])
    assert from_command_line(["--set", "val_targets=a,sub/lfw"]).val_targets == ("a", "sub/lfw")


@pytest.mark.parametrize("name", ["../lfw", "..", "C:lfw", "x/lfw", "a\x1b[2J", "a\nb"])
def test_names_of_packed_sets(name, folder, tmp_path):
    with pytest.raises(InputError, match="--name"):
        pack(str(folder), str(tmp_path / "out"), random_pairs=1, name=name)


def test_a_line_break_in_the_name_of_an_image(folder):
    write_image(folder / "x" / "a\nb.jpg")
    with pytest.raises(InputError, match=r"in/x: the path 'a\\nb.jpg' has characters"):
        images_below(str(folder))


def test_pipes_and_devices_are_no_images(folder, tmp_path):
    """Nothing waits for what a pipe will say, or reads a device that never ends."""
    os.mkfifo(folder / "x" / "x_0003.jpg")
    (folder / "x" / "x_0004.jpg").symlink_to("/dev/zero")
    for number in (3, 4):
        name = f"x/x_000{number}.jpg"
        with pytest.raises(OSError, match=f"not a plain file: .*{name}"):
            read_file(str(folder / name), 100)
        with pytest.raises(InputError, match=f"{name}: cannot be read: not a plain file"):
            FileImages(str(folder), ["x/x_0001.jpg", name]).read(1)
        with pytest.raises(OSError, match="not a plain file"):
            ImageFolder(str(folder), 112).read(name)
