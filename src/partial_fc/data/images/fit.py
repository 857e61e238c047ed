"""Images of any kind and size to JPEGs of the size that a data set has."""

import cv2

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

_LONGEST_FILE = 2**29  # bytes, as a record has at most


def read_image(path: str) -> bytes:
    """The encoded image in a file.

    Raises:
        InputError: naming the file, if no image is so large.
        OSError: it cannot be read.
    """
    return read_file(path, _LONGEST_FILE)


def fit_image(content, size, points=None):
    """The image in `content` (bytes) as a JPEG of size x size pixels.

    Without points, a JPEG of that size that is not to be turned stays as it is, byte for byte. From others the largest
    square in the middle is cut and resized. With points, the face there is aligned, see `align_face`. What has
    changed is encoded at quality 95.

    Raises:
        InputError: it cannot be decoded.
    """
    bgr = decode_any(content)
    if points is not None:
        square = align_face(bgr, points, size)
    elif bgr.shape[:2] == (size, size) and content.startswith(JPEG_START) and is_upright(content):
        return content
    else:
        square = middle_square(bgr, size)
    return encode_jpeg(cv2.cvtColor(square, cv2.COLOR_BGR2RGB))


def decode_any(content):
    """Decode an image of any size up to `MAX_PIXELS`.

    Pixels are those of OpenCV, bit for bit, turned upright where a camera noted how it was held.

    Args:
        content: bytes.

    Returns:
        uint8 (height, width, 3) of blue, green, red.

    Raises:
        InputError: it is damaged, no image, or too large.
    """
    try:
        if not content.startswith(JPEG_START):
            image_header(content)  # for its errors
            return decode_by_opencv(content)
        height, width, colors, _ = jpeg_header(content)
        printed = colors in FOR_PRINTING
        # or its errors
        bgr = decode_jpeg(content, "CMYK") if printed else decode_jpeg(content, "BGR", image_memory(height, width, 3))
        return decode_by_opencv(content) if printed or not is_upright(content) else bgr
    except ValueError as error:
        raise InputError(str(error)) from error


def middle_square(bgr, size):
    """The largest square in the middle of an image (height, width, 3), resized to size x size."""
    height, width = bgr.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = bgr[top : top + side, left : left + side]
    if side != size:
        # Averaging over areas keeps fine texture from turning into patterns; it would draw squares when enlarging.
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)
    return square
