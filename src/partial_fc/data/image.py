"""Encoded images (JPEG, PNG and what else OpenCV reads) to arrays of RGB and back."""
import io

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from ..errors import InputError

JPEG_START = b"\xff\xd8\xff"
# Where a camera's remark on the orientation of a JPEG would stand.
_EXIF, _EXIF_END = b"Exif\0", 512


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
    out = np.empty((*size, 3), np.uint8)
    try:
        decode_into(out, content)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return out


def decode_into(out, content):
    """Decode an image, however damaged, without asking for more memory than the array it goes into.

    Pixels are those of OpenCV, bit for bit. JPEGs are decoded by libjpeg-turbo without a detour, which is faster and,
    unlike OpenCV, tells that a JPEG is damaged instead of filling it up with grey.

    Args:
        out: uint8 (height, width, 3), contiguous; becomes RGB.
        content: bytes.

    Raises:
        ValueError: it cannot be decoded, or is of another size than `out`.
    """
    size = out.shape[:2]
    if content[:3] != JPEG_START or content.find(_EXIF, 0, _EXIF_END) >= 0:
        _decode_other(out, content)
        return
    try:
        shape = simplejpeg.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False, buffer=out).shape
    except ValueError as error:
        # too large for `out`, or colors for printing, which OpenCV converts, or damaged
        *shape, colors, _ = _jpeg_header(content)
        _check_size(shape, size)
        if colors not in ("CMYK", "YCCK"):
            raise ValueError(f"damaged JPEG: {error}") from error
        _decode_other(out, content)
    _check_size(shape, size)


def image_header(content):
    """PIL's view of an encoded image (`format`, `mode`, `size` as width, height), of whose pixels nothing is decoded.

    Raises:
        ValueError: it is not an image PIL knows.
    """
    try:
        return Image.open(io.BytesIO(content))
    except Exception as error:  # of many types: whatever the damage leads to
        raise ValueError(f"{len(content)} bytes which are not an image") from error


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


def _jpeg_header(content):
    """Height, width, colors, subsampling."""
    try:
        return simplejpeg.decode_jpeg_header(content)
    except ValueError as error:
        raise ValueError(f"damaged JPEG: {error}") from error


def _decode_other(out, content):
    size = out.shape[:2]
    width, height = image_header(content).size
    if {height, width} != set(size):  # how a camera was held may exchange them
        _check_size((height, width), size)
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error.err}") from error
    if bgr is None:
        raise ValueError(f"{len(content)} bytes which are not an image OpenCV can decode")
    _check_size(bgr.shape, size)
    cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=out)


def _check_size(shape, size):
    if tuple(shape[:2]) != tuple(size):
        raise ValueError(f"{shape[0]}x{shape[1]} pixels (height x width), expected {size[0]}x{size[1]}")
