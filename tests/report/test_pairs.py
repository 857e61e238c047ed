import base64

import cv2
import numpy as np
import pytest

from partial_fc.errors import InputError
from partial_fc.eval.mistakes import Verdicts
from partial_fc.eval.mistakes import write_mistakes as write_judged
from partial_fc.report.pairs import Mistake, has_pairs, read_pairs

from helpers.report import scores_of, write_mistakes


def test_mistakes_and_scores_are_read(tmp_path):
    folder, wrong = write_mistakes(tmp_path, names=("a,b.jpg", 'c "d".jpg'))
    pairs, (issame, scores) = read_pairs(folder), scores_of(400)
    assert (pairs.issame == issame).all() and (pairs.scores == scores).all()
    assert len(pairs.mistakes) == len(wrong[False]) + len(wrong[True]) > 20
    first = pairs.mistakes[0]
    assert (first.left, first.right, first.threshold) == ("a,b.jpg", 'c "d".jpg', 0.4)
    assert all((each.score > 0.4) != each.same and each.fold == each.number // 40 for each in pairs.mistakes)


@pytest.mark.parametrize("accepts_equal", [True, False])
def test_pairs_at_the_threshold_are_judged_as_the_protocol_judges_them(tmp_path, accepts_equal):
    """Mistakes in the first fold alone do not make it a protocol without folds."""
    issame, scores = np.array([True, False, True, False]), np.array([0.4, 0.4, 0.1, 0.2])
    wrong = issame != (scores >= 0.4 if accepts_equal else scores > 0.4)
    thresholds = np.array([0.3, 0.3, 0.5, 0.5])
    judged = Verdicts(issame, scores, np.zeros(4, int), thresholds, wrong, 0.4, accepts_equal)
    write_judged(str(tmp_path), judged, lambda _: ("a", "b"), lambda _: [np.zeros((9, 9, 3), np.uint8)] * 2)
    pairs = read_pairs(str(tmp_path))
    assert (pairs.threshold, pairs.accepts_equal) == (0.4, accepts_equal)
    assert ((pairs.accepted() != pairs.issame) == wrong).all()


def test_worst_mistakes_come_first(tmp_path):
    folder, wrong = write_mistakes(tmp_path)
    pairs = read_pairs(folder)
    assert [each.score for each in pairs.worst(False, 3)] == wrong[False][::-1][:3].tolist()
    assert [each.score for each in pairs.worst(True, 3)] == wrong[True][:3].tolist()
    assert len(pairs.worst(True, 1000)) == len(wrong[True])


def test_an_unfinished_folder_has_no_scores_and_no_threshold(tmp_path):
    folder, _ = write_mistakes(tmp_path)
    (tmp_path / "scores.csv").unlink()
    (tmp_path / "threshold.json").unlink()
    pairs = read_pairs(folder)
    assert pairs.threshold is None and len(pairs.scores) == 0 and pairs.mistakes


@pytest.mark.parametrize(
    "content", ["[]", "3", "{", '{"threshold": 7, "accepts_equal": true}', '{"threshold": 0.3, "accepts_equal": 1}']
)
def test_a_damaged_threshold_is_named(tmp_path, content):
    folder, _ = write_mistakes(tmp_path)
    (tmp_path / "threshold.json").write_text(content)
    with pytest.raises(InputError, match=f"^{tmp_path}/threshold.json: not "):
        read_pairs(folder)


@pytest.mark.parametrize(
    "names, folder",
    [
        (("/d/faces/a/1.jpg", "/d/faces/b/1.jpg"), "/d/faces/"),
        (("/d/a/1.jpg", "/d/a/2.jpg"), "/d/a/"),
        (("a/1.jpg", "a/2.jpg"), ""),
        (("/a/1.jpg", "lfw: image 3"), ""),
        (("/a.jpg", "/b.jpg"), "/"),
    ],
)
def test_the_folder_of_all_images(tmp_path, names, folder):
    assert read_pairs(write_mistakes(tmp_path, names=names, pictures=False)[0]).folder == folder


def picture_of(folder, index, side="left"):
    return read_pairs(str(folder)).picture(Mistake(0, index, True, 0.1, 0.4, "", ""), side)


@pytest.mark.parametrize("shape, expected", [((112, 112), (112, 112)), ((300, 150), (112, 56)), ((20, 30), (20, 30))])
def test_pictures_are_small_jpegs(tmp_path, shape, expected):
    write_mistakes(tmp_path, pictures=False)
    cv2.imwrite(str(tmp_path / "00123-right.png"), np.full((*shape, 3), (10, 200, 30), np.uint8))
    start, _, encoded = picture_of(tmp_path, 123, "right").partition(",")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert start == "data:image/jpeg;base64" and decoded.shape[:2] == expected
    assert np.abs(decoded.astype(int) - (10, 200, 30)).max() < 6


@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"x" * 40])
def test_a_picture_that_cannot_be_read_is_missing(tmp_path, content):
    write_mistakes(tmp_path, pictures=False)
    if content is not None:
        (tmp_path / "00007-left.png").write_bytes(content)
    assert picture_of(tmp_path, 7) is None


@pytest.mark.parametrize(
    "name, line, message",
    [
        ("mistakes.csv", "0,1,1,0.2,0.4,a", "line 2: not enough values"),
        ("mistakes.csv", "0,x,1,0.2,0.4,a,b", "line 2: invalid literal"),
        ("mistakes.csv", "0,1,2,0.2,0.4,a,b", "line 2: same is '2'"),
        ("mistakes.csv", "0,1,1,7,0.4,a,b", "line 2: '7' is not a cosine"),
        ("mistakes.csv", "0,1,1,nan,0.4,a,b", "line 2: 'nan' is not a cosine"),
        ("scores.csv", "0,1", "line 2: not enough values"),
        ("scores.csv", "0,1,inf", "line 2: 'inf' is not a cosine"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, name, line, message):
    write_mistakes(tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text().splitlines()[0] + "\n" + line + "\n")
    with pytest.raises(InputError, match=message) as error:
        read_pairs(str(tmp_path))
    assert str(error.value).startswith(str(path))


def test_other_columns_are_an_error(tmp_path):
    (tmp_path / "mistakes.csv").write_text("left,right\n")
    assert has_pairs(str(tmp_path))
    with pytest.raises(InputError, match="line 1: expected the columns fold,index,same,score,threshold,left,right"):
        read_pairs(str(tmp_path))
