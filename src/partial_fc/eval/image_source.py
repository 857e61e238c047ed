"""Images to embed, in a fixed order: of a folder, a list of paths, or a record file."""

import logging
import os
from typing import Iterable, Iterator, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from ..data.images.fit import read_image
from ..data.images.folder import IMAGE_ENDINGS, natural_key
from ..data.records.data_set import DataSet
from ..errors import InputError
from ..files import file_state, has_ending, walk
from ..lists.names import check_path, find_path
from ..lists.text import text_lines
from .protocols.pair_sets import decode_face, face_size

log = logging.getLogger("partial_fc")

_NAMED = 5


class Images(Protocol):
    """Images to embed: interface of the classes below, and of those of protocols.

    Attributes:
        lines: name of each image, for the list beside its features.
        size: (height, width) in pixels.
    """

    @property
    def lines(self) -> Sequence[str]:
        """See above."""

    @property
    def size(self) -> Tuple[int, int]:
        """See above."""

    def read(self, index: int) -> np.ndarray:
        """Image `index`, uint8 RGB (H, W, 3). Threads call it. Raises InputError naming the image."""

    def states(self) -> Iterable[str]:
        """A text for each file, which changes with it, such as its length and time of change."""


class FileImages:
    """Images in files.

    Args:
        folder: that the paths start from; None: the current one, and they may lead anywhere.
        paths: see `listed_images`, `images_below`.
        size: height and width to cut and resize all images to; None: those of the first image, which all must have.
        skip_bad: whether images that cannot be read are skipped: the size is that of the first readable one.

    Attributes:
        lines: `paths`.
        size: (height, width).

    Raises:
        InputError: the first image cannot be read; with `skip_bad`, no image can be read.
    """

    def __init__(self, folder: Optional[str], paths: Sequence[str], size: Optional[int] = None, skip_bad: bool = False):
        self._folder, self.lines = folder, paths
        self._fits, self._skips = size is not None, skip_bad
        self.size = (size, size) if size else self._first_size()

    def read(self, index: int) -> np.ndarray:
        """Image `index`, uint8 RGB (H, W, 3); raises InputError naming it."""
        return decode_face(self._content(index), self.size, self._fits, self._path(index))

    def states(self) -> Iterator[str]:
        """Length and time of the last change of each file; raises InputError naming a missing one."""
        return (self._state(self._path(index)) for index in range(len(self.lines)))

    def _state(self, path: str) -> str:
        try:
            return file_state(path)
        except InputError:
            if not self._skips:
                raise
            return "missing"

    def _first_size(self) -> Tuple[int, int]:
        first: Optional[InputError] = None
        for index, name in enumerate(self.lines):
            try:
                return face_size(self._content(index), name)
            except InputError as error:
                if not self._skips:
                    raise
                first = first or error
        raise InputError(f"none of {len(self.lines)} images can be read; the first: {first}")

    def _path(self, index: int) -> str:
        return find_path(self._folder, self.lines[index])

    def _content(self, index: int) -> bytes:
        try:
            return read_image(self._path(index))
        except OSError as error:
            raise InputError(f"{self._path(index)}: cannot be read: {error.strerror}") from error


class RecordImages:
    """Images of a record file, in the order of the records' numbers.

    Args:
        source: folder with `train.rec`, or path of a `.rec` file.
        size: see `FileImages`.

    Attributes:
        lines: number and label of each record, with a tab between.
        size: (height, width).

    Raises:
        InputError: as RecordFile; labels that are not identities; no image whose size can be read.
    """

    def __init__(self, source: str, size: Optional[int] = None):
        data_set = DataSet(source)
        self._records, self._fits = data_set.records, size is not None
        self.lines = [f"{key}\t{label}" for key, label in zip(self._records.keys, self._records.labels())]
        self.size = (size, size) if size else data_set.image_size()

    def read(self, index: int) -> np.ndarray:
        """Image `index`, uint8 RGB (H, W, 3); raises InputError naming it."""
        key = int(self._records.keys[index])
        name = f"{self._records.path}: record {key}"
        return decode_face(self._records.read_record(key).content, self.size, self._fits, name)

    def states(self) -> List[str]:
        """As `FileImages.states`, of the record file."""
        return [file_state(self._records.path)]


def listed_images(path: str, folder: Optional[str] = None) -> List[str]:
    """Paths in the lines of a list, see `lists.text`, that start from a folder; None: they may lead anywhere.

    Raises:
        InputError: naming the list, if it has no lines; and the line, if its path leads out of the folder.
    """
    found = [check_path(line, f"{path}, line {number}") if folder else line for number, line in text_lines(path)]
    if not found:
        raise InputError(f"{path}: lists no images")
    return found


def images_below(folder: str) -> List[str]:
    """Paths of all images in a folder and its sub-folders, relative to it, in natural order; no folder is read twice.

    Files with other endings, and links to folders that were read already, are counted in the log; hidden files are not.

    Raises:
        InputError: no such folder, no images in it, a line break in a name.
        OSError: naming a folder that cannot be read.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder")
    images: List[str] = []
    others: List[str] = []
    repeated: List[str] = []
    for parent, names in walk(folder, natural_key, repeated):
        for name in names:
            if not name.startswith("."):
                check_path(name, parent)  # a line break
                found = images if has_ending(name, *IMAGE_ENDINGS) else others
                found.append(os.path.relpath(os.path.join(parent, name), folder))
    _warn(folder, "files with other endings than images", others)
    _warn(folder, "links to folders that were read already", [os.path.relpath(path, folder) for path in repeated])
    if not images:
        raise InputError(f"{folder}: no images; their names end in {', '.join(IMAGE_ENDINGS)}")
    return images


def _warn(folder: str, what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        log.warning("%s: skipped %d %s: %s%s", folder, len(names), what, ", ".join(names[:_NAMED]), more)
