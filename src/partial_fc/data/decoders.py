"""The libraries that decode images, guarded against damaged ones: these become errors, and ask for no memory."""

import io
import math
import struct

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from ..files import POINTER, is_pointer

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
_GIF_START = b"GIF8"
FOR_PRINTING = ("CMYK", "YCCK")  # colors of JPEGs which OpenCV converts
_PNG_CHUNK = struct.Struct(">I4s")  # length and kind; the content and four bytes of a checksum follow
_CHECKSUM = 4
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")  # damaged ones crash OpenCV 4.11
_ORIENTATION, _UPRIGHT = 274, 1


def image_memory(*shape):
    """Uninitialised uint8 array for pixels, which begins at no multiple of 16 bytes.

    Where rows of pixels do, libjpeg-turbo writes them past the processor's caches, to memory. That takes nearly half of
    the time of decoding a small image, see docs/performance.md.
    """
    return np.empty(math.prod(shape) + 1, np.uint8)[1:].reshape(shape)


def image_header(content):
    """PIL's view of an encoded image (`format`, `mode`, `size` as width, height), of whose pixels nothing is decoded.

    Raises:
        ValueError: it is not an image PIL knows.
    """
    try:
        return Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ValueError(f"too large: {error}") from error
    except Exception as error:  # of many types: whatever the damage leads to
        if is_pointer(content):
            raise ValueError(POINTER) from error
        raise ValueError(f"{len(content)} bytes which are not an image") from error


def jpeg_header(content):
    """Height, width, colors and subsampling of a JPEG; ValueError if they cannot be read."""
    try:
        return simplejpeg.decode_jpeg_header(content)
    except ValueError as error:
        raise ValueError(f"damaged JPEG: {error}") from error


def decode_jpeg(content, colors, out=None):
    """Decode a JPEG by libjpeg-turbo without a detour, which tells of damage where OpenCV fills up with grey.

    Pixels are those of OpenCV, bit for bit, but for colors for printing, and for orientation, which is left as it is.

    Args:
        content: bytes.
        colors: of the pixels, `RGB`, `BGR` or `CMYK`.
        out: array that has room for them; by default a new one.

    Returns:
        uint8 (height, width, channels).

    Raises:
        ValueError: it is damaged, does not fit into `out`, or has no such colors.
    """
    try:
        return simplejpeg.decode_jpeg(content, colors, fastdct=False, fastupsample=False, buffer=out)
    except ValueError as error:
        raise ValueError(f"damaged JPEG: {error}") from error


def decode_by_opencv(content):
    """Decode an image of any kind, turned upright where a camera noted how it was held; the caller has seen its size.

    GIFs, which OpenCV does not read before 4.12, are decoded by PIL: the first picture, without transparency.

    Args:
        content: bytes.

    Returns:
        uint8 (height, width, 3) of blue, green, red.

    Raises:
        ValueError: it is damaged, or no image that OpenCV knows.
    """
    if content.startswith(_GIF_START):
        return _decode_gif(content)
    if content.startswith(PNG_START):
        _check_chunks(content)
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from error
    if bgr is None:
        raise ValueError(f"{len(content)} bytes which are damaged, or not an image OpenCV can decode")
    return bgr


def _decode_gif(content):
    try:
        return np.asarray(image_header(content).convert("RGB"))[..., ::-1].copy()
    except Exception as error:  # of many types: whatever the damage leads to
        raise ValueError(f"damaged GIF: {error}") from error


def is_upright(content):
    """Whether a JPEG has no note that it is to be turned."""
    if b"Exif\0" not in content:  # PIL takes as long for the header as others for the pixels
        return True
    try:
        return Image.open(io.BytesIO(content)).getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
    except Exception:  # of many types: whatever damage leads to; OpenCV is to decide then
        return False


def _check_chunks(content):
    """Raise ValueError unless the chunks of a PNG are as long as they say: OpenCV asks for that memory at once."""
    position, end, wanted = len(PNG_START), len(content), b"IHDR"
    while True:
        if position + _PNG_CHUNK.size > end:
            raise ValueError("damaged PNG: it breaks off")
        length, kind = _PNG_CHUNK.unpack_from(content, position)
        if (kind == b"IHDR") != (wanted == b"IHDR"):  # OpenCV and PIL, which the size is from, may take another each
            raise ValueError("damaged PNG: not one header at its start")
        if kind in _ANIMATION:
            raise ValueError("an animated PNG, which is not read: save one picture of it")
        position, wanted = position + _PNG_CHUNK.size + length + _CHECKSUM, None
        if position > end:
            raise ValueError(f"damaged PNG: it ends within a part that is said to have {length} bytes")
        if kind == b"IEND":
            return
