import os

import numpy as np
import pytest

from partial_fc.data.demo import records as demo
from partial_fc.data.images.decoding import decode_image
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.verification_set import load_verification_set

SIZE = 32


@pytest.fixture(autouse=True)
def few_faces(monkeypatch):
    for name, value in dict(NUM_IDENTITIES=3, IMAGES_PER_IDENTITY=2, _HELD_OUT=4, _HELD_OUT_IMAGES=3).items():
        monkeypatch.setattr(demo, name, value)
    monkeypatch.setattr(demo, "_PAIRS_PER_KIND", 20)


@pytest.fixture
def calls(monkeypatch):
    """The calls of render_face, whose place is taken by plain colors that tell identity and image."""
    made = []

    def render_face(seed, identity, image, size):
        made.append((seed, identity, image, size))
        return np.full((size, size, 3), (30 * identity, 60 * image, 128), np.uint8)

    monkeypatch.setattr(demo, "render_face", render_face)
    return made


def contents(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


def shown(encoded):
    """Identity and image that a plain color tells."""
    color = decode_image(encoded, (SIZE, SIZE)).mean(axis=(0, 1))
    return round(color[0] / 30), round(color[1] / 60)


def test_files_are_readable(tmp_path):
    folder = tmp_path / "new" / "demo"
    demo.make_demo(str(folder), SIZE)
    assert sorted(os.listdir(folder)) == ["demo.bin", "train.idx", "train.rec"]
    records = RecordFile(str(folder / "train.rec"))
    assert records.num_identities == 3
    read = [records.read(key) for key in records.keys]
    assert [label for _, label in read] == [0, 0, 1, 1, 2, 2]
    images, issame = load_verification_set(str(folder / "demo.bin"))
    assert len(images) == 80 and issame.sum() == 20
    for image in [image for image, _ in read] + images:
        decode_image(image, (SIZE, SIZE))
    assert os.listdir(tmp_path / "new") == ["demo"]


def test_same_bytes_every_time(tmp_path):
    for name in ("one", "two"):
        demo.make_demo(str(tmp_path / name), SIZE)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_existing_folder_stays_untouched(tmp_path, calls):
    (tmp_path / "train.rec").write_text("a user's own file")
    demo.make_demo(str(tmp_path), SIZE)
    assert contents(tmp_path) == {"train.rec": b"a user's own file"} and not calls


def test_identities_of_verification_are_not_trained_on(tmp_path, calls):
    demo.make_demo(str(tmp_path / "demo"), SIZE)
    assert len(calls) == len(set(calls)) == 3 * 2 + 4 * 3
    assert {(seed, size) for seed, _, _, size in calls} == {(0, SIZE)}
    records = RecordFile(str(tmp_path / "demo" / "train.rec"))
    trained = [(shown(image), label) for image, label in map(records.read, records.keys)]
    assert trained == [((identity, image), identity) for identity in range(3) for image in range(2)]
    images, _ = load_verification_set(str(tmp_path / "demo" / "demo.bin"))
    assert {shown(image)[0] for image in images} == {3, 4, 5, 6}


def test_pairs(tmp_path, calls):
    demo.make_demo(str(tmp_path / "demo"), SIZE)
    images, issame = load_verification_set(str(tmp_path / "demo" / "demo.bin"))
    faces = [shown(image) for image in images]
    for first, second, same in zip(faces[0::2], faces[1::2], issame):
        assert first != second and (first[0] == second[0]) == same
    assert all(fold.any() and not fold.all() for fold in np.array_split(issame, 10))
    assert len({pair for pair in zip(faces[0::2], faces[1::2])}) > 15  # drawn anew for every pair


def test_progress_sees_every_identity(tmp_path, calls):
    seen = []

    def progress(identities):
        for identity in identities:
            seen.append(identity)
            yield identity

    demo.make_demo(str(tmp_path / "demo"), SIZE, progress)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("function", ["render_face", "save_verification_set"])
def test_failure_leaves_nothing(tmp_path, monkeypatch, function):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(demo, function, fail)
    with pytest.raises(OSError, match="disk full"):
        demo.make_demo(str(tmp_path / "demo"), SIZE)
    assert os.listdir(tmp_path) == []


def test_who_comes_second_leaves_the_first_ones_files(tmp_path, monkeypatch, calls):
    def another_process_is_faster(path, images, issame):
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "train.rec").write_text("of the other")

    monkeypatch.setattr(demo, "save_verification_set", another_process_is_faster)
    demo.make_demo(str(tmp_path / "demo"), SIZE)
    assert os.listdir(tmp_path) == ["demo"]
    assert contents(tmp_path / "demo") == {"train.rec": b"of the other"}


def test_nothing_is_written_before_all_is_drawn(tmp_path, monkeypatch, calls):
    written = []
    pairs = demo._verification_pairs
    monkeypatch.setattr(demo, "_verification_pairs", lambda size: written.append(os.listdir(tmp_path)) or pairs(size))
    demo.make_demo(str(tmp_path / "new" / "demo"), SIZE)
    assert written == [[]] and os.listdir(tmp_path / "new") == ["demo"]
