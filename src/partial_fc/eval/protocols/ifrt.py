"""InsightFace's IFRT: all images of a group against all others of it, and of all groups (ALL).

Source: InsightFace, challenges/IFRT: "TAR is measured on all-to-all 1:1 protocol, with FAR less than 1e-6"; African
against African only, and so on; ALL also has the pairs of different groups. Each unordered pair of two different images
counts once. (The numbers of negative pairs given there count both orders, which changes no rate.)
"""

import contextlib
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ...data.progress import progress
from ...errors import InputError
from ..output import Result
from ..roc import ScoreCounts, histogram_of_counts, roc_of_counts, tar_figures
from .score_blocks import ROWS, map_scores
from .unit_features import UnitFeatures

GROUPS = ("African", "Caucasian", "Indian", "Asian")
ALL = "ALL"
FARS = (1e-6, 1e-5, 1e-4)

Span = Tuple[int, int]  # first row and the end of a block


class ImageGroups(NamedTuple):
    """Person and group of each row of the features.

    Attributes:
        names: of the groups, those of IFRT first.
        groups: (n,) int64, places in `names`.
        identities: (n,) int64, numbers of people; nobody is in two groups.
    """

    names: List[str]
    groups: np.ndarray
    identities: np.ndarray


def image_groups(paths: Sequence[str], name: str) -> ImageGroups:
    """ImageGroups of paths GROUP/IDENTITY/IMAGE; folders above these are ignored.

    Args:
        paths: of the images.
        name: of the list, for messages.

    Raises:
        InputError: naming the image, for a path of another form.
    """
    groups = {group: place for place, group in enumerate(GROUPS)}
    identities: Dict[Tuple[int, str], int] = {}
    of_image = np.empty((len(paths), 2), np.int64)
    for row, path in enumerate(paths):
        parts = path.strip().replace("\\", "/").split("/")[-3:]
        if len(parts) != 3 or not all(parts) or parts[0] == ALL:
            raise InputError(f"{name}: image {row + 1}, {path!r}, is not GROUP/IDENTITY/IMAGE")
        group = groups.setdefault(parts[0], len(groups))
        of_image[row] = group, identities.setdefault((group, parts[1]), len(identities))
    return ImageGroups(list(groups), of_image[:, 0], of_image[:, 1])


def count_pairs(
    features: UnitFeatures, images: ImageGroups, block_rows: int = ROWS, num_workers: int = 0
) -> Dict[str, List[ScoreCounts]]:
    """Numbers of pairs by cosine, in each group and over all images.

    Args:
        features: of the images.
        images: their people and groups.
        block_rows: maximum number of images to compare at once with as many others.
        num_workers: threads; 0: as many as usable cores.

    Returns:
        For each group, and ALL, two ScoreCounts: of the pairs of the same person, and of different people.
    """
    order = np.lexsort((images.identities, images.groups))  # a person's images are neighbours
    groups = images.groups[order]
    run_ends = _run_ends(images.identities[order])
    blocks = _blocks(groups, block_rows)
    counts = {name: [ScoreCounts(), ScoreCounts()] for name in [*images.names, ALL]}

    def couples() -> Iterator[Tuple[np.ndarray, np.ndarray, Span, Span]]:
        for number, (start, stop) in enumerate(blocks):
            left = features.rows(order[start:stop])
            for other in blocks[number:]:
                right = left if other[0] == start else features.rows(order[slice(*other)])
                yield left, right, (start, stop), other

    def count(scores: np.ndarray, rows: Span, columns: Span) -> Tuple[Span, Span, Tuple[ScoreCounts, ScoreCounts]]:
        return rows, columns, _count(scores, run_ends, rows[0], columns[0])

    total = len(blocks) * (len(blocks) + 1) // 2
    with contextlib.closing(map_scores(count, couples(), num_workers)) as counted:
        for rows, columns, both in progress(counted, "blocks of scores", total):
            group, other = groups[rows[0]], groups[columns[0]]
            for name in [images.names[group], ALL] if group == other else [ALL]:
                for kind, part in zip(counts[name], both):
                    kind.counts += part.counts
    return counts


def ifrt_result(counts: Dict[str, List[ScoreCounts]], model: str, settings: Optional[Dict[str, Any]] = None) -> Result:
    """Result of the counts of `count_pairs`; groups without pairs are left out.

    Figures: for each group TAR at FAR 1e-6, 1e-5, 1e-4, and the numbers of pairs.

    Raises:
        InputError: there are no pairs.
    """
    counts = {name: both for name, both in counts.items() if any(kind.total for kind in both)}
    if not counts:
        raise InputError(f"{model}: a single image makes no pairs")
    figures: Dict[str, Dict[str, Any]] = {}
    curves, histograms = {}, {}
    for name, (genuine, impostor) in counts.items():
        roc = roc_of_counts(genuine, impostor)
        figures[name] = tar_figures(roc, FARS, f"{model}, {name}")
        curves[name], histograms[name] = roc.curve(), histogram_of_counts(genuine, impostor)
    for name, both in counts.items():
        figures[f"{name} pairs"] = dict(zip(("same", "different"), (kind.total for kind in both)))
    groups = {name: {"tar": figures[name], "pairs": figures[f"{name} pairs"]} for name in counts}
    return Result("ifrt", "IFRT", model, figures, curves, histograms, settings or {}, groups)


def _blocks(groups: np.ndarray, block_rows: int) -> List[Span]:
    """Blocks of rows; none has rows of two groups."""
    edges = np.flatnonzero(np.diff(groups)) + 1
    blocks: List[Span] = []
    for start, stop in zip([0, *edges], [*edges, len(groups)]):
        blocks += [(first, min(first + block_rows, stop)) for first in range(start, stop, block_rows)]
    return blocks


def _run_ends(identities: np.ndarray) -> np.ndarray:
    """(n,) int64: for each row the end of the run of rows of its identity."""
    edges = np.append(np.flatnonzero(np.diff(identities)) + 1, len(identities))
    return np.repeat(edges, np.diff(edges, prepend=0))


def _count(scores: np.ndarray, run_ends: np.ndarray, row: int, column: int) -> Tuple[ScoreCounts, ScoreCounts]:
    """ScoreCounts of the pairs of the same person and of different people in a block that begins at `row`, `column`.

    All pairs are counted, and those of the same person subtracted.
    """
    num_columns = scores.shape[1]
    same = [
        scores[place, max(row + place + 1 - column, 0) : run_ends[row + place] - column]
        for place in range(len(scores))
        if run_ends[row + place] > column
    ]
    genuine = ScoreCounts.of(np.concatenate([np.empty(0, np.float32), *same]))
    if row == column:  # each pair once, and no image with itself
        scores = np.concatenate([scores[place, place + 1 :] for place in range(num_columns)])
    return genuine, ScoreCounts.of(scores) - genuine
