"""The benchmark of evaluation, with few images."""

import json
import zipfile

from benchmarks import eval as evaluation
from benchmarks import eval_embedding, eval_protocols
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
