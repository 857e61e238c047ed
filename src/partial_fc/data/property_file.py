"""InsightFace's file `property` beside the records: `identities,height,width`."""

import os
import re

from ..errors import InputError

PROPERTY = "property"


def read_property(folder):
    """(identities, height, width) of the file `property` in a folder, or None without it.

    Raises:
        InputError: it does not hold three whole numbers.
    """
    path = os.path.join(folder, PROPERTY)
    try:
        with open(path, encoding="ascii") as file:
            found = re.fullmatch(r"\s*([0-9]{1,12})\s*,\s*([0-9]{1,6})\s*,\s*([0-9]{1,6})\s*", file.read(100))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        found = None
    if not found:
        raise InputError(f"{path}: expected identities,height,width")
    return tuple(int(number) for number in found.groups())
