import math

import cv2
import numpy as np
import pytest

from partial_fc.data.images.align import TEMPLATE, align_face
from partial_fc.errors import InputError
from partial_fc.eval.protocols import ijb
from partial_fc.eval.protocols.ijb import best_faces, compare_templates, ijb_result, judge_templates, pool_templates
from partial_fc.eval.protocols.ijb_lists import AlignedFaces, FaceList, TemplatePairs, read_faces, read_pairs

from helpers.faces import face


def slow_templates(features, faces):
    """As the papers tell it: image by image, medium by medium, template by template."""
    pooled = []
    for template in range(len(faces.template_ids)):
        media = {}
        for row in np.flatnonzero(faces.templates == template):
            media.setdefault(faces.media[row], []).append(features[row].astype(float) * faces.scores[row])
        total = sum(np.mean(frames, axis=0) for frames in media.values())
        norm = np.sqrt((total**2).sum())
        pooled.append(total / norm if norm else total)
    return np.array(pooled)


def random_faces(seed, num_images, num_templates=9, num_media=4):
    """Templates and media in no order; the last template has one image."""
    random = np.random.RandomState(seed)
    templates = np.append(np.arange(num_templates), random.randint(0, num_templates - 1, num_images - num_templates))
    random.shuffle(templates)
    paths = [f"{number}.jpg" for number in range(num_images)]
    scores = random.rand(num_images).astype(np.float32)
    media = random.randint(0, num_media, num_images)
    return FaceList(paths, np.zeros((num_images, 5, 2)), scores, 10 * np.arange(num_templates), templates, media)


@pytest.mark.parametrize("num_images, at_once", [(60, 4096), (60, 7), (9, 2)])
def test_templates_equal_the_slow_protocol(monkeypatch, num_images, at_once):
    monkeypatch.setattr(ijb, "_ROWS_AT_ONCE", at_once)
    faces = random_faces(0, num_images)
    features = np.random.RandomState(1).randn(num_images, 6).astype(np.float32)
    pooled = pool_templates(features, faces)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, slow_templates(features, faces), atol=1e-6)
    added = slow_templates(features[:, :3] + features[:, 3:], faces)
    np.testing.assert_allclose(pool_templates(features, faces, halves=True), added, atol=1e-6)


def test_halves_are_normalized_before_they_are_added():
    faces, features = random_faces(2, 60), np.random.RandomState(3).randn(60, 6).astype(np.float32)
    features[:, 3:] *= 5
    features[7, :3] = 0
    both = [half / np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-9) for half in np.split(features, 2, 1)]
    pooled = pool_templates(features, faces, halves=True, unit=True)
    np.testing.assert_allclose(pooled, slow_templates(sum(both), faces), atol=1e-6)
    assert np.abs(pooled - pool_templates(features, faces, halves=True)).max() > 0.1


def test_one_video_weighs_as_much_as_one_image():
    """Three frames of a video at (1, 0) and a still image at (0, 1): 45 degrees. A face of score 0 counts as none."""
    media = np.array([7, 7, 7, 8, 9])
    faces = FaceList(["x"] * 5, None, np.float32([1, 1, 1, 1, 0]), np.array([4]), np.zeros(5, int), media)
    features = np.float32([[1, 0], [1, 0], [1, 0], [0, 1], [-9, 0]])
    np.testing.assert_allclose(pool_templates(features, faces), [[0.5**0.5, 0.5**0.5]], rtol=1e-6)
    assert pool_templates(0 * features, faces).tolist() == [[0, 0]]


def test_bad_features():
    faces = random_faces(0, 20)
    features = np.ones((20, 3))
    with pytest.raises(InputError, match="3 numbers"):
        pool_templates(features, faces, halves=True)
    for bad in (math.nan, math.inf):
        features[13, 2] = bad
        with pytest.raises(InputError, match="13.jpg: its embedding is not finite"):
            pool_templates(features, faces)


