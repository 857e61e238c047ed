"""InsightFace's IFRT: all images of a group against all others of it, and of all groups (ALL).

Source: InsightFace, challenges/IFRT: "TAR is measured on all-to-all 1:1 protocol, with FAR less than 1e-6"; African
against African only, and so on; ALL has the pairs of different groups as well. Each unordered pair of two different
images counts once. (To count each in both orders, as the numbers of negative pairs given there do, changes no rate.)
"""

import contextlib
from typing import List, NamedTuple

import numpy as np

from ...data.progress import progress
from ...errors import InputError
from ..output import Result
from ..roc import ScoreCounts, roc_of_counts
from .accept_rates import roc_curve, score_histogram, tar_figures
from .score_blocks import ROWS, map_scores

GROUPS = ("African", "Caucasian", "Indian", "Asian")
ALL = "ALL"
FARS = (1e-6, 1e-5, 1e-4)


class ImageGroups(NamedTuple):
    """Whose image is in which row of the features, and to which group the person belongs.

    Attributes:
        names: of the groups, those of IFRT first.
        groups: (n,) int64, place in `names`.
        identities: (n,) int64; no person is in two groups.
    """

    names: List[str]
    groups: np.ndarray
    identities: np.ndarray


def image_groups(paths, name):
    """ImageGroups of paths GROUP/IDENTITY/IMAGE; folders above these are ignored.

    Args:
        paths: list of str.
        name: of the list, for messages.

    Raises:
        InputError: naming the image, for a path of another form.
    """
    groups, identities = {group: place for place, group in enumerate(GROUPS)}, {}
    of_image = np.empty((len(paths), 2), np.int64)
    for row, path in enumerate(paths):
        parts = path.strip().replace("\\", "/").split("/")[-3:]
        if len(parts) != 3 or not all(parts) or parts[0] == ALL:
            raise InputError(f"{name}: image {row + 1}, {path!r}, is not GROUP/IDENTITY/IMAGE")
        group = groups.setdefault(parts[0], len(groups))
        of_image[row] = group, identities.setdefault((group, parts[1]), len(identities))
    return ImageGroups(list(groups), of_image[:, 0], of_image[:, 1])


def count_pairs(features, images, block_rows=ROWS, num_workers=0):
    """How many pairs have which cosine, in each group and in all.

    Args:
        features: UnitFeatures.
        images: ImageGroups.
        block_rows: at most this many images at once against as many others.
        num_workers: threads; 0: the cores there are.

    Returns:
        dictionary from the group's name, or ALL, to two ScoreCounts: pairs of the same person, and of different ones.
    """
    order = np.lexsort((images.identities, images.groups))  # a person's images are neighbours
    groups = images.groups[order]
    run_ends = _run_ends(images.identities[order])
    blocks = _blocks(groups, block_rows)
    counts = {name: [ScoreCounts(), ScoreCounts()] for name in [*images.names, ALL]}

    def couples():
        for number, (start, stop) in enumerate(blocks):
            left = features.rows(order[start:stop])
            for other in blocks[number:]:
                right = left if other[0] == start else features.rows(order[slice(*other)])
                yield left, right, (start, stop), other

    def count(scores, rows, columns):
        return rows, columns, _count(scores, run_ends, rows[0], columns[0])

    total = len(blocks) * (len(blocks) + 1) // 2
    with contextlib.closing(map_scores(count, couples(), num_workers)) as counted:
        for rows, columns, both in progress(counted, "blocks of scores", total):
            group, other = groups[rows[0]], groups[columns[0]]
            for name in [images.names[group], ALL] if group == other else [ALL]:
                for kind, part in zip(counts[name], both):
                    kind.counts += part.counts
    return counts


def ifrt_result(counts, model, settings=None):
    """`output.Result` of the counts of `count_pairs`; groups without pairs are left out. `settings`: see there.

    Figures: for each group TAR at FAR 1e-6, 1e-5, 1e-4, and the numbers of pairs.

    Raises:
        InputError: there is no pair.
    """
    counts = {name: both for name, both in counts.items() if any(kind.total for kind in both)}
    if not counts:
        raise InputError(f"{model}: a single image makes no pairs")
    figures, curves, histograms = {}, {}, {}
    for name, (genuine, impostor) in counts.items():
        roc = roc_of_counts(genuine, impostor)
        figures[name] = tar_figures(roc, FARS, f"{model}, {name}")
        curves[name], histograms[name] = roc_curve(roc), score_histogram(genuine, impostor)
    for name, both in counts.items():
        figures[f"{name} pairs"] = dict(zip(("same", "different"), (kind.total for kind in both)))
    groups = {name: {"tar": figures[name], "pairs": figures[f"{name} pairs"]} for name in counts}
    return Result("ifrt", "IFRT", model, figures, curves, histograms, settings or {}, groups)


def _blocks(groups, block_rows):
    """(start, stop) of blocks of rows; none has rows of two groups."""
    edges = np.flatnonzero(np.diff(groups)) + 1
    blocks = []
    for start, stop in zip([0, *edges], [*edges, len(groups)]):
        blocks += [(first, min(first + block_rows, stop)) for first in range(start, stop, block_rows)]
    return blocks


def _run_ends(identities):
    """For each row the end of the run of rows of the same identity that it is in."""
    edges = np.append(np.flatnonzero(np.diff(identities)) + 1, len(identities))
    return np.repeat(edges, np.diff(edges, prepend=0))


def _count(scores, run_ends, row, column):
    """ScoreCounts of the pairs of the same person and of different ones in a block that begins at `row`, `column`.

    The former are counted within all, and taken off: so each score is looked at in one place, as it was computed.
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
