"""The synthetic faces: a function of their arguments; an identity that images share and raw pixels hide."""

import numpy as np
import pytest

from partial_fc.data.demo import faces as synthetic_faces
from partial_fc.data.demo.faces import render_face

MEAN_COLORS = ((118.4, 107.1, 110.8), (94.1, 100.2, 89.7), (143.4, 101.6, 99.2), (145.4, 118.3, 79.2))


def block_means(image, blocks=4):
    """Mean color of each cell of a grid, (blocks, blocks, 3): what survives another OpenCV build."""
    cell = len(image) // blocks
    return image[: cell * blocks, : cell * blocks].reshape(blocks, cell, blocks, cell, 3).mean((1, 3))


@pytest.fixture
def portraits(monkeypatch):
    """Frontal pictures of the attributes alone, int, (identities, images, 48, 48, 3)."""
    ranges = dict.fromkeys(synthetic_faces._NUISANCE, (0, 0))
    ranges.update(dict.fromkeys(("eye_open", "gain", "gamma", "red", "blue"), (1, 1)), scale=(0.7, 0.7))
    monkeypatch.setattr(synthetic_faces, "_NUISANCE", ranges)
    monkeypatch.setattr(synthetic_faces, "_add_background", fill_with_gray)
    faces = [[render_face(5, identity, image, 48) for image in range(2)] for identity in range(20)]
    return np.array(faces, int)


def fill_with_gray(sketch, stream):
    sketch.fill(np.array([-9, 9, 9, -9]), np.array([-9, -9, 9, 9]), (128, 128, 128), 0)


def test_same_arguments_give_same_bytes_in_any_order():
    first = render_face(1, 2, 3, 48)
    render_face(1, 2, 4, 48)
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    assert np.array_equal(render_face(1, 2, 3, 48), first)
    assert np.array_equal(np.random.get_state()[1], state)


def test_numpy_integers_are_integers():
    plain = render_face(1, 2, 3, 48)
    assert np.array_equal(render_face(np.int64(1), np.uint64(2), np.int32(3), np.int64(48)), plain)


@pytest.mark.parametrize("size", [16, 48, 50, 112])
def test_shape_and_dtype(size):
    image = render_face(0, 0, 0, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("step", [1, 2**32])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_argument_matters(place, step):
    other = [1, 2, 3]
    other[place] += step
    difference = block_means(render_face(1, 2, 3, 48)) - block_means(render_face(*other, 48))
    assert np.abs(difference).max() > 10


def test_a_size_shows_the_same_picture():
    for image in range(8):
        small, large = render_face(1, 2, image, 48), render_face(1, 2, image, 96)
        assert np.abs(block_means(small) - block_means(large)).mean() < 2.5


def test_pictures_are_those_of_earlier_versions():
    means = [render_face(1, identity, 3, 48).mean((0, 1)) for identity in range(4)]
    np.testing.assert_allclose(means, MEAN_COLORS, atol=1.5)


def test_images_of_one_identity_share_its_attributes(portraits):
    assert np.array_equal(portraits[:, 0], portraits[:, 1])


def test_identities_have_different_attributes(portraits):
    faces = portraits[:, 0].reshape(len(portraits), -1)
    difference = np.abs(faces[:, None] - faces[None]).mean(2)  # (identities, identities)
    assert difference[~np.eye(len(faces), dtype=bool)].min() > 6


def test_attributes_are_left_right_symmetric(portraits):
    assert np.abs(portraits - portraits[:, :, :, ::-1]).mean((1, 2, 3, 4)).max() < 1


def test_raw_pixels_hide_identity():
    faces = np.array([[render_face(3, identity, image, 32) for image in range(4)] for identity in range(80)])
    pixels = (faces.reshape(80, 4, -1) - 127.5) / 128
    pixels /= np.linalg.norm(pixels, axis=2, keepdims=True)
    same = (pixels[:, ::2] * pixels[:, 1::2]).sum(2).ravel()  # images 0 and 1, 2 and 3 of each identity
    different = (pixels[:, ::2] * np.roll(pixels[:, 1::2], 1, axis=0)).sum(2).ravel()
    levels = np.append(same, different)
    accuracy = max((same > level).mean() + (different <= level).mean() for level in levels) / 2
    assert 0.52 < accuracy < 0.72


@pytest.mark.parametrize("value", [-1, 2**64, 1.0, True, "1", None])
@pytest.mark.parametrize("name", ["seed", "identity", "image"])
def test_bad_number_is_named(name, value):
    arguments = {"seed": 0, "identity": 0, "image": 0, "size": 48, name: value}
    with pytest.raises(ValueError, match=name + " must be"):
        render_face(**arguments)


@pytest.mark.parametrize("size", [0, 15, -48, 48.0, True, None])
def test_bad_size_is_named(size):
    with pytest.raises(ValueError, match="size must be"):
        render_face(0, 0, 0, size)