def test_cosines_and_figures():
    """More pairs than are compared at once, in both orders, some of a template with itself."""
    templates = np.float32([[1, 0], [0.6, 0.8], [0, 1], [0, 0]])
    random = np.random.RandomState(0)
    first, second = random.randint(0, 4, (2, 9000)).astype(np.int32)
    issame = random.rand(9000) < 0.3
    pairs = TemplatePairs(first, second, issame)
    cosines = compare_templates(templates, pairs)
    np.testing.assert_allclose(cosines, [templates[i] @ templates[j] for i, j in zip(first, second)], atol=1e-7)
    result = ijb_result(cosines, pairs, "IJBB", "model")
    assert result[:3] == ("ijb", "IJBB", "model")
    assert result.figures["pairs"] == {"same": issame.sum(), "different": (~issame).sum()}
    assert list(result.figures["tar"]) == ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]
    assert [value is None for value in result.figures["tar"].values()] == [True] * 3 + [False] * 3
    # A tenth of the impostors lies among those of cosine 1: none of these is accepted, nor any genuine pair.
    assert result.figures["tar"]["1e-1"] == 0 and np.mean(cosines[~issame] >= 1) > 0.1
    ends = result.figures["tar_interval"]
    assert list(ends) == list(result.figures["tar"]) and ends["1e-6"] == {"low": None, "high": None}
    assert ends["1e-1"]["low"] == 0 < ends["1e-1"]["high"] < 0.01
    assert result.figures["auc"] == pytest.approx(0.5, abs=0.05)
    assert result.histograms[""].same.sum() == issame.sum()


@pytest.mark.parametrize("num_impostor, far", [(20, 1e-1), (150, 1e-2), (15000, 1e-4)])
def test_templates_are_judged_at_the_lowest_far_from_1e_4_on(num_impostor, far):
    random = np.random.RandomState(0)
    issame = np.arange(num_impostor + 100) < 100
    cosines = np.clip(0.2 * random.randn(len(issame)) + 0.5 * issame, -1, 1).astype(np.float32)
    none = np.zeros(len(issame), np.int32)
    verdicts = judge_templates(cosines, TemplatePairs(none, none, issame))
    allowed = [each for each in np.unique(cosines) if np.mean(cosines[~issame] >= each) <= far]
    assert verdicts.thresholds.tolist() == [min(allowed)] * len(issame) and not verdicts.folds.any()
    assert verdicts.threshold == min(allowed) and verdicts.accepts_equal
    for same, score, wrong in zip(issame, cosines, verdicts.wrong):
        assert wrong == (score < min(allowed) if same else score >= min(allowed))
    few = TemplatePairs(none[:109], none[:109], issame[:109])
    with pytest.raises(InputError, match="no threshold: FAR 1e-1 needs 10 impostor pairs, there are 9"):
        judge_templates(cosines[:109], few)
    with pytest.raises(InputError, match="no threshold: pairs of different people score best"):
        judge_templates(np.where(issame, 0, 1), TemplatePairs(none, none, issame))


def test_a_template_is_shown_by_its_best_image():
    faces = random_faces(4, 60)
    faces.scores[:] = np.round(faces.scores, 1)
    for template, row in enumerate(best_faces(faces)):
        own = [each for each in range(60) if faces.templates[each] == template]
        assert row == max(own, key=lambda each: (faces.scores[each], -each))


def write_lists(folder, faces, pairs="1 1 1\n", points=None):
    """`meta` of IJB-C: `faces` are (name, template, medium)."""
    (folder / "meta").mkdir(exist_ok=True)
    (folder / "loose_crop").mkdir(exist_ok=True)
    points = TEMPLATE if points is None else points
    numbers = " ".join(f"{number:.3f}" for number in points.ravel())
    lists = {
        "face_tid_mid": "".join(f"{name} {template} {medium}\n" for name, template, medium in faces),
        "name_5pts_score": "".join(f"{name} {numbers} 0.9{number}\n" for number, (name, *_) in enumerate(faces)),
        "template_pair_label": pairs,
    }
    for name, text in lists.items():
        (folder / "meta" / f"ijbc_{name}.txt").write_text(text)
    return folder


FACES = [("1.jpg", 300, 5), ("2.jpg", 1, 5), ("3.jpg", 300, 6)]


