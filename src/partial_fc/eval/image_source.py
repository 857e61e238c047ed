"""Images to embed, in a fixed order: of a folder, of a list of paths, or of a record file."""

import logging
import os

from ..data.images.fit import read_image
from ..data.images.folder import IMAGE_ENDINGS, natural_key
from ..data.records.data_set import DataSet
from ..errors import InputError
from ..files import walk
from ..lists.names import check_path, find_path
from ..lists.text import text_lines
from .protocols.pair_sets import decode_face, face_size

log = logging.getLogger("partial_fc")

_NAMED = 5


class FileImages:
    """Images in files.

    Args:
        folder: what the paths start from; None: the current one, and they may lead anywhere.
        paths: list of str; see `listed_images`, `images_below`.
        size: height and width to cut and resize all images to; None: those of the first image, which all must have.
        skip_bad: whether images that cannot be read are skipped: the size is that of the first one that can.

    Attributes:
        lines: what each row of features is of: `paths`.
        size: (height, width).

    Raises:
        InputError: the first image cannot be read; where bad ones are skipped, not one image can.
    """

    def __init__(self, folder, paths, size=None, skip_bad=False):
        self._folder, self.lines = folder, paths
        self._fits, self._skips = size is not None, skip_bad
        self.size = (size, size) if size else self._first_size()

    def read(self, index):
        """Image `index`, uint8 RGB (H, W, 3); raises InputError naming it."""
        return decode_face(self._content(index), self.size, self._fits, self._path(index))

    def states(self):
        """Length and time of the last change of each file, str, one by one; raises InputError naming a missing one."""
        return (self._state(self._path(index)) for index in range(len(self.lines)))

    def _state(self, path):
        try:
            return file_state(path)
        except InputError:
            if not self._skips:
                raise
            return "missing"

    def _first_size(self):
        first = None
        for index, name in enumerate(self.lines):
            try:
                return face_size(self._content(index), name)
            except InputError as error:
                if not self._skips:
                    raise
                first = first or error
        raise InputError(f"not one of {len(self.lines)} images can be read; the first: {first}")

    def _path(self, index):
        return find_path(self._folder, self.lines[index])

    def _content(self, index):
        try:
            return read_image(self._path(index))
        except OSError as error:
            raise InputError(f"{self._path(index)}: cannot be read: {error.strerror}") from error


class RecordImages:
    """Images of a record file, in the order of their numbers.

    Args:
        source: folder with `train.rec`, or path of a `.rec` file.
        size: see `FileImages`.

    Attributes:
        lines: number and label of each row's record, with a tab between.
        size: (height, width).

    Raises:
        InputError: as RecordFile, for labels that are no identities, and a first image that cannot be read.
    """

    def __init__(self, source, size=None):
        data_set = DataSet(source)
        self._records, self._fits = data_set.records, size is not None
        self.lines = [f"{key}\t{label}" for key, label in zip(self._records.keys, self._records.labels())]
        self.size = (size, size) if size else data_set.image_size()

    def read(self, index):
        """Image `index`, uint8 RGB (H, W, 3); raises InputError naming it."""
        key = int(self._records.keys[index])
        name = f"{self._records.path}: record {key}"
        return decode_face(self._records.read_record(key).content, self.size, self._fits, name)

    def states(self):
        """As `FileImages.states`, of the record file."""
        return [file_state(self._records.path)]


def listed_images(path, folder=None):
    """Paths in the lines of a list, see `text_lists`, that start from a folder; None: they may lead anywhere.

    Raises:
        InputError: naming the list, where there are none; and the line, where a path leads out of the folder.
    """
    found = [check_path(line, f"{path}, line {number}") if folder else line for number, line in text_lines(path)]
    if not found:
        raise InputError(f"{path}: has no paths of images")
    return found


def images_below(folder):
    """Paths of all images in a folder and in its sub-folders, from there and in natural order, each folder once.

    Files of other endings, and links to folders that were visited already, are counted in the log; hidden ones are not.

    Raises:
        InputError: no such folder, no images in it, a line break in a name.
        OSError: naming a folder that cannot be read.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder")
    images, others, repeated = [], [], []
    for parent, names in walk(folder, natural_key, repeated):
        for name in names:
            if not name.startswith("."):
                check_path(name, parent)  # a line break
                found = images if name.lower().endswith(IMAGE_ENDINGS) else others
                found.append(os.path.relpath(os.path.join(parent, name), folder))
    _warn(folder, "whose endings are not those of images", others)
    _warn(folder, "leading to folders that are read already", [os.path.relpath(path, folder) for path in repeated])
    if not images:
        raise InputError(f"{folder}: no images; their names end in {', '.join(IMAGE_ENDINGS)}")
    return images


def _warn(folder, what, names):
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        log.warning("%s: passed over %d %s: %s%s", folder, len(names), what, ", ".join(names[:_NAMED]), more)


def file_state(path):
    """Length and time of the last change of a file, str; raises InputError naming it."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return f"{status.st_size} {status.st_mtime_ns}"
