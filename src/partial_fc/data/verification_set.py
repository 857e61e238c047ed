"""InsightFace's verification sets: `.bin` files, each a pickle of `(bins, issame_list)`.

`bins` holds two encoded images per pair, in the order of the pairs; `issame_list` says for each pair whether both
images show the same person.
"""

import os
import pickle
from typing import List, NamedTuple, Sequence, Union

import numpy as np

from ..errors import InputError
from ..files import atomic_path, refuse_pointer
from .safe_pickle import PickledArray, load_plain


class VerificationSet(NamedTuple):
    """Pairs of images.

    Attributes:
        images: 2P encoded images, those of pair p at 2p and 2p + 1.
        issame: bool (P,).
    """

    images: List[bytes]
    issame: np.ndarray


def verification_file(name: str) -> str:
    """Name of the file of the verification set `name`; raises InputError if the name has folders."""
    if os.path.basename(name) != name or not name:
        raise InputError(f"--name {name}: expected a name without folders")
    return f"{name}.bin"


def load_verification_set(path: str) -> VerificationSet:
    """Read a verification set, pickled by Python 2 or 3; nothing in the file is executed.

    Raises:
        InputError: the file is damaged, its pickle needs names that plain data does not need, or it does not hold two
            images per pair and at least one pair; the message names the file, and the image or pair.
        OSError: it cannot be read.
    """
    refuse_pointer(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        content = load_plain(data)
        if not isinstance(content, (list, tuple)) or len(content) != 2:
            raise ValueError("it does not hold (images, issame)")
        images, issame = content
        if not isinstance(images, (list, tuple)):
            raise ValueError("its images are not a list")
        return _checked([_image_bytes(image) for image in images], _answers(issame, len(images)))
    except ValueError as error:
        kind = "a .bin as InsightFace or `partial-fc data pairs` writes it"
        raise InputError(f"{path}: not a readable verification set, {kind}: {error}") from error


def save_verification_set(path: str, images: Sequence[bytes], issame: Union[Sequence[bool], np.ndarray]) -> None:
    """Write a verification set in InsightFace's format, whole or not at all.

    Args:
        path: of the file.
        images: 2P encoded images, those of pair p at 2p and 2p + 1.
        issame: (P,) bool.

    Raises:
        InputError: as `load_verification_set`.
        OSError: the file cannot be written; the error names it.
    """
    try:
        content = _checked(list(images), np.atleast_1d(issame).tolist())
    except ValueError as error:
        raise InputError(f"{path}: not written: {error}") from error
    # Protocol 4 stores bytes as they are and is read by every Python since 3.4.
    with atomic_path(path) as unfinished, open(unfinished, "wb") as file:
        pickle.dump((content.images, content.issame.tolist()), file, protocol=4)


def _checked(images, issame):
    if not issame or len(images) != 2 * len(issame):
        raise ValueError(f"{len(images)} images for {len(issame)} pairs: expected two per pair, and at least one pair")
    for index, image in enumerate(images):
        if not isinstance(image, bytes) or not image:
            raise ValueError(f"image {index} is empty or not bytes")
    for pair, same in enumerate(issame):
        if same not in (0, 1):
            raise ValueError(f"pair {pair}: issame is neither true nor false")
    return VerificationSet(images, np.array(issame, dtype=bool))


def _answers(value, num_images):
    """issame as a list; an array is converted only if it has the right length."""
    if isinstance(value, PickledArray):
        array = value.numpy()
        if 2 * len(array) != num_images:
            raise ValueError(
                f"{num_images} images for {len(array)} pairs: expected two per pair, and at least one pair"
            )
        return array.tolist()
    if not isinstance(value, (list, tuple)):
        raise ValueError("issame is not a list")
    return list(value)


def _image_bytes(image):
    if not isinstance(image, PickledArray):
        return image
    if image.dtype != np.uint8:
        raise ValueError("an image is a NumPy array of another type than uint8")
    # The pickled bytes themselves: many references to one array must not become many copies.
    return image.data
