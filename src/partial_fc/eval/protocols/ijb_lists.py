"""The lists of IJB-B and IJB-C that InsightFace's evaluation reads, and that come with its crops of the images."""

import os
from array import array
from typing import List, NamedTuple

import numpy as np

from ...data.images.align import align_face
from ...data.images.fit import decode_any, read_image
from ...errors import InputError
from ...lists.names import check_path, find_path, name_key
from ...lists.numbers import number_rows
from ...lists.text import name_and_numbers, real_numbers, shown_text, text_lines, whole_numbers
from ..image_source import file_state

_POINTS = (5, 2)
_LOWEST = -(10**18)  # of the numbers of templates and media


class FaceList(NamedTuple):
    """The images of a data set, and the template and medium that each belongs to.

    Attributes:
        names: of the files of the loosely cropped images.
        landmarks: (n, 5, 2) float32, x and y in the image's pixels.
        scores: (n,) float32, the face detector's.
        template_ids: (t,) int64, ascending.
        templates: (n,) int64, places in `template_ids`.
        media: (n,) int64, numbers; a template's images of the same number are frames of one video.
    """

    names: List[str]
    landmarks: np.ndarray
    scores: np.ndarray
    template_ids: np.ndarray
    templates: np.ndarray
    media: np.ndarray


class AlignedFaces:
    """The images of a FaceList, aligned, as `embed` takes them.

    Args:
        faces: FaceList.
        folder: has `loose_crop` with the images.
        size: height and width in pixels.
    """

    def __init__(self, faces, folder, size):
        self._faces, self._folder = faces, os.path.join(folder, "loose_crop")
        self.lines, self.size = faces.names, (size, size)

    def read(self, index):
        """Image `index`, uint8 RGB (size, size, 3); raises InputError naming it."""
        path = self._path(index)
        try:
            bgr = decode_any(read_image(path))
            return np.ascontiguousarray(align_face(bgr, self._faces.landmarks[index], self.size[0])[..., ::-1])
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def states(self):
        """What the images depend on, str, one by one."""
        rows = range(len(self.lines))
        return (f"{file_state(self._path(row))} {self._faces.landmarks[row].tolist()}" for row in rows)

    def _path(self, index):
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


def read_faces(folder, dataset):
    """FaceList of `meta/ijbc_face_tid_mid.txt` and `meta/ijbc_name_5pts_score.txt` (or `ijbb_...`).

    A line of the first: image, number of the template, of the medium; of the second: image, x1 y1 ... x5 y5, the
    detector's score. Both list the same images in the same order, which lie in `loose_crop`.

    Args:
        folder: has `meta`.
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
        where = ": has not as many lines as"
        if row is not None:
            where = f", line {face_lines[row]}: is of another image than line {lines[row]} of"
        raise InputError(f"{by_face}{where} {by_template}: both have to list the same images in the same order")
    landmarks = faces[:, :10].reshape(-1, *_POINTS).astype(np.float32)
    pointless = ~np.ptp(landmarks, axis=1).any(axis=1)
    if pointless.any():
        raise InputError(f"{by_face}, line {face_lines[int(np.argmax(pointless))]}: its five points are all the same")
    ids, templates = np.unique(numbers[:, 0], return_inverse=True)
    return FaceList(names, landmarks, faces[:, 10].astype(np.float32), ids, templates, numbers[:, 1])


def read_pairs(folder, dataset, template_ids):
    """TemplatePairs of `meta/ijbc_template_pair_label.txt` (or `ijbb_...`): two templates, and 1 for the same person.

    Args:
        folder, dataset: as of `read_faces`.
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


def _path(folder, dataset, name):
    return os.path.join(folder, "meta", f"{dataset.lower()}_{name}.txt")


def _names_and_numbers(path, count, parse, typecode):
    """First field of each line, the array (n, count) of the others, and the numbers of the lines."""
    names, numbers, lines = [], array(typecode), []
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


def _signed(fields):
    return whole_numbers(fields, _LOWEST)


def _checked_pairs(path, lines, numbers, template_ids):
    """Places (m, 2) int32 of the templates, and (m,) bool."""
    places = np.searchsorted(template_ids, numbers[:, :2]).clip(max=len(template_ids) - 1)
    known = (template_ids[places] == numbers[:, :2]).all(axis=1)
    labelled = np.isin(numbers[:, 2], (0, 1))
    for right, what in ((known, "one of its templates has no images"), (labelled, "neither 1 nor 0 stands third")):
        if not right.all():
            raise InputError(f"{path}, line {lines[int(np.argmin(right))]}: {what}")
    return places.astype(np.int32), numbers[:, 2] == 1
