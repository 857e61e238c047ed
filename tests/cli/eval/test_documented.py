"""The commands `eval ...` in README and docs run as they are printed, in a folder with files of these names."""

import itertools
import os
import re
import shlex

import numpy as np
import pytest

from partial_fc.cli.eval.main import main
from partial_fc.cli.export import export_main
from partial_fc.data.images.align import TEMPLATE
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.verification_set import save_verification_set
from partial_fc.eval.protocols.megaface_files import write_feature

from helpers.checkout import link_checkout
from helpers.documents import lines_of
from helpers.faces import face, write_faces
from helpers.models import write_linear_model
from helpers.protocols import IFRT, write_ijb, write_images, write_megaface
from helpers.ranks import run, succeed

SIZE = 112


_OF_A_WALK = "--images two"  # docs/deploy.md, which tests/cli/test_deploy.py runs as a whole
LINES = sorted(line for line in lines_of("eval") if _OF_A_WALK not in line)


def write_pairs(folder, pairs, size=SIZE):
    """Images of ten people in LFW's form, and a list of ten pairs of the same and ten of different ones."""
    write_images(folder, [f"p{person}/p{person}_{image:04d}.jpg" for person in range(10) for image in (1, 2)], size)
    same = "".join(f"p{person}\t1\t2\n" for person in range(10))
    pairs.parent.mkdir(exist_ok=True)
    pairs.write_text("1\t10\n" + same + "".join(f"p{n}\t1\tp{(n + 1) % 10}\t2\n" for n in range(10)))


def verification(here):
    images = [encode_jpeg(face(0, number, SIZE)) for number in range(40)]
    (here / "data" / "faces").mkdir(parents=True)
    for name in ("lfw", "cfp_fp", "agedb_30", "data/faces/heldout"):
        save_verification_set(here / f"{name}.bin", images, np.arange(20) < 9)
    write_pairs(here / "FOLDER", here / "pairs.txt")
    write_pairs(here / "data" / "lfw-112X112", here / "DIR" / "pairs.txt")


def photos(here):
    """Photos, their landmarks, a gallery, and a set with enough pairs for FAR 1e-3 and its evaluation."""
    numbers = "\t".join(map(str, TEMPLATE.ravel()))
    write_images(here, ["A.jpg", "B.jpg"], SIZE)
    write_images(here / "FOLDER", ["Ann/1.jpg", "Ann/2.jpg", "Bob.jpg"], SIZE)
    (here / "landmarks.txt").write_text(f"A.jpg\t{numbers}\nB.jpg\t{numbers}\n")
    images = [encode_jpeg(face(number, number, SIZE)) for number in range(48)]
    pairs = list(itertools.combinations(images, 2))
    save_verification_set(here / "lfw.bin", [image for pair in pairs for image in pair], np.arange(len(pairs)) < 50)
    command = ["verification", "--model", str(here / "PREFIX"), "--bin", str(here / "lfw.bin")]
    assert main([*command, "--json", str(here / "lfw.json")]) == 0


def embed(here):
    (here / "data" / "faces").mkdir(parents=True)
    write_faces(here / "data" / "faces", 3, 4, SIZE)
    ifrt(here)


def ifrt(here):
    write_images(here / "FOLDER", IFRT, SIZE)
    (here / "FILE").write_text("\n".join(IFRT))
    (here / "features.txt").write_text("\n".join(IFRT))
    np.save(here / "saved.npy", np.random.RandomState(0).randn(len(IFRT), 6).astype(np.float32))
    (here / "saved.npy").rename(here / "features.npy")


def ijb(here):
    write_ijb(here / "IJBC", TEMPLATE, SIZE)
    pairs = here / "IJBC" / "meta" / "ijbc_template_pair_label.txt"
    pairs.write_text(2 * pairs.read_text())  # enough pairs of different people for FAR 1e-1
    np.save(here / "img_feats.npy", np.random.RandomState(0).randn(12, 12).astype(np.float32))


def megaface(here):
    write_megaface(here)
    for written, printed in (
        ("fs.json", "facescrub_features_list.json"),
        ("fs_noise", "facescrub_noises.txt"),
        ("mf.json", "megaface_features_list.json_1000000_1"),
        ("mf_noise", "megaface_noises.txt"),
    ):
        (here / written).rename(here / printed)
    for short, name in (("fs", "facescrub"), ("mf", "megaface")):
        paths = [
            os.path.relpath(os.path.join(parent, file), here / short)
            for parent, _, files in os.walk(here / short)
            for file in files
        ]
        write_images(here / f"{name}_images", paths, SIZE)
        for path in paths:
            feature = np.random.RandomState(len(path)).randn(6)
            write_feature(str(here / "feature_out" / name / f"{path}_r100.bin"), feature)


@pytest.mark.parametrize("line", LINES)
def test_runs_as_it_is_printed(line, tmp_path, monkeypatch):
    command = re.search(r"partial-fc eval (\w+)", line)[1]
    link_checkout(tmp_path)
    for name, size in (
        ("PREFIX", SIZE),
        ("MINE", SIZE),
        ("models/faces-r50-cosface/model", SIZE),
        ("models/lfw/model", 56),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_linear_model(tmp_path / name, size)
    write_linear_model(tmp_path / "THEIRS", SIZE, seed=4)
    (tmp_path / "THEIRS-0000.params").rename(tmp_path / "THEIRS-0012.params")
    made = dict(verification=verification, embed=embed, ijb=ijb, megaface=megaface, ifrt=ifrt)
    made.update(pair=photos, identify=photos)
    made[command](tmp_path)
    if command == "embed":
        (tmp_path / "features.npy").unlink()
        (tmp_path / "features.txt").unlink()
    monkeypatch.chdir(tmp_path)
    if "lfw.onnx" in line:
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        assert export_main("models/lfw/model lfw.onnx --size 56".split()) == 0
    if line.startswith("partial-fc eval "):
        assert main(shlex.split(line)[2:]) == 0
    else:
        succeed(run(["bash", "-c", line], cwd=str(tmp_path)))
    for option, path in re.findall(r"--(roc|histogram|report|json|csv|keep|mistakes) ([^- ]\S*)", line):
        assert os.path.exists(path), option
    assert command != "embed" or len(np.load("features.npy")) in (12, len(IFRT))


def test_there_are_lines_of_all_kinds():
    assert len(LINES) >= 15 and {line.split()[0] for line in LINES} == {"partial-fc", "mpirun", "horovodrun"}
