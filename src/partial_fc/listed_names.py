"""Names of people and paths of files in lists, and how to find them where they are written in another way."""

import os
import unicodedata
from typing import Collection, List, Optional

from .errors import InputError
from .text_lists import text_lines


def read_names(path: str) -> List[str]:
    """Names of identities in the order of their labels, one a line: the form of `identities.txt`.

    Raises:
        InputError: with the line's number, for an empty line before the last name; see `text_lists`.
    """
    names = []
    for number, name in text_lines(path):
        if number != len(names) + 1:
            raise InputError(f"{path}, line {len(names) + 1}: is empty, expected the name of identity {len(names)}")
        names.append(name)
    return names


def name_key(name: str) -> str:
    """The same text for all ways to write a name or path: accents in one or two characters, Latin-1, backslashes."""
    if name.isascii():
        return name.replace("\\", "/")
    return unicodedata.normalize("NFC", _readable(name)).replace("\\", "/")


class Names:
    """Names of one list, to be found as another list writes them.

    Args:
        names: collection of str that finds them fast, a set or dictionary.
    """

    def __init__(self, names: Collection[str]):
        self._names, self._others = names, {}
        for name in (name for name in names if not name.isascii() or "\\" in name):
            self._others.setdefault(name_key(name), []).append(name)

    def find(self, name: str) -> Optional[str]:
        """The name that is the same, else the only one that is written in another way, see `name_key`; or None."""
        if name in self._names:
            return name
        key = name_key(name)
        found = {*self._others.get(key, ()), *[key] * (key in self._names)}
        return found.pop() if len(found) == 1 else None


def find_path(folder: str, name: str) -> str:
    """Path in `folder` of a file or folder that a list names.

    Where there is none of this name, it is the first that is there with other slashes or accents, see `name_key`, or
    without spaces at the ends; else the path as it is written.
    """
    path = os.path.join(folder, name)
    if (name.isascii() and "\\" not in name and name.strip() == name) or os.path.lexists(path):
        return path
    paths = (os.path.join(folder, spelling) for spelling in _spellings(name))
    return next(filter(os.path.lexists, paths), path)


def _spellings(name):
    for text in (name, name.strip()):
        for slashed in (text, text.replace("\\", "/")):
            composed, apart = (unicodedata.normalize(form, _readable(slashed)) for form in ("NFC", "NFD"))
            yield from (slashed, composed, apart)
            yield composed.encode("cp1252", "replace").decode("utf-8", "surrogateescape")


def _readable(name):
    """A name with bytes that are not UTF-8, as Latin-1 has it in Windows' form, which names more characters."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("cp1252", "surrogateescape")
    return name
