import json
import math
import struct

import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.protocols.megaface import megaface_result
from partial_fc.eval.protocols.megaface_files import (
    FeatureFolder,
    TemplateList,
    open_template_list,
    read_feature,
    write_feature,
    write_for_kit,
    write_template_list,
)


def slow_megaface(probes, identities, distractors, far):
    """Couple by couple, rank by rank, threshold by threshold."""

    def cosine(one, other):
        return one @ other / np.sqrt((one @ one) * (other @ other))

    ranks, genuine = [], []
    for row, probe in enumerate(probes):
        others = [cosine(probe, distractor) for distractor in distractors]
        for mate in range(len(probes)):
            if mate != row and identities[mate] == identities[row]:
                ranks.append(1 + sum(other >= cosine(probe, probes[mate]) for other in others))
                genuine.append(cosine(probe, probes[mate]))
    impostor = np.array([cosine(probe, distractor) for probe in probes for distractor in distractors])
    allowed = [threshold for threshold in [*genuine, *impostor] if np.mean(impostor >= threshold) <= far]
    return np.mean(np.array(ranks) == 1), max(np.mean(genuine >= threshold) for threshold in allowed)


def random_set(seed, num_probes=30, num_people=7, num_distractors=80, size=5):
    random = np.random.RandomState(seed)
    identities = np.append(random.randint(0, num_people, num_probes - 1), num_people)  # the last has one probe
    centers = random.randn(num_people + 1, size)
    probes = centers[identities] + 0.4 * random.randn(num_probes, size)
    names = [f"person {identity}" for identity in identities]
    return probes.astype(np.float32), names, random.randn(num_distractors, size)


@pytest.mark.parametrize("block_rows", [16, 4096])
def test_equals_the_slow_protocol(monkeypatch, block_rows):
    monkeypatch.setattr("partial_fc.eval.protocols.megaface.FARS", (0.1, 0.01))
    for seed in range(2):
        probes, identities, distractors = random_set(seed)
        result = megaface_result(probes, identities, distractors, "model", block_rows)
        rank1, tar = slow_megaface(probes, identities, distractors, 0.01)
        assert result.figures["rank1"] == pytest.approx(rank1)
        assert result.figures["tar"]["1e-2"] == pytest.approx(tar, abs=0.02)  # one couple
        assert 0 < rank1 < 1 and 0 < tar < 1
        sizes = result.figures["probes"], result.figures["people"], result.figures["distractors"]
        assert sizes == (30, len(set(identities)), 80)
        assert result.histograms[""].different.sum() == 30 * 80
        assert 2 * result.histograms[""].same.sum() == sum(identities.count(each) - 1 for each in identities)


def test_exact_cosines():
    """Two people at right angles, two images each; distractors at known angles to the first."""
    probes = np.float32([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1], [0, 0, 2]])
    people = ["a", "a", "b", "b"]

    def figures(*distractors):
        return megaface_result(probes, people, np.float32(distractors), "model").figures

    assert figures([0, -1, 0])["rank1"] == 1
    assert figures([0, -1, 0], [1, -0.1, 0])["rank1"] == 3 / 4  # nearer to the first than its mate
    assert figures([0, 0, -1], [0.8, -0.6, 0])["rank1"] == 3 / 4  # as near: not identified
    assert figures([0, 0, 0.5])["rank1"] == 1 / 2
    assert figures([0, 0, 0])["rank1"] == 1 and figures([0, 0, 0])["tar"]["1e-4"] is None


def test_known_distribution():
    """No distractor of m in random directions of space is nearer than a mate at cosine c: a chance ((1 + c) / 2)^m."""
    random = np.random.RandomState(0)
    first, other, distractors = random.randn(3, 400, 3)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    other -= (other * first).sum(axis=1, keepdims=True) * first
    second = 0.9 * first + np.sqrt(1 - 0.9**2) * other / np.linalg.norm(other, axis=1, keepdims=True)
    people, probes = list(range(400)) * 2, np.concatenate([first, second])
    results = [megaface_result(probes, people, distractors[start : start + 20], "model") for start in range(0, 400, 20)]
    assert np.mean([result.figures["rank1"] for result in results]) == pytest.approx(0.95**20, abs=0.02)


