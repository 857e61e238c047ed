"""What an encoded image is, from its header alone."""

from typing import NamedTuple, Tuple

from .decoders import JPEG_START, PNG_START, image_header, jpeg_header

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
