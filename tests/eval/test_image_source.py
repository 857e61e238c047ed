import os

import numpy as np
import pytest

from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.errors import InputError
from partial_fc.eval.image_source import FileImages, RecordImages, images_below, listed_images

from helpers.faces import face, write_faces


@pytest.fixture
def folder(tmp_path):
    for name in ("b/10.jpg", "b/9.JPG", "a.jpg", "b/c/1.jpg", ".hidden/1.jpg", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode_jpeg(face(len(name), 0)))
    return tmp_path


def test_images_of_a_folder_are_in_natural_order(folder):
    source = FileImages(str(folder), images_below(str(folder)))
    assert source.lines == ["a.jpg", "b/9.JPG", "b/10.jpg", "b/c/1.jpg"] and source.size == (32, 32)
    assert np.array_equal(source.read(2), decode_image(encode_jpeg(face(8, 0)), (32, 32)))


def test_what_is_passed_over_is_counted(folder, caplog):
    (folder / "b" / "c" / "loop").symlink_to(folder)
    for number in range(6):
        (folder / "b" / "c" / f"{number}.heic").touch()
    assert images_below(str(folder)) == ["a.jpg", "b/9.JPG", "b/10.jpg", "b/c/1.jpg"]
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "skipped 7 files with other endings than images: b/notes.txt, b/c/0.heic, b/c/1.heic, b/c/2.heic, "
        "b/c/3.heic and 2 more",
        "skipped 1 links to folders that were read already: b/c/loop",
    ]


def test_images_of_a_list(folder, monkeypatch):
    (folder / "list").write_text("b/10.jpg\r\na.jpg\n\nb/10.jpg\n")
    source = FileImages(str(folder), listed_images(str(folder / "list")), size=20)
    assert source.lines == ["b/10.jpg", "a.jpg", "b/10.jpg"] and source.read(1).shape == (20, 20, 3)
    (folder / "list").write_text(f"{folder}/a.jpg\n")
    assert FileImages("", listed_images(str(folder / "list"))).read(0).shape == (32, 32, 3)


def test_images_of_records(tmp_path):
    source = RecordImages(os.path.dirname(write_faces(tmp_path, num_identities=3, images=2)))
    assert source.lines == ["1\t0", "2\t0", "3\t1", "4\t1", "5\t2", "6\t2"] and source.size == (32, 32)
    assert np.array_equal(source.read(3), decode_image(encode_jpeg(face(1, 1)), (32, 32)))


def test_states_change_with_the_files(folder):
    source = FileImages(str(folder), images_below(str(folder)))
    before = list(source.states())
    os.utime(folder / "a.jpg", (1, 1))
    (folder / "b" / "9.JPG").write_bytes(b"")
    changed = [old != new for old, new in zip(before, source.states())]
    assert changed == [True, True, False, False]


def test_bad_images_that_are_skipped(folder):
    """The size is that of the first image that can be read; what the features depend on says that one is missing."""
    (folder / "a.jpg").write_bytes(b"no image")
    source = FileImages(str(folder), ["missing.jpg", "a.jpg", "b/10.jpg"], skip_bad=True)
    assert source.size == (32, 32) and next(iter(source.states())) == "missing"
    with pytest.raises(InputError, match="none of 2 images can be read; the first: .*missing.jpg: cannot be read"):
        FileImages(str(folder), ["missing.jpg", "a.jpg"], skip_bad=True)


def test_wrong_sources_are_named(folder):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        images_below("nowhere")
    with pytest.raises(InputError, match="c: no images"):
        (folder / "b" / "c" / "1.jpg").unlink()
        images_below(str(folder / "b" / "c"))
    with pytest.raises(InputError, match="nowhere: cannot be read"):
        listed_images("nowhere")
    (folder / "list").write_text("\n")
    with pytest.raises(InputError, match="list: lists no images"):
        listed_images(str(folder / "list"))
    source = FileImages(str(folder), ["a.jpg", "missing.jpg", "b/notes.txt"])
    with pytest.raises(InputError, match="missing.jpg: cannot be read: No such file"):
        source.read(1)
    with pytest.raises(InputError, match="missing.jpg: cannot be read"):
        list(source.states())
    (folder / "a.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="a.jpg: .*not an image"):
        FileImages(str(folder), ["a.jpg"])
