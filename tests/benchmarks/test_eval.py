"""The benchmark of evaluation, with few images."""

import json
import os
import zipfile

import pytest

from benchmarks import eval as evaluation
from benchmarks import eval_embedding, eval_precision, eval_protocols
from partial_fc.data.images.decoding import encode_jpeg

from helpers.faces import face


def test_part_on_embedding(tmp_path, monkeypatch, capsys):
    with zipfile.ZipFile(tmp_path / eval_embedding.IMAGES, "w") as archive:
        for image in range(5):
            archive.writestr(f"lfw/a/a_{image:04d}.jpg", encode_jpeg(face(0, image, 112)))
    monkeypatch.setattr(eval_embedding, "NETWORKS", {"demo": 5})
    monkeypatch.setattr(eval_embedding, "MEMORY_IMAGES", (3,))
    monkeypatch.setattr(eval_embedding, "ROUNDS", 1)
    arguments = ["--data", str(tmp_path), "--only", "embedding", "--json", str(tmp_path / "result.json")]
    assert evaluation.main(arguments) == 0
    found = json.loads((tmp_path / "result.json").read_text())["embedding"]
    (speed,), (memory,) = found["speeds"], found["memory"]
    assert (speed["network"], speed["images"]) == ("demo", 5)
    assert min(speed[key] for key in ("alone", "embed", "ratio")) > 0
    assert memory["images"] == 3 and 50 < memory["peak"] < 5000
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("| demo |")]


def test_part_on_precisions(tmp_path, monkeypatch, capsys):
    trained = []

    def evaluate(*command):
        options = dict(zip(command[2::2], command[3::2]))
        assert options["--bin"] == "records/heldout.bin"
        low, seed = options["--precision"] == "bfloat16", int(options["--model"].split("/")[-2])
        tar = {"1e-1": 0.7, "1e-2": 0.5 - 0.004 * low}
        found = dict(accuracy=0.0, accuracy_flip=0.8 + 0.1 * seed + 0.001 * low, tar=tar)
        with open(options["--json"], "w") as file:
            json.dump(found, file)

    def train(records, models_root, settings, sample_ratio, seed):
        trained.append((records, sample_ratio, seed))
        os.makedirs(models_root)

    for name in ("lfw-112x112.zip", "split.tsv"):
        (tmp_path / name).touch()
    monkeypatch.setattr(eval_precision.Packed, "of", lambda packed, task: "records")
    monkeypatch.setattr(eval_precision, "train", train)
    monkeypatch.setattr(eval_precision, "partial_fc", evaluate)
    monkeypatch.setattr(eval_precision, "SEEDS", (0, 1))
    arguments = ["--data", str(tmp_path), "--only", "precision", "--json", str(tmp_path / "result.json")]
    assert evaluation.main(arguments) == 0
    assert trained == [("records", 1.0, 0), ("records", 1.0, 1)]
    rows = capsys.readouterr().out.splitlines()
    assert rows[2] == "| accuracy | float32 | 80.00% | 90.00% |  |"
    assert rows[3] == "| accuracy | bfloat16 | 80.10% | 90.10% | +0.10 |"
    assert rows[-1] == "| TAR at FAR 1e-2 | bfloat16 | 49.60% | 49.60% | -0.40 |" and len(rows) == 2 + 6
    cases = json.loads((tmp_path / "result.json").read_text())["precision"]["cases"]
    assert [(case["seed"], case["precision"]) for case in cases[:2]] == [(0, "float32"), (0, "bfloat16")]
    (tmp_path / "split.tsv").unlink()
    with pytest.raises(SystemExit):
        evaluation.main(arguments)
    assert "split.tsv" in capsys.readouterr().err


@pytest.mark.parametrize(
    "accuracy, tar, expected",
    [
        (0.0019, -0.0049, []),
        (-0.0021, 0.0, ["accuracy: bfloat16 is -0.21 points from float32, at most 0.2 are allowed"]),
        (
            0.0,
            0.0051,
            [f"TAR at FAR {far}: bfloat16 is +0.51 points from float32, at most 0.5" for far in ("1e-1", "1e-2")],
        ),
    ],
)
def test_precisions_that_differ_too_much_are_problems(accuracy, tar, expected):
    def case(seed, precision):
        low = precision == "bfloat16"
        noise = 0.01 * (seed - 1) * low  # the means count
        tars = {far: 0.5 + tar * low + noise for far in eval_precision.FARS}
        return dict(seed=seed, precision=precision, accuracy=0.8 + accuracy * low + noise, tar=tars)

    cases = [case(seed, precision) for seed in eval_precision.SEEDS for precision in ("float32", "bfloat16")]
    found = eval_precision.problems(cases)
    assert len(found) == len(expected) and all(map(str.startswith, found, expected))


def test_a_problem_is_the_exit_status(tmp_path, monkeypatch, capsys):
    (tmp_path / "lfw-112x112.zip").touch()
    monkeypatch.setitem(evaluation.PARTS, "ijb", lambda args: dict(problems=["accuracy: too far"]))
    assert evaluation.main(["--data", str(tmp_path), "--only", "ijb"]) == 1
    assert capsys.readouterr().err.endswith("error: accuracy: too far\n")


def test_parts_on_protocols(tmp_path, monkeypatch, capsys):
    small = dict(
        NUM_PROBES=30,
        NUM_PEOPLE=7,
        NUM_DISTRACTORS=100,
        IFRT_IMAGES=70,
        IJB_IMAGES=60,
        IJB_TEMPLATES=9,
        IJB_PAIRS=50,
        IJB_SAME=20,
        EMBEDDING_SIZE=8,
    )
    for name, value in small.items():
        monkeypatch.setattr(eval_protocols, name, value)
    monkeypatch.setattr(eval_protocols, "in_own_process", lambda function: function())
    (tmp_path / eval_embedding.IMAGES).touch()
    arguments = ["--data", str(tmp_path), "--only", "ijb", "megaface", "ifrt", "--json", str(tmp_path / "result.json")]
    assert evaluation.main(arguments) == 0
    found = json.loads((tmp_path / "result.json").read_text())
    assert [found[name]["pairs"] for name in ("ijb", "megaface", "ifrt")] == [50, 3000, 70 * 69 // 2]
    assert list(found["ijb"]["parts"]) == ["lists", "templates", "pairs", "roc"]
    for name in ("ijb", "megaface", "ifrt"):
        assert min(found[name]["seconds"], found[name]["cpu"]) > 0 and 50 < found[name]["memory"] < 5000
    assert found["megaface"]["ratio"] > 0
    out = capsys.readouterr().out
    for row in ("| 60 images, 50 pairs |", "| 30 probes, 100 distractors | 3,000 |", "| 70 images | 2,415 |"):
        assert row in out
