"""The lists of IJB-B and IJB-C in InsightFace's package, beside its crops of the images."""

import os
from array import array
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ...data.images.align import align_face
from ...data.images.fit import decode_any, read_image
from ...errors import InputError
from ...files import file_state
from ...lists.names import check_path, find_path, name_key
from ...lists.numbers import number_rows
from ...lists.text import name_and_numbers, real_numbers, shown_text, text_lines, whole_numbers

_POINTS = (5, 2)
_LOWEST = -(10**18)  # of the numbers of templates and media


class FaceList(NamedTuple):
    """Images of a data set, with template and medium of each.

    Attributes:
        names: of the files of the loosely cropped images.
        landmarks: (n, 5, 2) float32, x and y in the image's pixels.
        scores: (n,) float32, the face detector's.
        template_ids: (t,) int64, ascending.
        templates: (n,) int64, places in `template_ids`.
        media: (n,) int64, numbers; images of a template with the same number are frames of one video.
    """

    names: List[str]
    landmarks: np.ndarray
    scores: np.ndarray
    template_ids: np.ndarray
    templates: np.ndarray
    media: np.ndarray


class AlignedFaces:
    """The images of a FaceList, aligned by their landmarks, see `image_source.Images`.

    Args:
        faces: FaceList.
        folder: of `loose_crop` with the images.
        size: height and width in pixels.
    """

    def __init__(self, faces: FaceList, folder: str, size: int):
        self._faces, self._folder = faces, os.path.join(folder, "loose_crop")
        self.lines: Sequence[str] = faces.names
        self.size = size, size

    def read(self, index: int) -> np.ndarray:
        """Image `index`, uint8 RGB (size, size, 3); raises InputError naming it."""
        path = self._path(index)
        try:
            bgr = decode_any(read_image(path))
            return np.ascontiguousarray(align_face(bgr, self._faces.landmarks[index], self.size[0])[..., ::-1])
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def states(self) -> Iterator[str]:
        """Length and time of change of each file, and the landmarks."""
        rows = range(len(self.lines))
        return (f"{file_state(self._path(row))} {self._faces.landmarks[row].tolist()}" for row in rows)

    def _path(self, index: int) -> str:
        return find_path(self._folder, self.lines[index])


class TemplatePairs(NamedTuple):
    """Pairs of templates to compare.

    Attributes:
        first, second: (p,) int32, places in `FaceList.template_ids`.
        issame: (p,) bool.
    """

    first: np.ndarray
    second: np.ndarray
    issame: np.ndarray


NO_PAIRS = TemplatePairs(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, bool))


def read_faces(folder: str, dataset: str) -> FaceList:
    """FaceList of `meta/ijbc_face_tid_mid.txt` and `meta/ijbc_name_5pts_score.txt` (or `ijbb_...`).

    A line of the first has image, number of the template, number of the medium; a line of the second has image,
    x1 y1 ... x5 y5, the detector's score. Both list the same images of `loose_crop` in the same order.

    Args:
        folder: of `meta`.
        dataset: IJBB or IJBC.

    Raises:
        InputError: naming file and line.
    """
    by_template, by_face = _path(folder, dataset, "face_tid_mid"), _path(folder, dataset, "name_5pts_score")
    names, numbers, lines = _names_and_numbers(by_template, 2, _signed, "q")
    also_names, faces, face_lines = _names_and_numbers(by_face, 11, real_numbers, "d")
    if names != also_names and list(map(name_key, names)) != list(map(name_key, also_names)):
        both = zip(map(name_key, names), map(name_key, also_names))
        row = next((row for row, (name, also) in enumerate(both) if name != also), None)
        where = " and"
        if row is not None:
            where = f", line {face_lines[row]}, and line {lines[row]} of"
        raise InputError(f"{by_face}{where} {by_template} differ: both must list the same images in the same order")
    landmarks = faces[:, :10].reshape(-1, *_POINTS).astype(np.float32)
    pointless = ~np.ptp(landmarks, axis=1).any(axis=1)
    if pointless.any():
        raise InputError(f"{by_face}, line {face_lines[int(np.argmax(pointless))]}: its five points are equal")
    ids, templates = np.unique(numbers[:, 0], return_inverse=True)
    return FaceList(names, landmarks, faces[:, 10].astype(np.float32), ids, templates, numbers[:, 1])


def read_pairs(folder: str, dataset: str, template_ids: np.ndarray) -> TemplatePairs:
    """TemplatePairs of `meta/ijbc_template_pair_label.txt` (or `ijbb_...`): lines of two templates, and 1 or 0.

    Args:
        folder, dataset: as for `read_faces`.
        template_ids: of FaceList.

    Raises:
        InputError: naming file and line.
    """
    path = _path(folder, dataset, "template_pair_label")
    parts = [(np.empty((0, 2), np.int32), np.empty(0, bool))]
    for lines, numbers in number_rows(path, 3, "the numbers of two templates, and 1 or 0"):
        parts.append(_checked_pairs(path, lines, numbers, template_ids))
    places = np.concatenate([part[0] for part in parts])
    if not len(places):
        raise InputError(f"{path}: has no pairs")
    return TemplatePairs(places[:, 0], places[:, 1], np.concatenate([part[1] for part in parts]))


def _path(folder: str, dataset: str, name: str) -> str:
    return os.path.join(folder, "meta", f"{dataset.lower()}_{name}.txt")


def _names_and_numbers(
    path: str, count: int, parse: Callable[[List[str]], List], typecode: str
) -> Tuple[List[str], np.ndarray, List[int]]:
    """First field of each line, the array (n, count) of the others, and the numbers of the lines."""
    names: List[str] = []
    lines: List[int] = []
    numbers: array = array(typecode)
    for line, text in text_lines(path):
        try:
            name, row = name_and_numbers(text, count, parse)
        except ValueError as error:
            raise InputError(
                f"{path}, line {line}: expected the name of an image and {count} numbers, found {shown_text(text)}"
            ) from error
        names.append(check_path(name, f"{path}, line {line}"))
        numbers.extend(row)
        lines.append(line)
    if not names:
        raise InputError(f"{path}: is empty")
    return names, np.frombuffer(numbers, typecode).reshape(-1, count), lines


def _signed(fields: List[str]) -> List[int]:
    return whole_numbers(fields, _LOWEST)


def _checked_pairs(
    path: str, lines: Sequence[int], numbers: np.ndarray, template_ids: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Places (m, 2) int32 of the templates, and whether they are of the same person, (m,) bool."""
    places = np.searchsorted(template_ids, numbers[:, :2]).clip(max=len(template_ids) - 1)
    known = (template_ids[places] == numbers[:, :2]).all(axis=1)
    labelled = np.isin(numbers[:, 2], (0, 1))
    for right, what in ((known, "one of its templates has no images"), (labelled, "the third number is not 1 or 0")):
        if not right.all():
            raise InputError(f"{path}, line {lines[int(np.argmin(right))]}: {what}")
    return places.astype(np.int32), numbers[:, 2] == 1
