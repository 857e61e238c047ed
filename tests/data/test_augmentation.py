import cv2
import numpy as np
import pytest

from partial_fc.data.augmentation import Augmentation
from partial_fc.data.images.decoding import decode_image, encode_jpeg

from helpers.faces import face

SIZE = 32
NONE = Augmentation(flip=False)
EACH = [
    NONE._replace(flip=True),
    NONE._replace(color_jitter=0.5),
    NONE._replace(low_resolution=1.0),
    NONE._replace(jpeg_compression=1.0),
    NONE._replace(cutout=8),
]
names = [[key for key, value in each._asdict().items() if value][0] for each in EACH]


def smooth():
    """An image in which every change is seen."""
    return cv2.GaussianBlur(face(0, 0, SIZE), (0, 0), 2)


def changed(augmentation, number, seed=0, epoch=0):
    image = smooth()
    augmentation.apply(image, augmentation.draw(seed, epoch, [number])[0])
    return image


def test_nothing_is_changed_where_nothing_is_wanted():
    assert all(np.array_equal(changed(NONE, number), smooth()) for number in range(20))


@pytest.mark.parametrize("augmentation", EACH, ids=names)
def test_a_function_of_seed_epoch_and_image(augmentation):
    def all_of(**arguments):
        return np.stack([changed(augmentation, number, **arguments) for number in range(16)])

    assert np.array_equal(all_of(), all_of())
    for other in (dict(seed=1), dict(epoch=1)):
        assert not np.array_equal(all_of(), all_of(**other))
    assert any(not np.array_equal(image, all_of()[0]) for image in all_of())
    alone = augmentation.draw(0, 0, [7])[0]
    assert augmentation.draw(0, 0, [3, 7, 1])[1] == alone


@pytest.mark.parametrize("augmentation", EACH, ids=names)
def test_another_change_leaves_this_one_as_it_is(augmentation):
    both = augmentation._replace(flip=True, color_jitter=1e-9)
    numbers = both.draw(0, 0, np.arange(20))
    assert np.array_equal(numbers, augmentation.draw(0, 0, np.arange(20)))


def test_flip():
    flipped = [np.array_equal(changed(EACH[0], number), smooth()[:, ::-1]) for number in range(400)]
    kept = [np.array_equal(changed(EACH[0], number), smooth()) for number in range(400)]
    assert all(a != b for a, b in zip(flipped, kept)) and 160 < sum(flipped) < 240


@pytest.mark.parametrize(
    "numbers", [(1.0, 0.5, 0.5), (0.5, 1.0, 0.5), (0.5, 0.5, 1.0), (0.9, 0.0, 0.3), (0.0, 1.0, 1.0)]
)
def test_colors(numbers):
    image, expected = smooth(), smooth().astype(float)
    Augmentation(flip=False, color_jitter=0.2).apply(image, np.array([1, *numbers] + [1] * 7))
    brightness, contrast, saturation = 0.8 + 0.4 * np.array(numbers)
    weights = [0.299, 0.587, 0.114]
    expected *= brightness
    expected = contrast * expected + (1 - contrast) * (expected @ weights).mean()
    expected = saturation * expected + (1 - saturation) * (expected @ weights)[..., None]
    assert np.abs(image - np.clip(expected, 0, 255)).max() <= 0.51


def test_low_resolution_loses_detail():
    image, original = face(0, 1, SIZE), face(0, 1, SIZE)
    NONE._replace(low_resolution=0.5).apply(image, np.array([1, 0, 0, 0, 0.4, 0.0] + [1.0] * 5))
    small = cv2.resize(original, (SIZE // 4, SIZE // 4), interpolation=cv2.INTER_AREA)
    assert np.array_equal(image, cv2.resize(small, (SIZE, SIZE)))
    NONE._replace(low_resolution=0.5).apply(original, np.array([1, 0, 0, 0, 0.6, 0.0] + [1.0] * 5))
    assert np.array_equal(original, face(0, 1, SIZE))


@pytest.mark.parametrize("number, quality", [(0.0, 2), (0.999, 20)])
def test_jpeg_compression(number, quality):
    image = smooth()
    NONE._replace(jpeg_compression=0.5).apply(image, np.array([1.0] * 6 + [0.4, number] + [1.0] * 3))
    expected = decode_image(encode_jpeg(smooth(), quality), (SIZE, SIZE)).astype(int)
    assert np.abs(image - expected).mean() < 2 < np.abs(image.astype(int) - smooth()).mean()


@pytest.mark.parametrize(
    "y, x, rows, columns", [(0.5, 0.25, slice(12, 20), slice(4, 12)), (0.0, 0.999, slice(0, 4), slice(27, 32))]
)
def test_cutout(y, x, rows, columns):
    image, expected = smooth(), smooth()
    NONE._replace(cutout=8).apply(image, np.array([1.0] * 8 + [0.4, y, x]))
    expected[rows, columns] = 128
    assert np.array_equal(image, expected)
    image = smooth()
    NONE._replace(cutout=8).apply(image, np.array([1.0] * 8 + [0.6, y, x]))
    assert np.array_equal(image, smooth())
