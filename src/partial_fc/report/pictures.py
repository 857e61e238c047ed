"""Pictures in a page: small JPEGs in `data:` addresses."""

import base64
import os
import re
from typing import Any, List, NamedTuple, Optional

import cv2

from ..data.images.decoding import decode_image, encode_jpeg, image_kind
from ..files import read_file

_QUALITY = 85
_MOST_BYTES = 2**26  # of a picture that is read
_SHEET = re.compile(r"sheet-[0-9]+\.png")
_SHEET_WIDTH, _SHEET_HEIGHT = 1600, 4000  # pixels; those of ours, 1,300 wide, are not scaled: names stay readable


class Sheets(NamedTuple):
    """The contact sheets in a folder: its path, and the names of the files, sorted."""

    path: str
    names: List[str]

    def picture(self, name: str) -> Optional[str]:
        """A sheet, see `embedded`."""
        return embedded(os.path.join(self.path, name), _SHEET_WIDTH, _SHEET_HEIGHT)


def find_sheets(folder: str) -> Sheets:
    """The sheets that `--pictures` of `centers conflicts` and its kin has written to a folder; there may be none."""
    return Sheets(folder, sorted(filter(_SHEET.fullmatch, os.listdir(folder))))


def embedded(path: str, most_wide: int, most_high: int) -> Optional[str]:
    """A picture as a JPEG of at most so many pixels in width and height; None if it cannot be read or decoded."""
    try:
        content = read_file(path, _MOST_BYTES)
        size = height, width = image_kind(content).size
        image: Any = decode_image(content, size)
    except (OSError, ValueError):  # InputError among them
        return None
    scale = min(most_wide / width, most_high / height)
    if scale < 1:
        fitted = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, fitted, interpolation=cv2.INTER_AREA)
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, _QUALITY)).decode()
