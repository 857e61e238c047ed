"""Pairs of faces to verify: InsightFace's `.bin` files, or folders of images with a list of pairs."""

import os
from typing import List, NamedTuple, Optional, Union

import cv2
import numpy as np

from ...data.images.decoding import decode_image, image_header
from ...data.images.fit import decode_any, middle_square, read_image
from ...data.tools.pairs import read_pairs
from ...data.verification_set import load_verification_set
from ...errors import InputError


class PairSet(NamedTuple):
    """Pairs of images, each different image once.

    Attributes:
        name: of the set.
        images: encoded images (bytes), or paths of files.
        rows: (2P,) int64, places in `images` of the images of pair p at 2p and 2p+1.
        issame: (P,) bool.
        size: (height, width).
        fits: whether images are cut and resized to that; otherwise they must have it.
    """

    name: str
    images: List[Union[bytes, str]]
    rows: np.ndarray
    issame: np.ndarray
    size: tuple
    fits: bool

    def read(self, index):
        """Image `index`, uint8 RGB (H, W, 3); raises InputError naming it."""
        return decode_face(_content(self.images[index]), self.size, self.fits, self.name_of(index))

    def name_of(self, index):
        """What messages call image `index`: its path, or the place where the set has it first."""
        image = self.images[index]
        return image if isinstance(image, str) else f"{self.name}: image {int(np.argmax(self.rows == index))}"


def decode_face(content, size, fits, name):
    """An encoded face as uint8 RGB (H, W, 3).

    Args:
        content: bytes.
        size: (H, W).
        fits: whether the middle square of an image of another size is cut and resized, as `data pack` does; else such
            an image is an error, since it was not aligned for a network of that size.
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


def face_size(content, name):
    """(height, width) of an encoded image; raises InputError naming it."""
    try:
        width, height = image_header(content).size
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return height, width


def open_pair_sets(bins, images, pairs, size=None):
    """List of PairSet.

    Args:
        bins: paths of `.bin` files.
        images, pairs: folder of images and path of a list of pairs, see `read_pairs`, or None.
        size: height and width to cut and resize all images to, or None.

    Raises:
        InputError: no set, one of these two without the other, or files that cannot be read.
    """
    if bool(images) != bool(pairs) or not (bins or pairs):
        raise InputError("give --bin FILE ..., or --images FOLDER with --pairs FILE, or both")
    sets = [_of_bin(path, size) for path in bins]
    return sets + [_of_folder(images, pairs, size)] if pairs else sets


def _of_bin(path, size):
    images, issame = load_verification_set(path)
    return _pair_set(os.path.splitext(path)[0], images, issame, size)


def _of_folder(folder, pairs, size):
    listed = read_pairs(pairs, folder)
    paths = [path for _, both, _ in listed for path in both]
    return _pair_set(folder, paths, np.array([same for _, _, same in listed], bool), size)


def _pair_set(path, images, issame, size: Optional[int]):
    places = {}
    rows = np.array([places.setdefault(image, len(places)) for image in images], np.int64)
    first = images[0] if isinstance(images[0], str) else f"{path}: image 0"
    pixels = (size, size) if size else face_size(_content(images[0]), first)
    return PairSet(os.path.basename(os.path.abspath(path)), list(places), rows, issame, pixels, size is not None)


def _content(image):
    return image if isinstance(image, bytes) else read_image(image)
