"""Alignment of faces: rotated, scaled and moved so that eyes, nose and mouth lie where networks expect them."""

import hashlib
import os
from array import array
from typing import Dict, Optional

import cv2
import numpy as np

from ...errors import InputError
from ...lists.names import Names
from ...lists.text import name_and_numbers, real_numbers, shown_text, text_lines

# (x, y) of left eye, right eye, nose, left and right corner of the mouth in aligned images of 112 x 112 pixels.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_TEMPLATE_SIZE = 112
_NUMBERS = TEMPLATE.size


class Landmarks:
    """Five points of each face, from a text file.

    A line has the path of an image and x1 y1 ... x5 y5: left eye, right eye, nose, left and right corner of the mouth
    as seen in the image, in its pixels, separated by tabs, commas or spaces; see `lists.text`.

    Args:
        path: of the file.

    Attributes:
        digest: SHA-256 of the lines, hexadecimal.

    Raises:
        InputError: the file cannot be read, a line has another form, or an image has two lines; the message
                names the line.
    """

    def __init__(self, path: str) -> None:
        self._path, self._numbers = path, array("d")
        self._rows: Dict[str, int] = {}
        digest = hashlib.sha256()
        for number, line in text_lines(path, f"--landmarks {path}"):
            digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
            self._add(number, line)
        self._names, self.digest = Names(self._rows), digest.hexdigest()

    def __contains__(self, image: str) -> bool:
        """Whether the file has a line for the image at a path."""
        return self._find(image) is not None

    def of(self, image: str) -> np.ndarray:
        """Points (x, y) of the image at a path, (5, 2) float64.

        Raises:
            InputError: the file has no line for the image, or all of its points are the same.
        """
        name = self._find(image)
        if name is None:
            raise InputError(f"{self._path} has no line for it")
        row = self._rows[name]
        points = np.array(self._numbers[row * _NUMBERS : (row + 1) * _NUMBERS]).reshape(TEMPLATE.shape)
        if not np.ptp(points, axis=0).any():
            raise InputError(f"its points in {self._path} are all the same")
        return points

    def _find(self, image: str) -> Optional[str]:
        return self._names.find(os.path.normpath(image))

    def _add(self, number, line):
        try:
            image, numbers = name_and_numbers(line, _NUMBERS, real_numbers)
        except ValueError as error:
            raise InputError(
                f"{self._path}, line {number}: expected the path of an image and {_NUMBERS} numbers, x1 y1 ... x5 y5, "
                f"separated by tabs, commas or spaces, found {shown_text(line)}"
            ) from error
        if self._rows.setdefault(os.path.normpath(image), len(self._rows)) != len(self._numbers) // _NUMBERS:
            raise InputError(f"{self._path}, line {number}: {image} has a line already")
        self._numbers.extend(numbers)


def similarity_transform(points: np.ndarray, size: int) -> np.ndarray:
    """Rotation, uniform scale and translation that bring points closest to the template, by least squares.

    Args:
        points: (5, 2) float, (x, y); not all the same.
        size: height and width, in pixels, of the aligned image.

    Returns:
        (2, 3) float64 matrix that maps (x, y, 1) to (x, y) in the aligned image.
    """
    # With points as complex numbers the transformation is turn * z + shift: linear, with a closed form.
    old = np.asarray(points, np.float64) @ [1, 1j]
    new = TEMPLATE @ [1, 1j] * size / _TEMPLATE_SIZE
    centered = old - old.mean()
    turn = np.vdot(centered, new - new.mean()) / np.vdot(centered, centered).real
    shift = new.mean() - turn * old.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align_face(image: np.ndarray, points: np.ndarray, size: int) -> np.ndarray:
    """The face at `points`, aligned; black where the result reaches beyond the image.

    Args:
        image: uint8 (height, width, channels).
        points: (5, 2) float, (x, y), see `Landmarks`.
        size: height and width of the result, in pixels.

    Returns:
        uint8 (size, size, channels).

    Raises:
        InputError: OpenCV cannot warp an image of that size.
    """
    try:
        return cv2.warpAffine(image, similarity_transform(points, size), (size, size), borderValue=(0, 0, 0))
    except cv2.error as error:
        raise InputError(f"cannot be aligned: {error.err}") from error
