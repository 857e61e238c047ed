"""Encoded images (JPEG, PNG and what else OpenCV reads) to arrays of RGB and back."""

from typing import NamedTuple, Tuple

import cv2
import numpy as np

from ...errors import InputError
from .decoders import (
    FOR_PRINTING,
    JPEG_START,
    PNG_START,
    check_pixels,
    decode_by_opencv,
    decode_jpeg,
    image_header,
    image_memory,
    is_upright,
    jpeg_header,
)

COLOR, GREY, CMYK, DEEP = "color", "grey", "CMYK", "16-bit"
_PNG_BITS = 24
_JPEG_COLORS = {"Gray": GREY, "CMYK": CMYK, "YCCK": CMYK}
_OTHER_COLORS = {"1": GREY, "L": GREY, "LA": GREY, "CMYK": CMYK, "I": DEEP, "F": DEEP}


class ImageKind(NamedTuple):
    """`format` (JPEG, PNG, ...); `color`: COLOR, GREY, CMYK or DEEP (16 bit and more); `size`: (height, width)."""

    format: str
    color: str
    size: Tuple[int, int]


def image_kind(content):
    """ImageKind of an encoded image (bytes), of which nothing is decoded.

    Raises:
        ValueError: it is not an image.
    """
    if content[:3] == JPEG_START:  # without PIL, which takes as long for the header as others for the pixels
        height, width, colors, _ = jpeg_header(content)
        return ImageKind("JPEG", _JPEG_COLORS.get(colors, COLOR), (height, width))
    header = image_header(content)
    width, height = header.size
    color = DEEP if header.mode.startswith("I;16") else _OTHER_COLORS.get(header.mode, COLOR)
    if content.startswith(PNG_START) and content[_PNG_BITS] == 16:  # which PIL reports for grey ones only
        color = DEEP
    return ImageKind(header.format, color, (height, width))


def decode_image(content, size, name="image"):
    """Decode an image of known size; returns uint8 RGB (height, width, 3).

    Args:
        content: bytes.
        size: (height, width).
        name: of the image, for the message.

    Raises:
        InputError: it cannot be decoded, or is of another size: a silent resize would hide that faces were not aligned
            for this network.
    """
    try:
        check_pixels(*size)
        out = image_memory(*size, 3)
        decode_into(out, content)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return out


def decode_into(out, content):
    """Decode an image, however damaged, without asking for more memory than the array it goes into.

    Pixels are those of OpenCV, bit for bit. JPEGs are decoded by libjpeg-turbo without a detour, which is faster and,
    unlike OpenCV, tells that a JPEG is damaged instead of filling it up with grey.

    Args:
        out: uint8 (height, width, 3), contiguous, best of `image_memory`; becomes RGB.
        content: bytes.

    Raises:
        ValueError: it cannot be decoded, or is of another size than `out`.
    """
    if content[:3] == JPEG_START:
        _decode_jpeg(out, content)
    else:
        _check_turned(image_header(content).size[::-1], out)
        _decode_other(out, content)


def encode_jpeg(rgb, quality=95):
    """JPEG bytes of uint8 RGB `(height, width, 3)`; `quality` from 1 to 100. Raises InputError otherwise."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise InputError(f"expected uint8 pixels (height, width, 3), got {rgb.dtype} {rgb.shape}")
    if not 1 <= quality <= 100:
        raise InputError(f"JPEG quality {quality} is not between 1 and 100")
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not done:
        raise InputError(f"OpenCV could not encode an image of shape {rgb.shape} as JPEG")
    return encoded.tobytes()


def _decode_jpeg(out, content):
    try:
        shape = decode_jpeg(content, "RGB", out).shape
    except ValueError:
        # too large for `out`, or colors for printing, or damaged
        *shape, colors, _ = jpeg_header(content)
        _check_turned(shape, out)
        if colors not in FOR_PRINTING:
            raise
        decode_jpeg(content, "CMYK")  # for its errors
        _decode_other(out, content)
        return
    if is_upright(content):
        _check_size(shape, out)
    else:
        _decode_other(out, content)


def _decode_other(out, content):
    bgr = decode_by_opencv(content)
    _check_size(bgr.shape, out)
    cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=out)


def _check_turned(shape, out):
    """As `_check_size`, for what may have to be turned by a quarter."""
    if sorted(shape) != sorted(out.shape[:2]):
        _check_size(shape, out)


def _check_size(shape, out):
    height, width = out.shape[:2]
    if tuple(shape[:2]) != (height, width):
        raise ValueError(f"{shape[0]}x{shape[1]} pixels (height x width), expected {height}x{width}")
