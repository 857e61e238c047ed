"""Encoded images (JPEG, PNG and what else OpenCV reads) to arrays of RGB and back."""
import cv2
import numpy as np

from ..errors import InputError


def decode_image(buffer, size, name="image"):
    """Decodes `buffer` (bytes) of `size` = (height, width) pixels to uint8 RGB `(height, width, 3)`.

    Raises InputError, which starts with `name`, where it cannot be decoded or is of another size: a silent
    resize would hide that faces were not aligned for this network.
    """
    encoded = np.frombuffer(buffer, dtype=np.uint8)
    try:
        bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{name}: cannot be decoded: {error}") from error
    if bgr is None:
        raise InputError(f"{name}: {encoded.size} bytes which are not an image OpenCV can decode")
    if bgr.shape[:2] != tuple(size):
        raise InputError(f"{name}: {bgr.shape[0]}x{bgr.shape[1]} pixels (height x width), "
                         f"expected {size[0]}x{size[1]}")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


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
