"""The benchmark of wrong labels: what is wrong, what is trained, and the table."""

import json
import os

import numpy as np
import pytest

from benchmarks import noise
from partial_fc.data.records.record_file import RecordFile
from partial_fc.randomness import generator

from helpers.faces import write_faces

LABELS = np.repeat(np.arange(50), 7)


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_flipped_labels(share):
    noisy = noise.noisy_labels(LABELS, "flipped", share, generator(0, "noise"))
    wrong = noisy != LABELS
    assert wrong.sum() == round(share * 350) and set(noisy) <= set(range(50))
    # Wrong labels are of all classes alike, and depend on the seed.
    shifts = [(noise.noisy_labels(LABELS, "flipped", 1.0, generator(s, "noise")) - LABELS) % 50 for s in range(30)]
    assert np.bincount(np.concatenate(shifts), minlength=50)[1:].min() > 150
    other = noise.noisy_labels(LABELS, "flipped", share, generator(1, "noise"))
    assert (other != noisy).any()


def test_split_classes():
    noisy = noise.noisy_labels(LABELS, "split", 1.0, generator(0, "noise"))
    assert np.array_equal(noisy % 50, LABELS)
    assert set(np.bincount(noisy, minlength=100)) == {3, 4}
    few = noise.noisy_labels(LABELS, "split", 0.1, generator(0, "noise"))
    assert len(set(few)) == 55 and len(set(few[few >= 50])) == 5


def test_records_hold_the_same_images_under_other_labels(tmp_path):
    (tmp_path / "clean").mkdir()
    path = write_faces(tmp_path / "clean", num_identities=6, images=4)
    (tmp_path / "clean" / "heldout.bin").write_bytes(b"pairs")
    noise.write_noisy(str(tmp_path / "clean"), str(tmp_path / "noisy"), "split", 1.0, 0)
    clean, noisy = RecordFile(path), RecordFile(str(tmp_path / "noisy" / "train.rec"))
    images = [{file.read(key)[0] for key in file.keys.tolist()} for file in (clean, noisy)]
    assert images[0] == images[1] and noisy.num_identities == 12
    assert np.bincount(noisy.labels()).tolist() == [2] * 12
    assert (tmp_path / "noisy" / "heldout.bin").read_bytes() == b"pairs"


def test_the_whole_grid_begins_with_what_says_most():
    cases = noise.wanted_cases(["omniglot", "lfw"])
    assert len(cases) == len({json.dumps(case) for case in cases}) == 216
    first = cases[:72]
    assert {case["filtering"] for case in first} == {"off", "exact"}
    assert {case["sample_ratio"] for case in first} == {1.0, 0.1} and not any(case["share"] == 0.2 for case in first)
    assert [case["data"] for case in cases[:13]] == ["omniglot"] * 12 + ["lfw"]
    assert cases[72]["filtering"] == "zero" and {case["seed"] for case in first} == {0, 1, 2}


def test_trains_and_prints(tmp_path, monkeypatch, capsys):
    made, trained = [], []

    def pack(folder, size, draw_two):
        made.append(folder)
        os.makedirs(f"{folder}/records")
        write_faces(f"{folder}/records", num_identities=6, images=4)
        open(f"{folder}/records/heldout.bin", "w").close()

    def measure(records, models_root, settings, ratio, seed):
        trained.append((records, [each for each in settings if "filtering" in each], ratio, seed))
        return dict(accuracy=0.5 + 0.1 * seed)

    for name in ("lfw-112x112.zip", "split.tsv"):
        (tmp_path / name).touch()
    monkeypatch.setattr("benchmarks.tasks.pack", pack)
    monkeypatch.setitem(noise.DATA, "lfw", noise.DATA["lfw"]._replace(extract=lambda data, folder: os.makedirs(folder)))
    monkeypatch.setattr(noise, "measured_training", measure)
    arguments = ["--data", str(tmp_path), "--only", "lfw", "--json", str(tmp_path / "n.json")]
    assert noise.main([*arguments, "--plot", str(tmp_path / "n.png")]) == 0
    assert len(trained) == 108 and len(made) == 1 and (tmp_path / "n.png").stat().st_size > 10_000
    settings = {tuple(each[1]) for each in trained}
    filtering = [("interclass_filtering=0.4", f"interclass_filtering_mode={mode}") for mode in ("exact", "zero")]
    assert settings == {(), *filtering}
    assert len({each[0] for each in trained}) == 1 + 3 * 3  # clean, and each noise with each seed
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + 12 and table[5] == "| lfw | 20% wrong | 1 | " + " | ".join(["60.0% ± 10.0 (3)"] * 3) + " |"
    cases = json.loads((tmp_path / "n.json").read_text())["cases"]
    assert {"data", "noise", "share", "sample_ratio", "filtering", "seed", "accuracy"} == set(cases[0])
