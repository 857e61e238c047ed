"""Images of any format and size to JPEGs of the size that a data set has."""

from typing import Optional

import cv2
import numpy as np

from ...errors import InputError
from ...files import read_file
from .align import align_face
from .decoders import (
    FOR_PRINTING,
    JPEG_START,
    decode_by_opencv,
    decode_jpeg,
    image_header,
    image_memory,
    is_upright,
    jpeg_header,
)
from .decoding import encode_jpeg

_LONGEST_FILE = 2**29  # bytes: the limit of a record


def read_image(path: str) -> bytes:
    """The encoded image in a file.

    Raises:
        InputError: the file is too large for a record; the message names it.
        OSError: it cannot be read; the error names it.
    """
    return read_file(path, _LONGEST_FILE)


def fit_image(content: bytes, size: int, points: Optional[np.ndarray] = None) -> bytes:
    """An image as a JPEG of size x size pixels.

    Without `points`, an upright JPEG of that size is returned unchanged, byte for byte; of other images the largest
    square in the middle is cropped and resized. With `points`, the face is aligned, see `align_face`. A changed image
    is encoded at quality 95.

    Args:
        content: the encoded image.
        size: height and width of the result, in pixels.
        points: (5, 2) float, see `Landmarks`.

    Raises:
        InputError: the image cannot be decoded.
    """
    bgr = decode_any(content)
    if points is not None:
        square = align_face(bgr, points, size)
    elif bgr.shape[:2] == (size, size) and content.startswith(JPEG_START) and is_upright(content):
        return content
    else:
        square = middle_square(bgr, size)
    return encode_jpeg(cv2.cvtColor(square, cv2.COLOR_BGR2RGB))


def decode_any(content: bytes) -> np.ndarray:
    """Decode an image of any size up to `MAX_PIXELS`.

    Pixels equal those of OpenCV bit for bit: rotated to the Exif orientation, which OpenCV ignores in WebP files.

    Args:
        content: the encoded image.

    Returns:
        uint8 (height, width, 3) of blue, green, red.

    Raises:
        InputError: the image is damaged or too large, or its format is not known.
    """
    try:
        if not content.startswith(JPEG_START):
            image_header(content)  # raises where it is damaged or too large
            return decode_by_opencv(content)
        height, width, colors, _ = jpeg_header(content)
        printed = colors in FOR_PRINTING
        # of CMYK decoded for the errors only
        bgr = decode_jpeg(content, "CMYK") if printed else decode_jpeg(content, "BGR", image_memory(height, width, 3))
        return decode_by_opencv(content) if printed or not is_upright(content) else bgr
    except ValueError as error:
        raise InputError(str(error)) from error


def middle_square(bgr: np.ndarray, size: int) -> np.ndarray:
    """The largest square in the middle of an image (height, width, 3), resized to (size, size, 3)."""
    height, width = bgr.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = bgr[top : top + side, left : left + side]
    if side != size:
        # Averaging over areas avoids moire patterns when shrinking; when enlarging it would draw blocks.
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)
    return square
