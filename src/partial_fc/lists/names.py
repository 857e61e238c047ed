"""Names of people and paths of files in lists, found also where they are spelled in another way."""

import os
import re
import unicodedata
from typing import Collection, Dict, List, Optional

from ..errors import InputError
from ..output.printable import has_controls
from .text import shown_text, text_lines

_DRIVE = re.compile("[A-Za-z]:")


def read_names(path: str) -> List[str]:
    """Names of identities in the order of their labels, one per line: the form of `identities.txt`.

    Raises:
        InputError: a line before the last name is empty (the message names the line), or as `text_lines`.
    """
    names: List[str] = []
    for number, name in text_lines(path):
        if number != len(names) + 1:
            raise InputError(f"{path}, line {len(names) + 1}: is empty, expected the name of identity {len(names)}")
        names.append(name)
    return names


def name_key(name: str) -> str:
    """Key that is equal for all spellings of a name or path: accents as one or two characters, Latin-1, backslashes."""
    if name.isascii():
        return name.replace("\\", "/")
    return unicodedata.normalize("NFC", _readable(name)).replace("\\", "/")


class Names:
    """Names of one list, which another list may spell differently.

    Args:
        names: set or dictionary of names.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._others: Dict[str, List[str]] = {}
        for name in (name for name in names if not name.isascii() or "\\" in name):
            self._others.setdefault(name_key(name), []).append(name)

    def find(self, name: str) -> Optional[str]:
        """The equal name, else the only one with the same `name_key`; None if there is none, or several."""
        if name in self._names:
            return name
        key = name_key(name)
        found = {*self._others.get(key, ()), *[key] * (key in self._names)}
        return found.pop() if len(found) == 1 else None


def check_path(name: str, where: str) -> str:
    """Return a relative path unchanged after checking that it stays in the folder that it is relative to.

    Args:
        name: path in a list or another file.
        where: that file and the line, for error messages.

    Raises:
        InputError: the path is empty or absolute, or has a drive letter, `..`, a line break or characters that names of
            files cannot have.
    """
    plain = name.strip().replace("\\", "/")
    parts = [part.strip() for part in plain.split("/")]
    if not plain:
        raise InputError(f"{where}: an empty path")
    if not _can_be_named(name):
        raise InputError(f"{where}: the path {shown_text(name)} has characters that names of files cannot have")
    if plain.startswith("/") or _DRIVE.match(plain) or ".." in parts:
        raise InputError(
            f"{where}: the path {shown_text(name)} may lead out of the folder that it is relative to: expected one "
            "without `..`, leading `/` or drive letter"
        )
    return name


def new_path(folder: str, name: str) -> str:
    """Path in `folder` to write to, of a file named in a list or an archive, exactly as it is spelled there.

    Raises:
        InputError: as `check_path`; the name has control characters; a link leads out of the folder.
    """
    path = os.path.join(folder, check_path(name, folder))
    if has_controls(name):
        raise InputError(f"{folder}: the path {shown_text(name)} has control characters: not written")
    inside = os.path.realpath(folder)
    if os.path.commonpath([inside, os.path.realpath(path)]) != inside:
        raise InputError(f"{path}: a link leads out of {folder}: not written")
    return path


def find_path(folder: Optional[str], name: str) -> str:
    """Path of an existing file or folder that is named in a list; links are followed.

    If there is none of this name, the first that exists with other slashes or accents, see `name_key`, or without
    spaces at the ends; if there is none of these, the path as it is spelled.

    Args:
        folder: that the path is relative to; None: the current one, and the path may lead anywhere.
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
            composed = unicodedata.normalize("NFC", _readable(slashed))
            yield from (slashed, composed, unicodedata.normalize("NFD", composed))
            yield composed.encode("cp1252", "replace").decode("utf-8", "surrogateescape")


def _readable(name):
    """A name, with bytes that are not UTF-8 decoded as Windows-1252, which extends Latin-1."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("cp1252", "surrogateescape")
    return name
