"""The benchmark of embedding, with few images."""

import json
import zipfile

from benchmarks import eval as evaluation
from benchmarks import eval_embedding
from partial_fc.data.image import encode_jpeg

from faces import face


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
