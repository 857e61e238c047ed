"""Photos of faces that a user names: aligned crops, or photographs with five landmarks; and galleries of them."""

import logging
import os
from typing import Dict, List, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from ..data.images.align import Landmarks, align_face
from ..data.images.fit import decode_any, middle_square, read_image
from ..errors import InputError
from .embedding import Embedder
from .image_source import images_below
from .protocols.verification import pair_distances
from .protocols.verification_protocol import cosines, embed_with_mirrors

log = logging.getLogger("partial_fc")

_NAMED = 5


class Photos:
    """Photos of faces, at the size that a model takes.

    A photo of which there are landmarks is aligned by them. Of others the middle square is cut and resized; those that
    do not look like aligned crops are noted: not square, or more than twice or less than half as large.

    Args:
        paths: of the files.
        size: height and width in pixels.
        landmarks: of some or all of the photos, by the same paths; None: there are none.
    """

    def __init__(self, paths: Sequence[str], size: int, landmarks: Optional[Landmarks] = None):
        self.paths, self._size, self._landmarks = paths, size, landmarks
        self._no_crops: Dict[int, str] = {}  # path and size, by index

    def read(self, index: int) -> np.ndarray:
        """Photo `index`, uint8 RGB (size, size, 3). Threads call it. Raises InputError naming the file."""
        path = self.paths[index]
        try:
            bgr = self._fitted(index, decode_any(read_image(path)))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def warn(self) -> None:
        """Log a warning about the photos read so far that do not look like aligned crops, if there are any."""
        names = [self._no_crops[index] for index in sorted(self._no_crops)]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            log.warning(
                "%d of %d photos have no landmarks and do not look like aligned faces of %d x %d pixels: %s%s. Their "
                "middle squares were taken, and scores may mean nothing: align them, or give their landmarks",
                *(len(names), len(self.paths), self._size, self._size, ", ".join(names[:_NAMED]), more),
            )

    def _fitted(self, index: int, bgr: np.ndarray) -> np.ndarray:
        path = self.paths[index]
        if self._landmarks is not None and path in self._landmarks:
            return align_face(bgr, self._landmarks.of(path), self._size)
        height, width = bgr.shape[:2]
        if height != width or not self._size / 2 <= height <= 2 * self._size:
            self._no_crops[index] = f"{path} (width {width}, height {height})"
        return middle_square(bgr, self._size)


def similarities(embedder: Embedder, photos: Photos) -> np.ndarray:
    """Cosines (n - 1,) float64 of the first of n photos with each of the others, as `eval verification` scores pairs.

    Raises:
        InputError: a photo cannot be read, or its embedding is not finite.
    """
    count = len(photos.paths)
    embeddings = sum(embed_with_mirrors(embedder, photos.read, count, photos.paths.__getitem__))
    photos.warn()
    rows = np.stack([np.zeros(count - 1, np.int64), np.arange(1, count)], axis=1)
    return cosines(pair_distances(np.asarray(embeddings), rows.reshape(-1)))


class Gallery(NamedTuple):
    """People that a photo is compared with: `names` and `paths` of n images, the images of a person in a row or not."""

    names: List[str]
    paths: List[str]


def open_gallery(folder: str) -> Gallery:
    """Gallery of FOLDER/NAME/IMAGE, at any depth, and FOLDER/NAME.jpg, which may be of the same person.

    Raises:
        InputError: no such folder, or no images in it.
        OSError: naming a folder that cannot be read.
    """
    below = images_below(folder)
    names = [path.split(os.sep)[0] if os.sep in path else os.path.splitext(path)[0] for path in below]
    return Gallery(names, [os.path.join(folder, path) for path in below])


class Neighbor(NamedTuple):
    """A person of a gallery, the path of the image that is most similar to a photo, and its cosine."""

    name: str
    image: str
    cosine: float


def nearest_people(gallery: Gallery, scores: np.ndarray, count: int) -> List[Neighbor]:
    """The `count` most similar people, best first.

    The score of a person is that of the image that is most similar, since a threshold is calibrated on pairs of images.

    Args:
        gallery: of n images.
        scores: (n,) float, see `similarities`.
        count: of people.
    """
    best: Dict[str, int] = {}
    for row in np.argsort(-scores, kind="stable").tolist():
        best.setdefault(gallery.names[row], row)
    rows = list(best.values())[:count]
    return [Neighbor(gallery.names[row], gallery.paths[row], float(scores[row])) for row in rows]
