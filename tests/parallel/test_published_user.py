"""As a user of the published code comes: its default.py, its launch lines and hosts file, its scripts' file names."""

import json
import os
import shlex
import zipfile

import cv2
import mxnet as mx
import numpy as np
import pytest

from partial_fc.checkpoint.center_files import CenterFiles
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.verification_set import save_verification_set

from helpers.checkout import copy_checkout, run_line
from helpers.faces import face
from helpers.paths import ROOT
from helpers.ranks import succeed

PEOPLE, IMAGES, SIZE = 20, 6, 32
NAMES = ["--data", "faces", "--net", "r18", "--loss", "cosface"]


def own_faces():
    """People by images: of Labeled Faces in the Wild where it is, else drawn."""
    path = os.path.join(os.environ.get("PARTIAL_FC_TEST_DATA", ""), "lfw-112x112", "lfw-112x112.zip")
    if not os.path.exists(path):
        return [[face(person, number) for number in range(IMAGES)] for person in range(PEOPLE)]
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            images = found.setdefault(name.split("/")[-2], []) if name.endswith(".jpg") else [None] * IMAGES
            if len(images) < IMAGES:
                image = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
                images.append(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
            if sum(len(each) == IMAGES for each in found.values()) == PEOPLE:
                break
    return [images for images in found.values() if len(images) == IMAGES]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of the project with the user's default.py and hosts file, and beside it the user's data."""
    folder = tmp_path_factory.mktemp("user")
    people = [[encode_jpeg(image) for image in images] for images in own_faces()]
    os.makedirs(folder / "faces")
    write_records(str(folder / "faces" / "train.rec"), people)
    pairs = [(people[i][0], people[i + i % 2][1]) for i in range(18)]
    save_verification_set(
        str(folder / "faces" / "val.bin"), [i for pair in pairs for i in pair], np.arange(18) % 2 == 0
    )
    with open(os.path.join(ROOT, "tests", "helpers", "published_default.py")) as file:
        text = file.read().replace("config.debug = 0", "config.debug = 0\nconfig.published_files = True")
    project = copy_checkout(folder / "project", text)
    (project / "hosts").mkdir()
    (project / "hosts" / "host_2").write_text("localhost slots=2")
    return project


def train(checkout, *command):
    """Run a command in the checkout; returns its output and the summary in ./test or ./tuned."""
    output = succeed(run_line(checkout, shlex.join(command), FACES="../faces/train.rec"))
    root = command[command.index("--models-root") + 1]
    with open(os.path.join(checkout, root, "summary.json")) as file:
        return output, json.load(file)


def test_from_published_configuration_to_published_files_and_back(checkout):
    horovodrun = ["horovodrun", "-np", "2", "-H", "localhost:2", "bash", "config.sh"]
    output, first = train(checkout, *horovodrun, *NAMES, "--models-root", "./test")
    assert first["updates"] == 6 and first["ranks"] == 2 and first["dataset"] == "faces"
    assert "update 6/6" in output and f"identities: {PEOPLE}, updates: 6 of 16 images each" in output
    root = checkout / "test"
    published = {"model-symbol.json", "model-0000.params", "model_average-symbol.json", "model_average-0000.params"}
    published |= {f"{rank}_{name}" for rank in (0, 1) for name in ("centers.param", "centers_mom.param", "hist.log")}
    assert published <= set(os.listdir(root))
    assert "rank-id:0:" in (root / "0_hist.log").read_text() and "update 6/6" in (root / "0_hist.log").read_text()
    model, average = (mx.nd.load(str(root / f"{name}-0000.params")) for name in ("model", "model_average"))
    assert all(np.array_equal(model[name].asnumpy(), average[name].asnumpy()) for name in model)
    centers = [mx.nd.load(str(root / f"{rank}_centers.param"))[0].asnumpy() for rank in (0, 1)]
    (_, weight, _), *_ = CenterFiles(str(root / "checkpoints" / "update-000000006")).blocks(0, PEOPLE // 2)
    assert centers[0].shape == centers[1].shape == (PEOPLE // 2, 16) and np.array_equal(centers[0], weight)

    succeed(run_line(checkout, f"partial-fc centers import test centers --num-classes {PEOPLE}"))
    mpirun = "mpirun -np 2 -hostfile hosts/host_2 --allow-run-as-root -bind-to none -map-by slot -x LD_LIBRARY_PATH"
    mpirun += " -x PATH -mca pml ob1 -mca btl ^openib -x OMP_NUM_THREADS=1 -x FACES bash config.sh"
    start = ["--pretrained", "test/model,0", "--centers", "centers"]
    output, second = train(checkout, *mpirun.split(), *NAMES, *start, "--models-root", "tuned")
    assert second["accuracy_untrained"] == first["accuracy"]
    assert f"centers: centers and momentum of {PEOPLE} classes" in output
    assert second["first_loss"] < first["first_loss"]
