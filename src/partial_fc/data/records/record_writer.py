"""Writing record files in InsightFace's form, see `records`."""

import contextlib
import os

from ...files import atomic_path, open_named
from .recordio import EXACT, write_record


class RecordWriter:
    """Writes images one by one, or identity by identity with a record of each identity's range at the end.

    Args:
        rec: binary file of the records, open for writing.
        index: binary file of the index, open for writing.

    Attributes:
        position: of the next record, in bytes.
        num_images: images written.
        ranges: list of (first record number, number after the last) of each identity written.
    """

    def __init__(self, rec, index):
        self._rec, self._index = rec, index
        self.position = self.num_images = 0
        self.ranges = []

    def write_image(self, image, label):
        """Write an image (bytes) of identity `label`."""
        # float32 rounds labels from `EXACT` on; `id2`, which readers elsewhere leave alone, has all of their digits.
        self._write(self.num_images + 1, float(label), label if label >= EXACT else 0, image)
        self.num_images += 1

    def write_identity(self, images):
        """Write the images (bytes) of the next identity; its label is the number of identities before it."""
        start = self.num_images + 1
        for image in images:
            self.write_image(image, len(self.ranges))
        self.ranges.append((start, self.num_images + 1))

    def skip_identity(self, num_images, position):
        """Count an identity whose images stand in the files already; the next record comes at `position`."""
        self.ranges.append((self.num_images + 1, self.num_images + 1 + num_images))
        self.num_images += num_images
        self.position = position

    def finish(self):
        """Write the ranges of the identities, and record 0 with the range of these records."""
        first = self.num_images + 1
        for number, edges in enumerate(self.ranges, start=first):
            self._write(number, edges, 0, b"")
        self._write(0, (first, first + len(self.ranges)), 0, b"")

    def _write(self, number, label, number2, content):
        self._index.write(b"%d\t%d\n" % (number, self.position))
        self.position += write_record(self._rec, label, number, number2, content)


@contextlib.contextmanager
def record_files(path):
    """RecordWriter of the record file `path` and of its index beside it; both appear when the block ends, or neither.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    index_path = os.path.splitext(path)[0] + ".idx"
    with atomic_path(path) as rec, atomic_path(index_path) as index:
        with open_named(rec, "wb", path) as rec_file, open_named(index, "wb", index_path) as index_file:
            yield RecordWriter(rec_file, index_file)


def write_records(path, identities):
    """Write a record file and, beside it, its index.

    Args:
        path: the `.rec` file.
        identities: iterable of lists of encoded images, all of one identity; the n-th gets label n.

    Returns:
        Number of images.

    Raises:
        OSError: naming the file, if it cannot be written; nothing is left under its name then.
    """
    with record_files(path) as writer:
        for images in identities:
            writer.write_identity(images)
        writer.finish()
    return writer.num_images