def test_lists(tmp_path):
    folder = write_lists(tmp_path, FACES, "1 300 0\n300 300 1\n1 1 1\n\n")
    faces = read_faces(str(folder), "IJBC")
    assert faces.names == ["1.jpg", "2.jpg", "3.jpg"]
    assert faces.template_ids.tolist() == [1, 300] and faces.templates.tolist() == [1, 0, 1]
    assert faces.media.tolist() == [5, 5, 6] and faces.scores.tolist() == np.float32([0.90, 0.91, 0.92]).tolist()
    np.testing.assert_allclose(faces.landmarks, [TEMPLATE] * 3, atol=6e-4)
    pairs = read_pairs(str(folder), "IJBC", faces.template_ids)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0, 1, 0], [1, 1, 0])
    assert pairs.issame.tolist() == [False, True, True] and pairs.first.dtype == np.int32


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("face_tid_mid", "1.jpg 1\n", r"ijbc_face_tid_mid.txt, line 1: expected the name of an image and 2 numbers"),
        ("face_tid_mid", "1.jpg 1 1.5\n", "line 1: expected"),
        ("face_tid_mid", "", "is empty"),
        ("face_tid_mid", "1.jpg 300 5\n2.jpg 1 5\n", "5pts_score.txt and .*tid_mid.txt differ: both must list"),
        ("face_tid_mid", "1.jpg 300 5\n3.jpg 1 5\n2.jpg 1 5\n", "score.txt, line 2, and line 2 of"),
        ("name_5pts_score", "1.jpg" + " 7" * 10 + "\n", "line 1: expected the name of an image and 11 numbers"),
        ("name_5pts_score", "1.jpg" + " nan" * 11 + "\n", "line 1: expected"),
        (
            "name_5pts_score",
            "".join(f"{n}.jpg" + " 7" * 11 + "\n" for n in (1, 2, 3)),
            "line 1: its five points are equal",
        ),
        ("template_pair_label", "1 300 0\n1 2 1\n", "line 2: one of its templates has no images"),
        ("template_pair_label", "1 300 0\n1 300 2\n", "line 2: the third number is not 1 or 0"),
        ("template_pair_label", "1 300\n", "line 1: expected the numbers of two templates"),
        ("template_pair_label", "1 300 0\n1 300\n", "line 2: expected .* found '1 300'"),
        ("template_pair_label", "1 300 0\n1 x 0\n", "line 2: expected .*'1 x 0'"),
        ("template_pair_label", "1 300 0\n\n1 3_0 0\n", "line 3: expected"),
        ("template_pair_label", "1 300 0\n1 300 1e3\n", "line 2: expected"),
        ("template_pair_label", "1 300 0\n1 300 ١\n", "line 2: expected"),
        ("template_pair_label", f"1 300 0\n1 {2**64 + 300} 1\n", "line 2: expected"),
        ("template_pair_label", "1 300 0\n1 300 0 1\n300 1\n", "line 2: expected"),
        ("template_pair_label", "\n", "has no pairs"),
    ],
)
def test_bad_lists_are_named(tmp_path, name, text, message):
    folder = write_lists(tmp_path, FACES)
    (folder / "meta" / f"ijbc_{name}.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        faces = read_faces(str(folder), "IJBC")
        read_pairs(str(folder), "IJBC", faces.template_ids)


def test_missing_lists(tmp_path):
    with pytest.raises(InputError, match="ijbb_face_tid_mid.txt: cannot be read: No such file"):
        read_faces(str(write_lists(tmp_path, FACES)), "IJBB")


def test_images_are_aligned_and_rgb(tmp_path):
    """Loose crops of several sizes, with the landmarks of one place."""
    points = 2 * TEMPLATE + 20
    folder = write_lists(tmp_path, FACES, points=points)
    crops = [face(number, 0, 260 + number) for number in range(3)]
    for number, crop in enumerate(crops, start=1):
        content = cv2.imencode(".png", crop[..., ::-1])[1].tobytes()
        (folder / "loose_crop" / f"{number}.jpg").write_bytes(content)
    source = AlignedFaces(read_faces(str(folder), "IJBC"), str(folder), 56)
    assert source.lines == ["1.jpg", "2.jpg", "3.jpg"] and source.size == (56, 56)
    for row, crop in enumerate(crops):
        image = source.read(row)
        assert image.flags.c_contiguous and image.tolist() == align_face(crop, points, 56).tolist()
    states = list(source.states())
    moved = AlignedFaces(read_faces(str(write_lists(tmp_path, FACES, points=points + 1)), "IJBC"), str(folder), 56)
    assert not set(states) & set(moved.states())
    (folder / "loose_crop" / "2.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="2.jpg: 8 bytes that are not an image"):
        source.read(1)
    (folder / "loose_crop" / "2.jpg").unlink()
    with pytest.raises(InputError, match="2.jpg: cannot be read: No such file"):
        source.read(1)
