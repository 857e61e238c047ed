import cv2
import numpy as np
import pytest

from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.images.fit import fit_image
from partial_fc.data.verification_set import save_verification_set
from partial_fc.errors import InputError
from partial_fc.eval.protocols.pair_sets import decode_face, open_pair_sets

from helpers.faces import face


def png(rgb):
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


@pytest.fixture
def folder(tmp_path):
    """Two images of each of four people, and pairs in LFW's form: two folds of one pair of each kind."""
    for person in range(4):
        own = tmp_path / "lfw" / f"p{person}"
        own.mkdir(parents=True)
        for image in (1, 2):
            (own / f"p{person}_{image:04d}.jpg").write_bytes(encode_jpeg(face(person, image)))
    (tmp_path / "pairs.txt").write_text("2\t1\np0\t1\t2\np0\t1\tp1\t1\np2\t2\t1\np3\t1\tp2\t2\n")
    return tmp_path


def test_pairs_of_a_folder(folder):
    (pairs,) = open_pair_sets([], str(folder / "lfw"), str(folder / "pairs.txt"))
    assert (pairs.name, pairs.size, len(pairs.images)) == ("lfw", (32, 32), 6)
    assert pairs.issame.tolist() == [True, False, True, False]
    names = [pairs.images[row].rpartition("/")[2] for row in pairs.rows]
    assert names == [f"p{p}_000{i}.jpg" for p, i in [(0, 1), (0, 2), (0, 1), (1, 1), (2, 2), (2, 1), (3, 1), (2, 2)]]
    expected = decode_image(encode_jpeg(face(2, 2)), (32, 32))
    assert np.array_equal(pairs.read(pairs.rows[4]), expected)


def test_pairs_of_a_bin_file_hold_each_image_once(tmp_path):
    images = [encode_jpeg(face(0, number)) for number in (0, 1, 0, 2)]
    save_verification_set(tmp_path / "val.bin", images, [True, False])
    (pairs,) = open_pair_sets([str(tmp_path / "val.bin")], None, None)
    assert (pairs.name, len(pairs.images), pairs.rows.tolist()) == ("val", 3, [0, 1, 0, 2])
    assert np.array_equal(pairs.read(2), decode_image(images[3], (32, 32)))


def test_several_sets(folder):
    images = [encode_jpeg(face(0, number)) for number in range(2)]
    save_verification_set(folder / "val.bin", images, [True])
    sets = open_pair_sets([str(folder / "val.bin")] * 2, str(folder / "lfw"), str(folder / "pairs.txt"))
    assert [each.name for each in sets] == ["val", "val", "lfw"]


def test_sizes(folder):
    path = folder / "lfw" / "p2" / "p2_0001.jpg"
    path.write_bytes(encode_jpeg(face(2, 1, 40)))
    (pairs,) = open_pair_sets([], str(folder / "lfw"), str(folder / "pairs.txt"))
    with pytest.raises(InputError, match="p2_0001.jpg: 40x40 pixels .* expected 32x32"):
        pairs.read(pairs.rows[5])
    (pairs,) = open_pair_sets([], str(folder / "lfw"), str(folder / "pairs.txt"), 20)
    assert pairs.size == (20, 20)
    assert all(pairs.read(index).shape == (20, 20, 3) for index in range(len(pairs.images)))


def test_a_face_is_cut_as_pack_does():
    content = png(np.concatenate([face(0, 0), face(1, 0)], axis=1)[:, 5:])
    assert encode_jpeg(decode_face(content, (20, 20), True, "image")) == fit_image(content, 20)
    same = encode_jpeg(face(0, 0))
    assert np.array_equal(decode_face(same, (32, 32), True, "image"), decode_face(same, (32, 32), False, "image"))


def test_damaged_images_are_named(tmp_path):
    images = [encode_jpeg(face(0, 0)), encode_jpeg(face(0, 1))[:300], encode_jpeg(face(0, 2)), b"no image"]
    save_verification_set(tmp_path / "val.bin", images, [True, False])
    for size in (None, 20):
        (pairs,) = open_pair_sets([str(tmp_path / "val.bin")], None, None, size)
        with pytest.raises(InputError, match=f"^{tmp_path}/val.bin: image 1: damaged"):
            pairs.read(1)
        with pytest.raises(InputError, match=f"^{tmp_path}/val.bin: image 3: "):
            pairs.read(3)
    save_verification_set(tmp_path / "val.bin", images[::-1], [True, False])
    with pytest.raises(InputError, match=f"^{tmp_path}/val.bin: image 0: .*not an image"):
        open_pair_sets([str(tmp_path / "val.bin")], None, None)


@pytest.mark.parametrize(
    "arguments", [([], None, None), ([], "lfw", None), ([], None, "pairs.txt"), (["a"], "lfw", None)]
)
def test_what_is_missing(arguments):
    with pytest.raises(InputError, match="`bin` FILE, or `images` FOLDER"):
        open_pair_sets(*arguments)


def test_files_that_are_not_there(folder):
    with pytest.raises(InputError, match="--pairs nowhere: cannot be read"):
        open_pair_sets([], str(folder), "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere.bin"):
        open_pair_sets(["nowhere.bin"], None, None)
