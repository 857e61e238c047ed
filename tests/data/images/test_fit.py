import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg

from partial_fc.data.images import fit
from partial_fc.data.images.decoding import decode_image, encode_jpeg
from partial_fc.data.images.fit import decode_any, fit_image
from partial_fc.errors import InputError

from helpers.faces import face


def encode(ending, pixels):
    done, encoded = cv2.imencode(ending, pixels)
    assert done
    return encoded.tobytes()


def test_jpeg_of_the_size_stays_as_it_is():
    content = encode(".jpg", face(1, 1)[..., 0]) + b"trailing bytes"
    assert fit_image(content, 32) is content
    assert fit_image(encode(".png", face(1, 1)), 32).startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize("ending, tolerance", [(".png", 6), (".bmp", 6), (".jpg", 12)])
@pytest.mark.parametrize("size", [16, 48])
def test_other_images_are_fitted(ending, tolerance, size):
    """A smooth picture survives the change of size; its edges left and right, outside the square, do not."""
    ramp = np.tile(np.linspace(40, 200, 32)[:, None, None], (1, 44, 3)) * [1, 0.8, 0.5]
    ramp[:, :6], ramp[:, -6:] = 255, 0
    image = decode_image(fit_image(encode(ending, ramp.astype(np.uint8)[..., ::-1]), size), (size, size)).astype(int)
    rows = (np.arange(size) + 0.5) / size * 32 - 0.5
    expected = (40 + rows * 160 / 31)[:, None, None] * np.array([1, 0.8, 0.5])
    assert np.abs(image - expected)[2:-2, 2:-2].max() < tolerance


def test_shrinking_averages():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 200
    image = decode_image(fit_image(encode(".png", stripes), 16), (16, 16))
    assert np.abs(image.astype(int) - 50).max() <= 3


FLAT = np.full((32, 32, 3), [30, 90, 200], np.uint8)  # blue, green, red


@pytest.mark.parametrize(
    "pixels, expected",
    [
        (FLAT[..., 0], [30, 30, 30]),
        (np.dstack([FLAT, FLAT[..., 0]]), [200, 90, 30]),
        (FLAT.astype(np.uint16) * 257, [200, 90, 30]),
    ],
    ids=["gray", "alpha", "16 bit"],
)
def test_other_kinds_of_pixels(pixels, expected):
    image = decode_image(fit_image(encode(".png", pixels), 32), (32, 32)).astype(int)
    assert np.abs(image - expected).max() <= 3


def test_pixels_are_those_of_opencv():
    for content in (encode(".jpg", face(1, 1, 61)), encode(".jpg", face(1, 1)[..., 0]), encode(".png", face(1, 2))):
        assert np.array_equal(decode_any(content), cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))


def turned(content, orientation):
    """A JPEG with a note on its orientation."""
    note = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 1, orientation, 0)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(note)) + note + content[2:]


def test_images_are_turned_upright():
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:8] = 250  # above; a camera held otherwise means the right side
    content = turned(encode_jpeg(pixels), 6)
    image = decode_image(fit_image(content, 32), (32, 32))
    assert image[:, 26:].min() > 200 and image[:, :22].max() < 50
    assert b"Exif" not in fit_image(content, 32)
    upright = turned(encode_jpeg(pixels), 1)
    assert fit_image(upright, 32) is upright


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_truncated_jpegs_are_refused(cut):
    for content in (encode_jpeg(face(1, 1)), turned(encode_jpeg(face(1, 1)), 6)):
        with pytest.raises(InputError, match="damaged JPEG"):
            fit_image(content[: int(cut * len(content))], 32)


def test_colors_for_printing():
    content = simplejpeg.encode_jpeg(np.full((32, 32, 4), 128, np.uint8), colorspace="CMYK", colorsubsampling="444")
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_any(content), expected)
    assert fit_image(content, 16).startswith(b"\xff\xd8\xff")
    with pytest.raises(InputError, match="damaged JPEG"):
        decode_any(content[: len(content) // 2])


def test_what_pil_does_not_know_is_not_decoded():
    """Nobody has looked at the size that its header announces."""
    with pytest.raises(InputError, match="bytes that are not an image"):
        decode_any(encode(".hdr", face(1, 1).astype(np.float32)))


def test_large_images_are_not_decoded(monkeypatch):
    """Headers that announce more than there is memory for."""
    monkeypatch.setattr(fit, "decode_by_opencv", None)
    monkeypatch.setattr(fit, "decode_jpeg", None)
    png = bytearray(encode(".png", face(1, 1)))
    jpeg = bytearray(encode_jpeg(face(1, 1)))
    size = jpeg.index(b"\xff\xc0") + 5
    for side in (11600, 30000):
        png[16:24] = struct.pack(">II", side, side)
        png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
        jpeg[size : size + 4] = struct.pack(">HH", side, side)
        for content in (png, jpeg):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with pytest.raises(InputError, match=r"too large: .*(more than|limit of) 1\d{8}"):
                    fit_image(bytes(content), 32)
