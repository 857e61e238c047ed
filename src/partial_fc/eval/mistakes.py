"""Pairs of faces that a model judges wrongly: a list, and their pictures."""

import csv
import logging
import os
import re
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from ..data.progress import progress
from ..files import atomic_path, has_ending, write_json
from .output import csv_cell

log = logging.getLogger("partial_fc")

MISTAKES, SCORES, WORST, THRESHOLD = "mistakes.csv", "scores.csv", "worst.png", "threshold.json"
COLUMNS = ("fold", "index", "same", "score", "threshold", "left", "right")
_PICTURE = re.compile(r"[0-9]{5,}-(left|right)\.png")
_ON_THE_SHEET = 10  # mistakes of each kind
_AT_ONCE = 2**16
_SHOWN = 70  # characters of a name on the sheet


class Verdicts(NamedTuple):
    """How the pairs of a set were judged.

    Attributes:
        issame: (P,) bool, whether both images show the same person.
        scores: (P,) float, cosines.
        folds: (P,) int, from 0 on.
        thresholds: (P,) float, the cosine above which a pair was taken for the same person.
        wrong: (P,) bool.
        threshold: that of all pairs, the mean of the folds' thresholds.
        accepts_equal: whether a pair whose score is the threshold was taken for the same person, too.
    """

    issame: np.ndarray
    scores: np.ndarray
    folds: np.ndarray
    thresholds: np.ndarray
    wrong: np.ndarray
    threshold: float
    accepts_equal: bool

    def mistakes(self) -> np.ndarray:
        """(m,) int64: places of the wrong pairs, those whose scores are farthest from the threshold first."""
        places = np.flatnonzero(self.wrong)
        return places[np.argsort(-np.abs(self.scores[places] - self.thresholds[places]), kind="stable")]


Names = Callable[[int], Tuple[str, str]]
Read = Callable[[int], Tuple[np.ndarray, np.ndarray]]


def is_list(path: str) -> bool:
    """Whether `write_mistakes` writes only a list to this path, whose name ends in `.csv`, and no folder."""
    return has_ending(path, ".csv") and not os.path.isdir(path)


def write_mistakes(path: str, verdicts: Verdicts, names: Names, read: Read) -> None:
    """Write all wrong pairs to `path`, FILE.csv; or to a folder, which is made, with pictures and all scores.

    The folder gets `mistakes.csv`; `scores.csv` with the scores of all pairs, and `threshold.json`; `NNNNN-left.png`
    and `NNNNN-right.png` of each wrong pair, NNNNN being its index; and `worst.png`, a sheet of the worst ones. Files
    of an earlier run are removed.

    Args:
        path: of the file or folder.
        verdicts: of the pairs.
        names: function from the index of a pair to the names of its images.
        read: function from the index of a pair to its images, uint8 RGB (H, W, 3).

    Raises:
        InputError: an image cannot be read.
        OSError: naming what cannot be written.
    """
    mistakes = verdicts.mistakes()
    if is_list(path):
        _write_csv(path, COLUMNS, _rows(verdicts, mistakes, names))
    else:
        _write_folder(path, verdicts, mistakes, names, read)
    log.info("wrote %d wrong pairs of %d to %s", len(mistakes), len(verdicts.wrong), path)


def _write_folder(path: str, verdicts: Verdicts, mistakes: np.ndarray, names: Names, read: Read) -> None:
    os.makedirs(path, exist_ok=True)
    _remove_earlier(path)
    _write_csv(os.path.join(path, MISTAKES), COLUMNS, _rows(verdicts, mistakes, names))
    for index in progress(mistakes.tolist(), "wrong pairs"):
        for side, image in zip(("left", "right"), read(index)):
            _write_png(os.path.join(path, f"{index:05d}-{side}.png"), image)
    _write_csv(os.path.join(path, SCORES), ("index", "same", "score"), _scores(verdicts))
    judged_by = {"threshold": verdicts.threshold, "accepts_equal": verdicts.accepts_equal}
    write_json(os.path.join(path, THRESHOLD), judged_by)
    if len(mistakes):
        _draw_worst(os.path.join(path, WORST), verdicts, names, read)


def _rows(verdicts: Verdicts, mistakes: np.ndarray, names: Names) -> Iterable[Sequence[Any]]:
    for index in mistakes.tolist():
        numbers = (float(each[index]) for each in (verdicts.scores, verdicts.thresholds))
        yield int(verdicts.folds[index]), index, int(verdicts.issame[index]), *numbers, *names(index)


def _scores(verdicts: Verdicts) -> Iterator[Sequence[Any]]:
    for start in range(0, len(verdicts.scores), _AT_ONCE):  # IJB-C has 15 million
        same, scores = (each[start : start + _AT_ONCE].tolist() for each in (verdicts.issame, verdicts.scores))
        yield from zip(range(start, start + len(same)), map(int, same), scores)


def _draw_worst(path: str, verdicts: Verdicts, names: Names, read: Read) -> None:
    """Write a PNG with the worst false accepts on the left, and the worst false rejects on the right."""
    from ..pictures.sheet import Panel, draw_sheet  # matplotlib takes a while to load

    mistakes, panels = verdicts.mistakes(), []
    for same, title in ((False, "different people, accepted"), (True, "the same person, rejected")):
        kind = mistakes[verdicts.issame[mistakes] == same]
        worst = kind[:_ON_THE_SHEET].tolist()
        texts = [[_score(verdicts, each), *map(_end, names(each))] for each in worst]
        panels.append(Panel(f"{title}: {len(worst)} of {len(kind):,}", map(read, worst), texts, 2))
    draw_sheet(path, panels)


def _score(verdicts: Verdicts, index: int) -> str:
    return f"{index:05d}: {verdicts.scores[index]:.3f}, threshold {verdicts.thresholds[index]:.3f}"


def _end(name: str) -> str:
    return name if len(name) <= _SHOWN else "..." + name[-_SHOWN:]


def _remove_earlier(folder: str) -> None:
    """Remove the files of an earlier run, the list last, because the list marks a folder that this module wrote."""
    if os.path.exists(os.path.join(folder, MISTAKES)):
        pictures = [name for name in os.listdir(folder) if _PICTURE.fullmatch(name)]
        for name in [*pictures, SCORES, WORST, THRESHOLD, MISTAKES]:
            if os.path.lexists(os.path.join(folder, name)):
                os.remove(os.path.join(folder, name))


def _write_png(path: str, rgb: np.ndarray) -> None:
    encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    with atomic_path(path, synced=False) as unfinished, open(unfinished, "wb") as file:
        file.write(encoded.tobytes())


def _write_csv(path: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_path(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(map(csv_cell, row) for row in rows)
