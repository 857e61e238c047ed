"""Images to embed, in a fixed order: of a folder, of a list of paths, or of a record file."""

import os

from ..data.data_set import DataSet
from ..data.image_folder import IMAGE_ENDINGS, natural_key
from ..errors import InputError
from ..listed_names import find_path
from ..text_lists import text_lines
from .pair_sets import decode_face, face_size


class FileImages:
    """Images in files.

    Args:
        folder: what the paths start from.
        paths: list of str; see `listed_images`, `images_below`.
        size: height and width to cut and resize all images to; None: those of the first image, which all must have.

    Attributes:
        lines: what each row of features is of: `paths`.
        size: (height, width).

    Raises:
        InputError: the first image cannot be read.
    """

    def __init__(self, folder, paths, size=None):
        self._folder, self.lines = folder, paths
        self._fits = size is not None
        self.size = (size, size) if size else face_size(self._content(0), self.lines[0])

    def read(self, index):
        """Image `index`, uint8 RGB (H, W, 3); raises InputError naming it."""
        return decode_face(self._content(index), self.size, self._fits, self._path(index))

    def states(self):
        """Length and time of the last change of each file, str, one by one."""
        return (file_state(self._path(index)) for index in range(len(self.lines)))

    def _path(self, index):
        return find_path(self._folder, self.lines[index])

    def _content(self, index):
        try:
            with open(self._path(index), "rb") as file:
                return file.read()
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


def listed_images(path):
    """Paths in the lines of a list, see `text_lists`; raises InputError naming it, where there are none."""
    found = [line for _, line in text_lines(path)]
    if not found:
        raise InputError(f"{path}: has no paths of images")
    return found


def images_below(folder):
    """Paths of all images in a folder and in its sub-folders, from there and in natural order.

    Raises:
        InputError: no such folder, or no images in it.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder")
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        images = [name for name in names if name.lower().endswith(IMAGE_ENDINGS) and not name.startswith(".")]
        found += [os.path.relpath(os.path.join(parent, name), folder) for name in sorted(images, key=natural_key)]
    if not found:
        raise InputError(f"{folder}: no images")
    return found


def file_state(path):
    """Length and time of the last change of a file, str; raises InputError naming it."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return f"{status.st_size} {status.st_mtime_ns}"
