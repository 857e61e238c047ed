"""Alignment of faces: turned, scaled and moved so that eyes, nose and mouth lie where networks expect them."""

import hashlib
import os
from array import array

import cv2
import numpy as np

from ...errors import InputError
from ...lists.names import Names
from ...lists.text import name_and_numbers, real_numbers, shown_text, text_lines

# Where images of 112 x 112 pixels have left eye, right eye, nose, left and right corner of the mouth (x, y).
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_TEMPLATE_SIZE = 112
_NUMBERS = TEMPLATE.size


class Landmarks:
    """Five points of each face, read from a text file.

    A line has the path of an image and x1 y1 ... x5 y5: left eye, right eye, nose, left and right corner of the mouth
    as seen in the image, in its pixels. Tabs separate, or commas, or spaces; see `text_lists`.

    Args:
        path: of the file.

    Attributes:
        digest: of the file's lines, hexadecimal.

    Raises:
        InputError: a file that cannot be read; with the line's number, a line of another form or an image twice.
    """

    def __init__(self, path):
        self._path, self._rows, self._numbers = path, {}, array("d")
        digest = hashlib.sha256()
        for number, line in text_lines(path, f"--landmarks {path}"):
            digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
            self._add(number, line)
        self._names, self.digest = Names(self._rows), digest.hexdigest()

    def of(self, image):
        """(5, 2) float64 points (x, y) of an image, given by its path as in the file.

        Raises:
            InputError: the file lacks the image, or its points are all the same.
        """
        row = self._rows.get(self._names.find(image))
        if row is None:
            raise InputError(f"{self._path} has no line for it")
        points = np.array(self._numbers[row * _NUMBERS : (row + 1) * _NUMBERS]).reshape(TEMPLATE.shape)
        if not np.ptp(points, axis=0).any():
            raise InputError(f"its points in {self._path} are all the same")
        return points

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


def similarity_transform(points, size):
    """The rotation, uniform scale and translation that bring points closest to the template, by least squares.

    Args:
        points: (5, 2) float, x and y; not all the same.
        size: height and width of the image that the template is scaled to.

    Returns:
        (2, 3) float64 matrix that takes (x, y, 1) to the place in the new image.
    """
    # With points as complex numbers, such a transformation is a product and a sum; least squares have a closed form.
    old = np.asarray(points, np.float64) @ [1, 1j]
    new = TEMPLATE @ [1, 1j] * size / _TEMPLATE_SIZE
    centered = old - old.mean()
    turn = np.vdot(centered, new - new.mean()) / np.vdot(centered, centered).real
    shift = new.mean() - turn * old.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align_face(image, points, size):
    """The face at `points`, aligned; black where it reaches over the edge of the image.

    Args:
        image: uint8 (height, width, channels).
        points: (5, 2) float, x and y, see `Landmarks`.
        size: height and width of the result.

    Returns:
        uint8 (size, size, channels).

    Raises:
        InputError: OpenCV cannot warp an image of that size.
    """
    try:
        return cv2.warpAffine(image, similarity_transform(points, size), (size, size), borderValue=0)
    except cv2.error as error:
        raise InputError(f"cannot be aligned: {error.err}") from error
