"""The libraries that decode images, with checks before each call: damage raises ValueError and allocates little."""

import io
import math
import struct
from typing import Optional, Tuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from ...files import POINTER, is_pointer

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
_GIF_START = b"GIF8"
FOR_PRINTING = ("CMYK", "YCCK")  # colors of JPEGs that OpenCV converts and libjpeg-turbo does not
_PNG_CHUNK = struct.Struct(">I4s")  # length and kind; the content and four bytes of a checksum follow
_CHECKSUM = 4
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")  # damaged ones crash OpenCV 4.11
_ORIENTATION, _UPRIGHT = 274, 1
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_TIFF_SHORT, _TIFF_TILE = 3, (322, 323)
_TIFF_SIZES = (256, 257, *_TIFF_TILE)
_JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
_EIGHT_BITS = ("L", "LA", "RGB", "RGBA", "YCbCr")
_JP2_CODESTREAM = b"\xff\x4f\xff\x51"
_JP2_SIZES = struct.Struct(">8s4I")  # up to the sizes of image and offset
MAX_PIXELS = 2**27


def image_memory(*shape: int) -> np.ndarray:
    """Uninitialized uint8 array of a shape, whose address is deliberately not a multiple of 16 bytes.

    libjpeg-turbo writes rows of pixels at such addresses past the processor's caches. That takes nearly half of the
    time of decoding a small image, see docs/performance.md.
    """
    return np.empty(math.prod(shape) + 1, np.uint8)[1:].reshape(shape)


def image_header(content: bytes) -> Image.Image:
    """Header of an encoded image as PIL reads it: `format`, `mode`, `size` (width, height). No pixels are decoded.

    Raises:
        ValueError: PIL does not know the format, or the image has more than `MAX_PIXELS`.
    """
    try:
        image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ValueError(f"too large: {error}") from error
    except Exception as error:  # damage leads to exceptions of many types
        if is_pointer(content):
            raise ValueError(POINTER) from error
        raise ValueError(f"{len(content)} bytes that are not an image") from error
    check_pixels(*image.size)
    return image


def jpeg_header(content: bytes) -> Tuple[int, int, str, str]:
    """Height, width, colors and subsampling of a JPEG.

    Raises:
        ValueError: the header cannot be read, or the image has more than `MAX_PIXELS`.
    """
    try:
        header = simplejpeg.decode_jpeg_header(content)
    except ValueError as error:
        raise ValueError(f"damaged JPEG: {error}") from error
    check_pixels(header[1], header[0])
    return header


def check_pixels(width: int, height: int) -> None:
    """Raise ValueError for an image of more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ValueError(f"too large: {width}x{height} pixels, more than {MAX_PIXELS}")


def decode_jpeg(content: bytes, colors: str, out: Optional[np.ndarray] = None) -> np.ndarray:
    """Decode a JPEG with libjpeg-turbo, which reports damage where OpenCV fills the rest of the image with gray.

    Pixels equal those of OpenCV bit for bit, except for CMYK; the image is not rotated to its Exif orientation.

    Args:
        content: the encoded image.
        colors: of the pixels, `RGB`, `BGR` or `CMYK`.
        out: array to decode into; by default a new one.

    Returns:
        uint8 (height, width, channels).

    Raises:
        ValueError: the JPEG is damaged, is larger than `out`, or cannot be converted to these colors.
    """
    try:
        return simplejpeg.decode_jpeg(content, colors, fastdct=False, fastupsample=False, buffer=out)
    except ValueError as error:
        raise ValueError(f"damaged JPEG: {error}") from error


def decode_by_opencv(content: bytes) -> np.ndarray:
    """Decode an image of any format, rotated to its Exif orientation; the caller has checked its size.

    GIFs, which OpenCV does not read before 4.12, and JPEG 2000, of which damaged files crash it, are decoded by PIL:
    the first picture, without transparency.

    Args:
        content: the encoded image.

    Returns:
        uint8 (height, width, 3) of blue, green, red.

    Raises:
        ValueError: the image is damaged, or OpenCV does not know its format.
    """
    if content.startswith((_GIF_START, _JP2_START, _JP2_CODESTREAM)):
        return _decode_by_pil(content)
    if content.startswith(PNG_START):
        _check_chunks(content)
    elif content[:4] in _TIFF_STARTS:
        _check_tags(content)
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from error
    if bgr is None:
        raise ValueError(f"{len(content)} bytes that are damaged or not an image that OpenCV can decode")
    return bgr


def _decode_by_pil(content):
    """A GIF or a JPEG 2000 image."""
    header = image_header(content)
    if header.format == "JPEG2000":
        _check_codestreams(content, header.size)
        if header.mode not in _EIGHT_BITS:
            raise ValueError(f"a JPEG 2000 image of mode {header.mode}: only 8 bits per color are read")
    try:
        return np.asarray(header.convert("RGB"))[..., ::-1].copy()
    except Exception as error:  # damage leads to exceptions of many types
        raise ValueError(f"damaged {header.format}: {error}") from error


def is_upright(content: bytes) -> bool:
    """Whether a JPEG has no Exif orientation, or the normal one."""
    if b"Exif\0" not in content:  # PIL takes as long to read the header as libjpeg-turbo to decode the image
        return True
    try:
        return Image.open(io.BytesIO(content)).getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
    except Exception:  # damage leads to exceptions of many types; OpenCV decides then
        return False


def _check_chunks(content):
    """Raise ValueError unless the chunks of a PNG are as long as they say: OpenCV allocates that memory at once."""
    position, end = len(PNG_START), len(content)
    while True:
        if position + _PNG_CHUNK.size > end:
            raise ValueError("damaged PNG: it is truncated")
        length, kind = _PNG_CHUNK.unpack_from(content, position)
        if (kind == b"IHDR") != (
            position == len(PNG_START)
        ):  # PIL, which the size is from, and OpenCV may each read another
            raise ValueError("damaged PNG: not exactly one header at its start")
        if kind in _ANIMATION:
            raise ValueError("an animated PNG, which is not supported: save one picture of it")
        position += _PNG_CHUNK.size + length + _CHECKSUM
        if position > end:
            raise ValueError(f"damaged PNG: it ends within a chunk whose length is given as {length} bytes")
        if kind == b"IEND":
            return


def _check_tags(content):
    """Raise ValueError where OpenCV may read another size from a TIFF than PIL: a tag given twice, large tiles."""
    order = "<" if content.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, start)
        entries = [struct.unpack_from(order + "HHI4s", content, start + 2 + 12 * entry) for entry in range(count)]
    except struct.error as error:
        raise ValueError("damaged TIFF: it is truncated") from error
    sizes = [(tag, _tiff_number(order, kind, value)) for tag, kind, _, value in entries if tag in _TIFF_SIZES]
    if len(dict(sizes)) < len(sizes):
        raise ValueError("damaged TIFF: two sizes")
    found = dict(sizes)
    check_pixels(*(found.get(tag, 1) for tag in _TIFF_TILE))


def _tiff_number(order, kind, value):
    return struct.unpack(order + ("HH" if kind == _TIFF_SHORT else "I"), value)[0]


def _check_codestreams(content, size):
    """Raise ValueError for a JPEG 2000 whose codestream has another size than its header, which PIL reads."""
    place = content.find(_JP2_CODESTREAM)
    while 0 <= place <= len(content) - _JP2_SIZES.size:
        _, width, height, left, top = _JP2_SIZES.unpack_from(content, place)
        if (width - left, height - top) != size:
            raise ValueError("damaged JPEG 2000: two sizes")
        place = content.find(_JP2_CODESTREAM, place + 1)
