"""Images of any kind and size to JPEGs of the size that a data set has."""

import io

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from ..errors import InputError
from .align import align_face
from .image import JPEG_START, encode_jpeg

MAX_PIXELS = 2**27
_ORIENTATION, _UPRIGHT = 274, 1
_CONVERTED_BY_OPENCV = ("CMYK", "YCCK")


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
    elif bgr.shape[:2] == (size, size) and content.startswith(JPEG_START) and _is_upright(content):
        return content
    else:
        square = middle_square(bgr, size)
    return encode_jpeg(cv2.cvtColor(square, cv2.COLOR_BGR2RGB))


def decode_any(content):
    """Decode an image of any size up to `MAX_PIXELS`.

    Pixels are those of OpenCV, bit for bit, turned upright where a camera noted how it was held. JPEGs are decoded by
    libjpeg-turbo without a detour, which tells that a JPEG is damaged where OpenCV fills it up with grey.

    Args:
        content: bytes.

    Returns:
        uint8 (height, width, 3) of blue, green, red.

    Raises:
        InputError: it is damaged, no image, or too large.
    """
    if not content.startswith(JPEG_START):
        _check_header(content)
        return _decode_by_opencv(content)
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        _check_pixels(width, height)
        if colors in _CONVERTED_BY_OPENCV:
            return _decode_by_opencv(content)
        bgr = simplejpeg.decode_jpeg(content, "BGR", fastdct=False, fastupsample=False)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"damaged JPEG: {error}") from error
    return bgr if _is_upright(content) else _decode_by_opencv(content)


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


def _decode_by_opencv(content):
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"cannot be decoded: {error.err}") from error
    if bgr is None:
        raise InputError("damaged, or not an image OpenCV can decode")
    return bgr


def _is_upright(content):
    """Whether a JPEG has no note that it is to be turned."""
    if b"Exif\0" not in content:  # PIL takes as long for the header as others for the pixels
        return True
    try:
        return Image.open(io.BytesIO(content)).getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
    except Exception:  # of many types: whatever damage leads to; OpenCV is to decide then
        return False


def _check_header(content):
    try:
        width, height = Image.open(io.BytesIO(content)).size
    except Image.DecompressionBombError as error:  # beyond PIL's own limit, which is higher
        raise InputError(f"too large: more than {MAX_PIXELS} pixels") from error
    except Exception:  # of many types; OpenCV knows other formats, and refuses what it cannot decode
        return
    _check_pixels(width, height)


def _check_pixels(width, height):
    if width * height > MAX_PIXELS:
        raise InputError(f"too large: {width}x{height} pixels, more than {MAX_PIXELS}")
