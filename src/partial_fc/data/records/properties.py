"""InsightFace's file `property` beside the records: `identities,height,width`."""

import os
import re

from ...errors import InputError
from ...lists.text import text_lines

PROPERTY = "property"


def read_property(folder):
    """(identities, height, width) of the file `property` in a folder, or None without it.

    Raises:
        InputError: it does not hold three whole numbers.
    """
    path = os.path.join(folder, PROPERTY)
    if not os.path.lexists(path):
        return None
    lines = [line for _, line in text_lines(path)]
    found = re.fullmatch(r"\s*([0-9]{1,12})\s*,\s*([0-9]{1,6})\s*,\s*([0-9]{1,6})\s*", "".join(lines[:2]))
    if not found:
        raise InputError(f"{path}, line 1: expected identities,height,width")
    return tuple(int(number) for number in found.groups())
