"""The libraries that decode images, guarded against damaged ones: these become errors, and ask for no memory."""

import io
import math
import struct

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from ...files import POINTER, is_pointer

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
_GIF_START = b"GIF8"
FOR_PRINTING = ("CMYK", "YCCK")  # colors of JPEGs which OpenCV converts
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


def image_memory(*shape):
    """Uninitialised uint8 array for pixels, which begins at no multiple of 16 bytes.

    Where rows of pixels do, libjpeg-turbo writes them past the processor's caches, to memory. That takes nearly half of
    the time of decoding a small image, see docs/performance.md.
    """
    return np.empty(math.prod(shape) + 1, np.uint8)[1:].reshape(shape)


def image_header(content):
    """PIL's view of an encoded image (`format`, `mode`, `size` as width, height), of whose pixels nothing is decoded.

    Raises:
        ValueError: it is not an image PIL knows, or one of more than `MAX_PIXELS`.
    """
    try:
        image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ValueError(f"too large: {error}") from error
    except Exception as error:  # of many types: whatever the damage leads to
        if is_pointer(content):
            raise ValueError(POINTER) from error
        raise ValueError(f"{len(content)} bytes which are not an image") from error
    check_pixels(*image.size)
    return image


def jpeg_header(content):
    """Height, width, colors and subsampling of a JPEG; ValueError if they cannot be read, or for too many pixels."""
    try:
        header = simplejpeg.decode_jpeg_header(content)
    except ValueError as error:
        raise ValueError(f"damaged JPEG: {error}") from error
    check_pixels(header[1], header[0])
    return header


def check_pixels(width: int, height: int) -> None:
    """Raise ValueError for more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ValueError(f"too large: {width}x{height} pixels, more than {MAX_PIXELS}")


def decode_jpeg(content, colors, out=None):
    """Decode a JPEG by libjpeg-turbo without a detour, which reports damage where OpenCV fills up with grey.

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

    GIFs, which OpenCV does not read before 4.12, and JPEG 2000, of which damaged files crash it, are decoded by PIL:
    the first picture, without transparency.

    Args:
        content: bytes.

    Returns:
        uint8 (height, width, 3) of blue, green, red.

    Raises:
        ValueError: it is damaged, or no image that OpenCV knows.
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
        raise ValueError(f"{len(content)} bytes which are damaged, or not an image OpenCV can decode")
    return bgr


def _decode_by_pil(content):
    """A GIF or a JPEG 2000 image."""
    header = image_header(content)
    if header.format == "JPEG2000":
        _check_codestreams(content, header.size)
        if header.mode not in _EIGHT_BITS:
            raise ValueError(f"a JPEG 2000 image of mode {header.mode}: only 8 bits a color are read")
    try:
        return np.asarray(header.convert("RGB"))[..., ::-1].copy()
    except Exception as error:  # of many types: whatever the damage leads to
        raise ValueError(f"damaged {header.format}: {error}") from error


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


def _check_tags(content):
    """Raise ValueError where OpenCV may see another size in a TIFF than PIL: a tag that is there twice, large tiles."""
    order = "<" if content.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, start)
        entries = [struct.unpack_from(order + "HHI4s", content, start + 2 + 12 * entry) for entry in range(count)]
    except struct.error as error:
        raise ValueError("damaged TIFF: it breaks off") from error
    sizes = [(tag, _tiff_number(order, kind, value)) for tag, kind, _, value in entries if tag in _TIFF_SIZES]
    if len(dict(sizes)) < len(sizes):
        raise ValueError("damaged TIFF: two sizes")
    found = dict(sizes)
    check_pixels(*(found.get(tag, 1) for tag in _TIFF_TILE))


def _tiff_number(order, kind, value):
    return struct.unpack(order + ("HH" if kind == _TIFF_SHORT else "I"), value)[0]


def _check_codestreams(content, size):
    """Raise ValueError for a JPEG 2000 whose pixels have another size than it says at its start, where PIL looks."""
    place = content.find(_JP2_CODESTREAM)
    while 0 <= place <= len(content) - _JP2_SIZES.size:
        _, width, height, left, top = _JP2_SIZES.unpack_from(content, place)
        if (width - left, height - top) != size:
            raise ValueError("damaged JPEG 2000: two sizes")
        place = content.find(_JP2_CODESTREAM, place + 1)