def test_a_distractor_of_the_same_embedding_is_as_near_however_it_is_rounded():
    """Two equal images of each of 100 people, who are all among the distractors."""
    embeddings = np.random.RandomState(0).randn(100, 512).astype(np.float32)
    people = list(range(100)) * 2
    assert megaface_result(np.tile(embeddings, (2, 1)), people, embeddings, "model").figures["rank1"] == 0
    same = np.tile(embeddings[0], (3000, 1))
    result = megaface_result(same[:9], list("aaabbbccc"), same, "model", block_rows=1001)
    assert result.figures["rank1"] == 0 and result.figures["tar"]["1e-4"] == 0


def test_one_sided_sets():
    probes, _, distractors = random_set(0)
    figures = megaface_result(probes, range(30), distractors, "model").figures
    assert figures["rank1"] is None and figures["tar"]["1e-4"] is None and figures["people"] == 30


def test_bad_features():
    probes, identities, distractors = random_set(0)
    with pytest.raises(InputError, match="probes of 5 numbers, distractors of 4"):
        megaface_result(probes, identities, distractors[:, :4], "model")
    distractors[70, 2] = math.nan
    with pytest.raises(InputError, match="model, distractors: row 70 .* not finite"):
        megaface_result(probes, identities, distractors, "model", block_rows=32)
    probes[3, 0] = math.inf
    with pytest.raises(InputError, match="model, probes: row 3 .* not finite"):
        megaface_result(probes, identities, distractors, "model")


def test_files_of_features(tmp_path):
    path = str(tmp_path / "a" / "b" / "1.png_x.bin")
    feature = np.random.RandomState(0).randn(512).astype(np.float32)
    write_feature(path, feature)
    content = open(path, "rb").read()
    assert content == struct.pack("<4i", 512, 1, 4, 5) + feature.tobytes()
    assert read_feature(path).tolist() == feature.tolist()
    for header, kind in (((3, 1, 8, 6), "<f8"), ((1, 3, 12, 5), "<f4"), ((3, 1, 4, 5), "<f4")):
        open(path, "wb").write(struct.pack("<4i", *header) + np.arange(3).astype(kind).tobytes())
        assert read_feature(path).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "0 bytes"),
        (b"x" * 15, "15 bytes"),
        (struct.pack("<4i", 3, 1, 4, 5) + bytes(8), "has 24 bytes, 3 x 1 need 28"),
        (struct.pack("<4i", 3, 1, 4, 5) + bytes(16), "has 32 bytes, 3 x 1 need 28"),
        (struct.pack("<4i", 2, 2, 8, 5) + bytes(16), "2 x 2"),
        (struct.pack("<4i", 2, 1, 4, 4) + bytes(8), "type 4"),
        (struct.pack("<4i", 0, 1, 4, 5), "0 x 1"),
        (struct.pack("<4i", -1, 1, 4, 5), "-1 x 1"),
        (struct.pack("<4i", 2, 1, 8, 5) + bytes(16), "8 bytes per row"),
    ],
)
def test_bad_files_of_features_are_named(tmp_path, content, message):
    (tmp_path / "1.bin").write_bytes(content)
    with pytest.raises(InputError, match=f"1.bin: .*{message}"):
        read_feature(str(tmp_path / "1.bin"))


def write_json(path, value):
    path.write_text(json.dumps(value))
    return str(path)


def test_lists_and_noise(tmp_path):
    paths = ["Ann Lee/Ann_Lee_1.png", "Ann_Lee/Ann_Lee_2.png", "7/7@N01/3.jpg", "8/7@N01/3.jpg"]
    path = write_json(tmp_path / "list.json", {"path": paths, "id": ["Ann", "Ann", 3, 4]})
    assert open_template_list(path) == (paths, ["Ann", "Ann", "3", "4"])
    assert open_template_list(write_json(tmp_path / "no-id.json", {"path": paths})).identities[0] == "Ann Lee"
    (tmp_path / "noise.txt").write_text("# comment\n\nAnn Lee_2.png\n1\t7/7@N01/3.jpg\nelsewhere.jpg\r\n")
    assert open_template_list(path, str(tmp_path / "noise.txt")) == ([paths[0], paths[3]], ["Ann", "4"])
    write_template_list(str(tmp_path / "again.json"), TemplateList(paths, ["Ann", "Ann", "3", "4"]))
    assert open_template_list(str(tmp_path / "again.json")) == open_template_list(path)
    (tmp_path / "noise.txt").write_text("\n".join(paths))
    with pytest.raises(InputError, match="all 4 images of .* are noise"):
        open_template_list(path, str(tmp_path / "noise.txt"))


