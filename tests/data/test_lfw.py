"""Real faces through the data path: Labeled Faces in the Wild, if PARTIAL_FC_TEST_DATA names a folder that has it."""

import os
import zipfile

import numpy as np
import pytest

from partial_fc.data.batches import BatchReader
from partial_fc.data.images.decoding import decode_image
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.verification_set import load_verification_set, save_verification_set
from partial_fc.distributed.communicator import Communicator
from partial_fc.eval.protocols.verification import pixel_embeddings, verify

LFW = os.path.join(os.environ.get("PARTIAL_FC_TEST_DATA", ""), "lfw-112x112")
pytestmark = pytest.mark.skipif(not os.path.isdir(LFW), reason="PARTIAL_FC_TEST_DATA names no folder with lfw-112x112")


@pytest.fixture(scope="module")
def archive():
    with zipfile.ZipFile(os.path.join(LFW, "lfw-112x112.zip")) as file:
        yield {"/".join(name.split("/")[-2:]): file.read(name) for name in file.namelist() if name.endswith(".jpg")}


def test_images_go_through_records_unchanged(archive, tmp_path):
    people = [[archive[f"{name}/{name}_{i:04d}.jpg"] for i in (1, 2)] for name in ("Abel_Pacheco", "Akhmed_Zakayev")]
    path = str(tmp_path / "train.rec")
    assert write_records(path, people) == 4
    batch = BatchReader(RecordFile(path), 112, 4, Communicator()).read(0)
    for image, label, record in zip(*batch[:3]):
        expected = decode_image(people[label][(record - 1) % 2], (112, 112))
        assert np.array_equal(image, expected) or np.array_equal(image[:, ::-1], expected)


def test_raw_pixels_on_the_first_official_fold(archive, tmp_path):
    images, issame = [], []
    with open(os.path.join(LFW, "pairs.txt")) as file:
        next(file)
        for fields in [next(file).split() for _ in range(600)]:
            first, second = fields[0], fields[-2] if len(fields) == 4 else fields[0]
            numbers = int(fields[1]), int(fields[-1])
            images += [archive[f"{name}/{name}_{i:04d}.jpg"] for name, i in zip((first, second), numbers)]
            issame.append(len(fields) == 3)
    path = str(tmp_path / "lfw.bin")
    save_verification_set(path, images, issame)
    loaded, issame = load_verification_set(path)
    order = np.argsort(np.arange(600) % 300, kind="stable")  # so that each of the ten folds holds both kinds of pairs
    pixels = np.stack([decode_image(image, (112, 112)) for image in loaded]).reshape(600, 2, 112, 112, 3)[order]
    accuracy = verify(pixel_embeddings, pixels.reshape(1200, 112, 112, 3), issame[order]).accuracy
    assert 0.55 < accuracy < 0.75
