"""Encoded images (JPEG, PNG and others) to arrays of RGB and back."""

from typing import NamedTuple, Sequence, Tuple

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

COLOR, GRAY, CMYK, DEEP = "color", "gray", "CMYK", "16-bit"
_PNG_BITS = 24
_JPEG_COLORS = {"Gray": GRAY, "CMYK": CMYK, "YCCK": CMYK}
_OTHER_COLORS = {"1": GRAY, "L": GRAY, "LA": GRAY, "CMYK": CMYK, "I": DEEP, "F": DEEP}


class ImageKind(NamedTuple):
    """What the header of an encoded image says.

    Attributes:
        format: JPEG, PNG, ...
        color: COLOR, GRAY, CMYK or DEEP (16 bits and more).
        size: (height, width) in pixels.
    """

    format: str
    color: str
    size: Tuple[int, int]


def image_kind(content: bytes) -> ImageKind:
    """ImageKind of an encoded image; only the header is read.

    Raises:
        ValueError: it is not an image, or has too many pixels.
    """
    if content[:3] == JPEG_START:  # PIL takes as long to read the header as libjpeg-turbo to decode the image
        height, width, colors, _ = jpeg_header(content)
        return ImageKind("JPEG", _JPEG_COLORS.get(colors, COLOR), (height, width))
    header = image_header(content)
    width, height = header.size
    color = DEEP if header.mode.startswith("I;16") else _OTHER_COLORS.get(header.mode, COLOR)
    if content.startswith(PNG_START) and content[_PNG_BITS] == 16:  # PIL reports this for gray images only
        color = DEEP
    return ImageKind(header.format or "", color, (height, width))


def decode_image(content: bytes, size: Sequence[int], name: str = "image") -> np.ndarray:
    """Decode an image of known size.

    Args:
        content: the encoded image.
        size: (height, width) in pixels.
        name: of the image, for error messages.

    Returns:
        uint8 RGB (height, width, 3).

    Raises:
        InputError: the image cannot be decoded, or has another size. It is not resized, which would hide that faces
            were not aligned for this network.
    """
    try:
        check_pixels(*size)
        out = image_memory(*size, 3)
        decode_into(out, content)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return out


def decode_into(out: np.ndarray, content: bytes) -> None:
    """Decode an image of the size of `out`; a damaged one does not take more memory.

    Pixels equal those of OpenCV bit for bit. JPEGs are decoded by libjpeg-turbo itself, which is faster and, unlike
    OpenCV, reports damage instead of filling the rest of the image with gray.

    Args:
        out: uint8 (height, width, 3), contiguous, best made by `image_memory`; it receives RGB.
        content: the encoded image.

    Raises:
        ValueError: the image cannot be decoded, or has another size than `out`.
    """
    if content[:3] == JPEG_START:
        _decode_jpeg(out, content)
    else:
        _check_turned(image_header(content).size[::-1], out)
        _decode_other(out, content)


def encode_jpeg(rgb: np.ndarray, quality: int = 95) -> bytes:
    """Encode pixels as JPEG.

    Args:
        rgb: uint8 (height, width, 3).
        quality: from 1 to 100.

    Raises:
        InputError: other pixels or another quality.
    """
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
        shape = list(decode_jpeg(content, "RGB", out).shape)
    except ValueError:
        # larger than `out`, CMYK, or damaged
        height, width, colors, _ = jpeg_header(content)
        _check_turned((height, width), out)
        if colors not in FOR_PRINTING:
            raise
        decode_jpeg(content, "CMYK")  # raises where it is damaged
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
    """As `_check_size`, for an image that may have to be rotated by 90 degrees."""
    if sorted(shape) != sorted(out.shape[:2]):
        _check_size(shape, out)


def _check_size(shape, out):
    height, width = out.shape[:2]
    if tuple(shape[:2]) != (height, width):
        raise ValueError(f"{shape[0]}x{shape[1]} pixels (height x width), expected {height}x{width}")
