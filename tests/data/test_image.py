import cv2
import numpy as np
import pytest

from partial_fc.data.image import decode_image, encode_jpeg


def red_left_blue_right(height=20, width=32):
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    rgb[:, :width // 2, 0] = 250
    rgb[:, width // 2:, 2] = 250
    return rgb


def test_jpeg_round_trip_keeps_channels_and_orientation():
    rgb = red_left_blue_right()
    decoded = decode_image(encode_jpeg(rgb, 95), (20, 32))
    assert decoded.dtype == np.uint8 and decoded.shape == (20, 32, 3)
    assert np.abs(decoded.astype(int) - rgb).mean() < 8


def test_png_is_exact_and_grey_and_16_bits_become_8_bit_rgb():
    rgb = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).astype(np.uint8)
    png = cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_image(png, (5, 7)), rgb)
    grey = cv2.imencode(".png", rgb[:, :, 0])[1].tobytes()
    np.testing.assert_array_equal(decode_image(grey, (5, 7)), np.repeat(rgb[:, :, :1], 3, axis=2))
    deep = cv2.imencode(".png", rgb[:, :, ::-1].astype(np.uint16) * 256)[1].tobytes()
    np.testing.assert_array_equal(decode_image(deep, (5, 7)), rgb)


def test_quality_is_used():
    rgb = np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8)
    assert len(encode_jpeg(rgb, 30)) < len(encode_jpeg(rgb, 95)) == len(encode_jpeg(rgb))


def test_another_size_is_an_error_with_name_and_sizes():
    with pytest.raises(ValueError, match="pairs.bin: image 3: 20x32 .* 32x20"):
        decode_image(encode_jpeg(red_left_blue_right()), (32, 20), "pairs.bin: image 3")


@pytest.mark.parametrize("buffer", [b"", b"not an image", b"\xff\xd8\xff"])
def test_undecodable_bytes_are_an_error_with_name(buffer):
    with pytest.raises(ValueError, match="record 7"):
        decode_image(buffer, (20, 32), "record 7")


@pytest.mark.parametrize("rgb, quality", [
    (np.zeros((4, 4, 3)), 95), (np.zeros((4, 4), np.uint8), 95), (np.zeros((4, 4, 4), np.uint8), 95),
    (np.zeros((0, 4, 3), np.uint8), 95), (np.zeros((4, 4, 3), np.uint8), 0),
    (np.zeros((4, 4, 3), np.uint8), 101)])
def test_unfit_arrays_and_qualities_are_refused(rgb, quality):
    with pytest.raises(ValueError):
        encode_jpeg(rgb, quality)
