"""Writing record files in InsightFace's form, see `record_file`."""

import contextlib
import os
from typing import BinaryIO, Iterable, Iterator, List, Sequence, Tuple

from ...files import atomic_path, open_named
from .recordio import EXACT, write_record


class RecordWriter:
    """Writes images one by one, or identity by identity with the records of the identities' ranges at the end.

    Args:
        rec: binary file of the records, open for writing.
        index: binary file of the index, open for writing.

    Attributes:
        position: of the next record, in bytes.
        num_images: images written.
        ranges: (first record number, number after the last) of each identity written.
    """

    def __init__(self, rec: BinaryIO, index: BinaryIO) -> None:
        self._rec, self._index = rec, index
        self.position = self.num_images = 0
        self.ranges: List[Tuple[int, int]] = []

    def write_image(self, image: bytes, label: int) -> None:
        """Write an encoded image of identity `label`."""
        # float32 rounds labels from `EXACT` on; `id2`, which other readers ignore, holds them exactly.
        self._write(self.num_images + 1, float(label), label if label >= EXACT else 0, image)
        self.num_images += 1

    def write_identity(self, images: Sequence[bytes]) -> None:
        """Write the encoded images of the next identity; its label is the number of identities before it."""
        start = self.num_images + 1
        for image in images:
            self.write_image(image, len(self.ranges))
        self.ranges.append((start, self.num_images + 1))

    def skip_identity(self, num_images: int, position: int) -> None:
        """Count an identity whose images are in the files already; the next record starts at `position`."""
        self.ranges.append((self.num_images + 1, self.num_images + 1 + num_images))
        self.num_images += num_images
        self.position = position

    def finish(self) -> None:
        """Write the records of the identities' ranges, and record 0 with the range of these records."""
        first = self.num_images + 1
        for number, edges in enumerate(self.ranges, start=first):
            self._write(number, edges, 0, b"")
        self._write(0, (first, first + len(self.ranges)), 0, b"")

    def _write(self, number, label, number2, content):
        self._index.write(b"%d\t%d\n" % (number, self.position))
        self.position += write_record(self._rec, label, number, number2, content)


@contextlib.contextmanager
def record_files(path: str) -> Iterator[RecordWriter]:
    """Context that gives a RecordWriter of the record file `path` and its index; they get their names when it ends.

    Raises:
        OSError: a file cannot be written, and there are none then; the error names it.
    """
    index_path = os.path.splitext(path)[0] + ".idx"
    with atomic_path(path) as rec, atomic_path(index_path) as index:
        with open_named(rec, "wb", path) as rec_file, open_named(index, "wb", index_path) as index_file:
            yield RecordWriter(rec_file, index_file)


def write_records(path: str, identities: Iterable[Sequence[bytes]]) -> int:
    """Write a record file and, beside it, its index.

    Args:
        path: the `.rec` file.
        identities: encoded images of each identity; the labels are 0, 1, ....

    Returns:
        Number of images.

    Raises:
        OSError: a file cannot be written, and there is none then; the error names it.
    """
    with record_files(path) as writer:
        for images in identities:
            writer.write_identity(images)
        writer.finish()
    return writer.num_images
