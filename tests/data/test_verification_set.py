import os
import pickle
import stat

import numpy as np
import pytest

from partial_fc.data.verification_set import load_verification_set, save_verification_set

IMAGES = [b"\xff\xd8\x00first", b"\xff\xd8second", b"\xff\xd8third", b"\xff\xd8'\nfourth"]


def write(path, data):
    path.write_bytes(data)
    return str(path)


def check(path):
    images, issame = load_verification_set(path)
    assert images == IMAGES and all(type(image) is bytes for image in images)
    assert issame.dtype == bool and issame.tolist() == [True, False]


@pytest.mark.parametrize("issame", [[True, False], np.array([1, 0]), [np.bool_(1), np.bool_(0)], (1, 0)])
def test_what_is_saved_is_loaded_by_us_and_by_pickle(tmp_path, issame):
    path = str(tmp_path / "pairs.bin")
    save_verification_set(path, IMAGES, issame)
    check(path)
    with open(path, "rb") as file:
        bins, issame_list = pickle.load(file, encoding="bytes")
    assert bins == IMAGES and issame_list == [True, False] and type(issame_list[0]) is bool
    assert os.listdir(tmp_path) == ["pairs.bin"]
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o400


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("image_type", [bytes, lambda image: np.frombuffer(image, dtype=np.uint8)])
@pytest.mark.parametrize("issame", [[True, False], (True, False), [np.bool_(True), np.bool_(False)],
                                    np.array([True, False]), np.array([1, 0])])
def test_every_form_python_3_writes(tmp_path, protocol, image_type, issame):
    content = ([image_type(image) for image in IMAGES], issame)
    check(write(tmp_path / "pairs.bin", pickle.dumps(content, protocol)))


def test_python_2_files(tmp_path):
    strings = b"".join(b"U" + bytes([len(image)]) + image + b"q\x02" for image in IMAGES)
    check(write(tmp_path / "protocol2.bin", b"\x80\x02]q\x01(" + strings + b"e]q\x06(\x88\x89e\x86q\x07."))
    text = b"".join(b"S" + repr(image)[1:].encode() + b"\na" for image in IMAGES)
    check(write(tmp_path / "protocol0.bin", b"((lp1\n" + text + b"(lp2\nI01\naI00\natp3\n."))


@pytest.mark.parametrize("content, message", [
    ((IMAGES, [True]), "4 images for 1 pairs"),
    ((IMAGES[:3], [True, False]), "3 images for 2 pairs"),
    (([], []), "0 images for 0 pairs"),
    ((IMAGES[:3] + [b""], [True, False]), "image 3 is empty"),
    ((IMAGES[:3] + ["text"], [True, False]), "image 3 is empty or not bytes"),
    ((IMAGES[:3] + [np.zeros(3, dtype=np.int32)], [True, False]), "another type than uint8"),
    ((IMAGES, [True, 2]), "pair 1"),
    ((IMAGES, [True, None]), "pair 1"),
    ((IMAGES, None), "not a list"),
    ((b"".join(IMAGES), [True, False]), "not a list"),
    ((IMAGES, [True, False], 3), "does not hold"),
    ([IMAGES], "does not hold"),
    (None, "does not hold"),
    ((np.array(IMAGES, dtype=object), [True, False]), "'O8'"),
])
def test_other_contents_are_refused_with_the_file_name(tmp_path, content, message):
    path = write(tmp_path / "pairs.bin", pickle.dumps(content))
    with pytest.raises(ValueError) as error:
        load_verification_set(path)
    assert path in str(error.value) and message in str(error.value)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


def test_hostile_file_is_refused_with_file_and_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "pairs.bin", pickle.dumps((IMAGES, [True, Hostile()])))
    with pytest.raises(ValueError, match=r"pairs\.bin.*\.mkdir"):
        load_verification_set(path)
    assert os.listdir(tmp_path) == ["pairs.bin"]


def test_truncated_file_is_refused(tmp_path):
    data = pickle.dumps((IMAGES, [True, False]), 4)
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"pairs\.bin"):
            load_verification_set(write(tmp_path / "pairs.bin", data[:length]))


def test_many_references_to_one_array_are_not_copied(tmp_path):
    image = np.zeros(10 ** 6, dtype=np.uint8)
    path = write(tmp_path / "pairs.bin", pickle.dumps(([image] * 10000, [True] * 5000)))
    images, _ = load_verification_set(path)
    assert len(images) == 10000 and len({id(data) for data in images}) == 1


@pytest.mark.parametrize("images, issame", [(IMAGES, [True]), ([], []), (IMAGES[:3] + [""], [True, False]),
                                            (IMAGES, [True, 2]), (IMAGES, True)])
def test_nothing_unfit_is_written(tmp_path, images, issame):
    with pytest.raises(ValueError, match=r"pairs\.bin"):
        save_verification_set(str(tmp_path / "pairs.bin"), images, issame)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, function):
    path = str(tmp_path / "pairs.bin")
    save_verification_set(path, IMAGES, [True, False])

    def fail(*args):
        assert len(os.listdir(tmp_path)) == 2   # the new file is beside the old one, in the same folder
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(OSError, match="disk full"):
            save_verification_set(path, IMAGES[:2], [True])
    assert os.listdir(tmp_path) == ["pairs.bin"]
    check(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        load_verification_set(str(tmp_path / "missing.bin"))
