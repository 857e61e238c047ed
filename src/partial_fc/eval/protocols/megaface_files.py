"""Files of MegaFace's development kit: features of an image, lists of images.

A file of features is a matrix of OpenCV: four int32 (rows, columns, bytes from one row to the next, type) and the rows.
A feature of D numbers has D rows and one column, as the kit's scripts/matio.py writes it.
"""

import json
import logging
import os
import struct
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ...data.parallel import ordered_map
from ...data.progress import progress
from ...errors import InputError
from ...files import atomic_path, parse_json, read_file, refuse_pointer
from ...lists.names import check_path, find_path, new_path
from ...lists.text import read_text
from .noise_lists import noise_among
from .unit_features import unit_rows

log = logging.getLogger("partial_fc")

_HEADER = struct.Struct("<4i")
_TYPES: Dict[int, np.dtype] = {5: np.dtype("<f4"), 6: np.dtype("<f8")}  # OpenCV's CV_32F, CV_64F
_ROWS_AT_ONCE = 1024
_LONGEST_FEATURE = 2**20  # bytes of a file
_MOST_JSON = 2**28  # characters; the list of the million distractors has 60 MB
_THREADS = 8  # they mostly wait for the disk


class TemplateList(NamedTuple):
    """Paths of images, relative to the folder of all, and the identity of each."""

    paths: List[str]
    identities: List[str]


def read_template_list(path: str) -> TemplateList:
    """TemplateList of a JSON file of the kit: `path` and `id`; without `id`, the folder of a path is the identity.

    Raises:
        InputError: it cannot be read, has another form, or has a path that leads out of the folder.
    """
    try:
        content = parse_json(read_text(path, _MOST_JSON))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as a list of templates: {error}") from error
    paths = content.get("path") if isinstance(content, dict) else None
    if not isinstance(paths, list) or not paths or not all(isinstance(each, str) for each in paths):
        raise InputError(f'{path}: expected {{"path": [...], "id": [...]}} with the paths of images')
    for number, each in enumerate(paths, start=1):
        check_path(each, f"{path}: entry {number}")
    identities = content.get("id", [each.replace("\\", "/").rpartition("/")[0] for each in paths])
    if not isinstance(identities, list) or len(identities) != len(paths):
        raise InputError(f'{path}: "id" is not a list of {len(paths)} identities, as many as "path" has')
    if not {type(each) for each in identities} <= {str, int, float}:
        raise InputError(f'{path}: "id" has values that are neither texts nor numbers')
    return TemplateList(paths, [str(each) for each in identities])


def write_template_list(path: str, templates: TemplateList) -> None:
    """Write a TemplateList in the kit's form. Raises OSError naming the file."""
    with atomic_path(path) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        json.dump({"id": templates.identities, "path": templates.paths}, file)


def open_template_list(path: str, noises: Optional[str] = None) -> TemplateList:
    """TemplateList of a JSON file, without the images that the file `noises` lists, see `noise_among`.

    Raises:
        InputError: see `read_template_list`, `noise_among`; all images are noise.
    """
    templates = read_template_list(path)
    if not noises:
        return templates
    noise = noise_among(templates.paths, noises)
    kept = [place for place in range(len(templates.paths)) if place not in noise]
    if not kept:
        raise InputError(f"{noises}: all {len(templates.paths)} images of {path} are noise")
    log.info("%s: %d of %d images are noise", path, len(noise), len(templates.paths))
    return TemplateList([templates.paths[place] for place in kept], [templates.identities[place] for place in kept])


def read_feature(path: str) -> np.ndarray:
    """(D,) float array of a file of features.

    Raises:
        InputError: it cannot be read, is cut off, or does not hold one feature.
    """
    refuse_pointer(path)
    try:
        content = read_file(path, _LONGEST_FEATURE)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) < _HEADER.size:
        raise InputError(f"{path}: {len(content)} bytes are too few for a matrix of OpenCV")
    rows, columns, step, kind = _HEADER.unpack_from(content)
    if kind not in _TYPES or min(rows, columns) != 1 or step != columns * _TYPES[kind].itemsize:
        raise InputError(
            f"{path}: a matrix of {rows} x {columns} of OpenCV's type {kind}, {step} bytes per row: expected one "
            "column of float32 or float64 (types 5, 6)"
        )
    if len(content) != _HEADER.size + rows * step:
        raise InputError(f"{path}: has {len(content)} bytes, {rows} x {columns} need {_HEADER.size + rows * step}")
    return np.frombuffer(content, _TYPES[kind], offset=_HEADER.size)


def write_feature(path: str, feature: np.ndarray) -> None:
    """Write (D,) float32 as a file of features; missing folders are made. Raises OSError naming the file."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with atomic_path(path, synced=False) as unfinished, open(unfinished, "wb") as file:
        file.write(_HEADER.pack(len(feature), 1, 4, 5) + np.asarray(feature, "<f4").tobytes())


class FeatureFolder:
    """Files of features as a matrix (n, D); rows are read from the files whenever they are sliced.

    Args:
        folder: of the files.
        paths: of the images.
        ending: that is appended to an image's path, such as `_r100.bin`.

    Attributes:
        shape: (n, D); D is that of the first file.

    Raises:
        InputError: the first file cannot be read.
    """

    def __init__(self, folder: str, paths: Sequence[str], ending: str):
        self._folder, self._files = folder, [path + ending for path in paths]
        self.shape = len(paths), len(read_feature(find_path(folder, self._files[0])))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.stack(list(ordered_map(self._read, self._files[rows], _THREADS)))

    def _read(self, name: str) -> np.ndarray:
        path = find_path(self._folder, name)
        feature = read_feature(path)
        if len(feature) != self.shape[1]:
            raise InputError(f"{path}: has {len(feature)} numbers, {self._files[0]} has {self.shape[1]}")
        return feature


def write_for_kit(
    folder: str, lists: Tuple[TemplateList, TemplateList], features: Sequence[np.ndarray], ending: str
) -> None:
    """Write normalized features, and lists, as the kit's run_experiment.py reads them.

    Args:
        folder: of the new files: `facescrub/PATH` and `megaface/PATH`, each with `ending`, and in `templatelists`
            `facescrub_features_list.json` and `megaface_features_list.json_N_1` of the N distractors (`-s N`).
        lists: of probes and distractors.
        features: of both, (n, D) and (m, D).
        ending: of the names of files of features.

    Raises:
        InputError: a path, or a link on its way, leads out of the folder, see `new_path`.
    """
    probes, distractors = lists
    names = "facescrub_features_list.json", f"megaface_features_list.json_{len(distractors.paths)}_1"
    os.makedirs(os.path.join(folder, "templatelists"), exist_ok=True)
    for name, templates, matrix in zip(names, lists, features):
        kind = name.partition("_")[0]
        for start in progress(range(0, len(matrix), _ROWS_AT_ONCE), f"batches of {_ROWS_AT_ONCE} features"):
            rows = slice(start, start + _ROWS_AT_ONCE)
            for path, feature in zip(templates.paths[rows], unit_rows(matrix[rows], kind, start)):
                write_feature(new_path(folder, f"{kind}/{check_path(path, kind)}{ending}"), feature)
        write_template_list(os.path.join(folder, "templatelists", name), templates)
