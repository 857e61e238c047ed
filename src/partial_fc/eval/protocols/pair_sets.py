"""Pairs of faces to verify: InsightFace's `.bin` files, or folders of images with a list of pairs."""

import os
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from ...data.images.decoding import decode_image, image_header
from ...data.images.fit import decode_any, middle_square, read_image
from ...data.tools.pairs import read_pairs
from ...data.verification_set import load_verification_set
from ...errors import InputError

Image = Union[bytes, str]


class PairSet(NamedTuple):
    """Pairs of images; an image of several pairs is held once.

    Attributes:
        path: of the `.bin` file, or folder of the images.
        name: of the set.
        images: encoded images (bytes), or paths of files.
        rows: (2P,) int64, places in `images` of the images of pair p at 2p and 2p+1.
        issame: (P,) bool.
        size: (height, width).
        fits: whether images are cut and resized to that size; otherwise they must have it.
    """

    path: str
    name: str
    images: List[Image]
    rows: np.ndarray
    issame: np.ndarray
    size: Tuple[int, int]
    fits: bool

    def read(self, index: int) -> np.ndarray:
        """Image `index`, uint8 RGB (H, W, 3); raises InputError naming it."""
        return decode_face(_content(self.images[index]), self.size, self.fits, self.name_of(index))

    def read_pair(self, pair: int) -> Tuple[np.ndarray, np.ndarray]:
        """Both images of a pair, see `read`."""
        return self.read(self.rows[2 * pair]), self.read(self.rows[2 * pair + 1])

    def names_of_pair(self, pair: int) -> Tuple[str, str]:
        """Names of both images of a pair, see `name_of`."""
        return self.name_of(self.rows[2 * pair]), self.name_of(self.rows[2 * pair + 1])

    def name_of(self, index: int) -> str:
        """Name of image `index` for messages and lists: its path, or that of the set and its first place in it."""
        image = self.images[index]
        return image if isinstance(image, str) else f"{self.path}: image {int(np.argmax(self.rows == index))}"


def decode_face(content: bytes, size: Tuple[int, int], fits: bool, name: str) -> np.ndarray:
    """An encoded face as uint8 RGB (H, W, 3).

    Args:
        content: bytes.
        size: (H, W).
        fits: whether the middle square of an image of another size is cut and resized, as `data pack` does; otherwise
            such an image is an error, because it was not aligned for a network of that size.
        name: of the image, for the message.

    Raises:
        InputError: it cannot be decoded, or is of another size.
    """
    if not fits:
        return decode_image(content, size, name)
    try:
        return cv2.cvtColor(middle_square(decode_any(content), size[0]), cv2.COLOR_BGR2RGB)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def face_size(content: bytes, name: str) -> Tuple[int, int]:
    """(height, width) of an encoded image; raises InputError naming it."""
    try:
        width, height = image_header(content).size
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return height, width


def open_pair_sets(
    bins: Sequence[str], images: Optional[str], pairs: Optional[str], size: Optional[int] = None
) -> List[PairSet]:
    """PairSets of `.bin` files, and of a list of pairs.

    Args:
        bins: paths of `.bin` files.
        images, pairs: folder of images and path of a list of pairs, see `read_pairs`; or neither.
        size: height and width to cut and resize all images to, or None.

    Raises:
        InputError: no set, one of `images` and `pairs` without the other, or files that cannot be read.
    """
    if bool(images) != bool(pairs) or not (bins or pairs):
        raise InputError("`bin` FILE, or `images` FOLDER with `pairs` FILE, or both are needed")
    sets = [_of_bin(path, size) for path in bins]
    return [*sets, _of_folder(images, pairs, size)] if images and pairs else sets


def _of_bin(path: str, size: Optional[int]) -> PairSet:
    images, issame = load_verification_set(path)
    return _pair_set(path, os.path.splitext(path)[0], images, issame, size)


def _of_folder(folder: str, pairs: str, size: Optional[int]) -> PairSet:
    listed = read_pairs(pairs, folder)
    paths = [path for _, both, _ in listed for path in both]
    return _pair_set(folder, folder, paths, np.array([same for _, _, same in listed], bool), size)


def _pair_set(path: str, named: str, images: Sequence[Image], issame: np.ndarray, size: Optional[int]) -> PairSet:
    """The set at `path`, whose name is the last part of `named`."""
    places: Dict[Image, int] = {}
    rows = np.array([places.setdefault(image, len(places)) for image in images], np.int64)
    name, side = os.path.basename(os.path.abspath(named)), size or 0
    pairs = PairSet(path, name, list(places), rows, issame, (side, side), size is not None)
    return pairs if size else pairs._replace(size=face_size(_content(images[0]), pairs.name_of(0)))


def _content(image: Image) -> bytes:
    return image if isinstance(image, bytes) else read_image(image)