def test_noise_of_other_endings(tmp_path, caplog):
    """An ending counts where an image has it; names of no image are counted."""
    paths = [f"Ann Lee/Ann_Lee_{number}.jpg" for number in range(24)] + ["x/1.jpg", "x/1.png", "7@N01.a/2"]
    path = write_json(tmp_path / "list.json", {"path": paths, "id": paths})
    names = [f"Ann Lee_{number}.png" for number in range(24)] + ["x/1.png", "7@N01.a/2.JPEG"]
    (tmp_path / "noise.txt").write_text("\r\n".join(names))
    assert open_template_list(path, str(tmp_path / "noise.txt")).paths == ["x/1.jpg"]
    assert "names match no image" not in caplog.text
    (tmp_path / "noise.txt").write_text("\n".join(["Bob_1.png", "7@N01.b/2", "x/1"]))
    assert open_template_list(path, str(tmp_path / "noise.txt")).paths == paths[:24] + paths[26:]
    assert "noise.txt: 2 of 3 names match no image, one is '7@N01.b/2'" in caplog.text
    assert [record.levelname for record in caplog.records if "no image" in record.message] == ["WARNING"]


@pytest.mark.parametrize(
    "value",
    [
        {"path": ["a\0b"]},
        {"path": ["\ud800"]},
        [],
        {},
        {"path": []},
        {"path": "a/b"},
        {"path": [1]},
        {"path": ["a"], "id": []},
        None,
    ],
)
def test_bad_lists_are_named(tmp_path, value):
    with pytest.raises(InputError, match="list.json: "):
        open_template_list(write_json(tmp_path / "list.json", value))
    for content in (b"{", b"\xff\xfe", b"[" * 10**5):
        (tmp_path / "list.json").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            open_template_list(str(tmp_path / "list.json"))


def test_the_kit_gets_what_was_measured(tmp_path):
    """Written and read again: the same figures; a feature that lacks, and one of another length, are named."""
    probes, identities, distractors = random_set(0)
    lists = [
        TemplateList([f"{each}/{row} .png" for row, each in enumerate(identities)], identities),
        TemplateList([f"{row % 7}/{row}.jpg" for row in range(80)], ["nobody"] * 80),
    ]
    write_for_kit(str(tmp_path), lists, (probes, distractors), "_x.bin")
    folders = []
    for kind, name, size in (
        ("facescrub", "facescrub_features_list.json", 30),
        ("megaface", "megaface_features_list.json_80_1", 80),
    ):
        templates = open_template_list(str(tmp_path / "templatelists" / name))
        folders.append(FeatureFolder(str(tmp_path / kind), templates.paths, "_x.bin"))
        assert folders[-1].shape == (size, 5) and len(folders[-1]) == size
    assert templates == lists[1]
    np.testing.assert_allclose(np.linalg.norm(folders[1][10:20], axis=1), np.ones(10), rtol=1e-6)
    first, second = (
        megaface_result(*each, "model").figures
        for each in ((probes, identities, distractors), (folders[0], identities, folders[1]))
    )
    assert first == second
    write_feature(str(tmp_path / "megaface" / "3" / "10.jpg_x.bin"), np.zeros(4))
    with pytest.raises(InputError, match="10.jpg_x.bin: has 4 numbers, .*0.jpg_x.bin has 5"):
        megaface_result(folders[0], identities, folders[1], "model")
    (tmp_path / "megaface" / "3" / "10.jpg_x.bin").unlink()
    with pytest.raises(InputError, match="10.jpg_x.bin: cannot be read: No such file"):
        megaface_result(folders[0], identities, folders[1], "model")
