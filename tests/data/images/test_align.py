import cv2
import numpy as np
import pytest

from partial_fc.data.images.align import TEMPLATE, Landmarks, align_face, similarity_transform
from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.tools.pack import pack
from partial_fc.errors import InputError

from helpers.faces import face

POINTS = np.array([[30.0, 40], [61, 47], [44, 60], [28, 75], [52, 80]])
LINE = "a/1.jpg 1 2 3 4 5 6 7 8 9 10"


@pytest.mark.parametrize("size", [112, 96])
def test_least_squares(size):
    """The four numbers of x' = a x - b y + c, y' = b x + a y + d, by another way."""
    random = np.random.RandomState(0)
    for points in (POINTS, 100 * random.randn(5, 2), POINTS[:, ::-1]):
        x, y = points.T
        zeros, ones = np.zeros(5), np.ones(5)
        system = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
        a, b, c, d = np.linalg.lstsq(system, (TEMPLATE * size / 112).T.ravel(), rcond=None)[0]
        np.testing.assert_allclose(similarity_transform(points, size), [[a, -b, c], [b, a, d]], rtol=1e-9, atol=1e-9)


def test_exact_points():
    angle, scale, shift = 0.7, 3.1, [12.0, -5.0]
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity_transform(TEMPLATE @ turn.T + shift, 112)
    assert matrix.shape == (2, 3) and matrix.dtype == np.float64
    np.testing.assert_allclose(matrix[:, :2] @ turn, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(matrix @ [*shift, 1], [0, 0], atol=1e-9)


def test_points_come_to_their_places():
    """Spots at the points of a turned and enlarged face lie at the template's afterwards."""
    points = (TEMPLATE - 56) @ [[2.0, 1.0], [-1.0, 2.0]] + 200
    image = np.zeros((400, 400, 3), np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 5, (0, 200, 255), -1)
    aligned = align_face(image, points, 56)
    assert aligned.shape == (56, 56, 3) and aligned.dtype == np.uint8
    for x, y in TEMPLATE / 2:
        assert aligned[round(y), round(x)].tolist() == [0, 200, 255]
    assert np.count_nonzero(aligned[..., 2]) < 5 * 16


def test_border_is_black():
    aligned = align_face(np.full((50, 50, 3), 255, np.uint8), TEMPLATE, 112)
    assert aligned[:49, :49].min() == 255 and aligned[51:].max() == 0 and aligned[:, 51:].max() == 0


def landmarks(tmp_path, text):
    (tmp_path / "points.txt").write_text(text)
    return Landmarks(str(tmp_path / "points.txt"))


def test_forms_of_lines(tmp_path):
    numbers = [f"{number}.5" for number in range(10)]
    found = landmarks(
        tmp_path,
        "\n".join(
            [
                "\t".join(["with a space, and a comma/1.jpg", *numbers]),
                ",".join(["with a space/1.jpg", *numbers]),
                "",
                "  ".join(["./plain/1.jpg", *numbers]),
                ", ".join(["plain/2.jpg", *numbers]),
            ]
        ),
    )
    for image in ("with a space, and a comma/1.jpg", "with a space/1.jpg", "plain/1.jpg", "plain/2.jpg"):
        assert found.of(image).tolist() == (np.arange(10).reshape(5, 2) + 0.5).tolist()


@pytest.mark.parametrize(
    "line",
    [
        LINE + " 11",
        LINE[:-3],
        LINE.replace("5", "five"),
        LINE.replace("5", "nan"),
        "1 2 3 4 5 6 7 8 9 10",
        "\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10",
    ],
)
def test_bad_lines_are_named(tmp_path, line):
    with pytest.raises(InputError, match=r"points\.txt, line 3: expected the path of an image and 10 numbers"):
        landmarks(tmp_path, f"{LINE}\n\n{line}\n")


def test_path_may_be_spelled_in_another_way(tmp_path):
    found = landmarks(tmp_path, LINE)
    assert "./a//1.jpg" in found and (found.of("b/../a/1.jpg") == found.of("a/1.jpg")).all()
    assert "a/2.jpg" not in found


def test_other_wrong_files(tmp_path):
    with pytest.raises(InputError, match=r"points\.txt, line 2: \./a/1\.jpg has a line already"):
        landmarks(tmp_path, f"{LINE}\n./{LINE}\n")
    with pytest.raises(InputError, match="--landmarks .*nowhere: cannot be read: No such file"):
        Landmarks(str(tmp_path / "nowhere"))


def test_pack_aligns(tmp_path):
    """Every image is warped, even one of the right size; those without usable points are skipped."""
    (tmp_path / "faces" / "Ann B").mkdir(parents=True)
    for name in ("1", "2", "3"):
        (tmp_path / "faces" / "Ann B" / f"{name}.jpg").write_bytes(encode_jpeg(face(1, 1, 112)))
    lines = [["Ann B/1.jpg", *POINTS.ravel()], ["Ann B/3.jpg", *[7] * 10]]
    landmarks(tmp_path, "".join("\t".join(map(str, line)) + "\n" for line in lines))
    packed = pack(str(tmp_path / "faces"), str(tmp_path / "out"), landmarks=str(tmp_path / "points.txt"))
    assert [path for path, _ in packed.skipped] == ["Ann B/2.jpg", "Ann B/3.jpg"]
    assert "has no line for it" in packed.skipped[0][1] and "are all the same" in packed.skipped[1][1]
    original = decode_image(encode_jpeg(face(1, 1, 112)), (112, 112))
    stored = RecordFile(str(tmp_path / "out" / "train.rec")).read(1)[0]
    assert stored == encode_jpeg(align_face(original, POINTS, 112))
