"""Names of people and paths of files in lists, and how to find them where they are written in another way."""

import os
import re
import unicodedata
from typing import Collection, List, Optional

from ..errors import InputError
from ..output.printable import has_controls
from .text import shown_text, text_lines

_DRIVE = re.compile("[A-Za-z]:")


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


def check_path(name: str, where: str) -> str:
    """The path `name`, if it can only be one of something in the folder that it starts from.

    Args:
        name: a path that a list or another file has.
        where: that file and the line, for the message.

    Raises:
        InputError: it is empty, absolute, has a drive's letter, `..`, a line break or what no file's name can have.
    """
    plain = name.strip().replace("\\", "/")
    parts = [part.strip() for part in plain.split("/")]
    if not plain:
        raise InputError(f"{where}: an empty path")
    if not _can_be_named(name):
        raise InputError(f"{where}: the path {shown_text(name)} has characters that no file's name can have")
    if plain.startswith("/") or _DRIVE.match(plain) or ".." in parts:
        raise InputError(
            f"{where}: the path {shown_text(name)} may lead out of the folder that it starts from: expected one "
            "without `..`, `/` at its beginning or the letter of a drive"
        )
    return name


def new_path(folder: str, name: str) -> str:
    """Path in `folder` to write to, of a file that a list or an archive names, exactly as it is written there.

    Raises:
        InputError: as `check_path`; the name has control characters; a link leads out of the folder.
    """
    path = os.path.join(folder, check_path(name, folder))
    if has_controls(name):
        raise InputError(f"{folder}: the path {shown_text(name)} has control characters: no such file is written")
    inside = os.path.realpath(folder)
    if os.path.commonpath([inside, os.path.realpath(path)]) != inside:
        raise InputError(f"{path}: a link leads out of {folder}: not written")
    return path


def find_path(folder: Optional[str], name: str) -> str:
    """Path in `folder` of a file or folder to read, that a list names; links are followed.

    Where there is none of this name, it is the first that is there with other slashes or accents, see `name_key`, or
    without spaces at the ends; else the path as it is written.

    Args:
        folder: that the path starts from; None: the current one, and the path may lead anywhere.
        name: the path.

    Raises:
        InputError: see `check_path`.
    """
    path = os.path.join(folder, check_path(name, folder)) if folder else name
    if (name.isascii() and "\\" not in name and name.strip() == name) or os.path.lexists(path):
        return path
    paths = (os.path.join(folder or "", spelling) for spelling in _spellings(name))
    return next(filter(os.path.lexists, paths), path)


def _can_be_named(name):
    try:
        return not re.search(b"[\0\n\r]", os.fsencode(name))
    except UnicodeEncodeError:
        return False


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
