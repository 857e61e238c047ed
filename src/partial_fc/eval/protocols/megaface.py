"""MegaFace: people among a million others, by photographs of FaceScrub and distractors that show none of them.

Source: Kemelmacher-Shlizerman et al., The MegaFace Benchmark (2016). Identification: for every ordered couple of images
of a person, the first (the probe) is compared with the second and with all distractors, and is identified at rank 1
where the second is more alike than every distractor. Verification: the genuine pairs are the couples of images of a
person, the impostor pairs all probes with all distractors. The development kit compares by the squared distance, which
orders unit vectors as their cosine does.
"""

import contextlib

import numpy as np

from ...data.progress import progress
from ...errors import InputError
from ..output import Result
from ..roc import ScoreCounts, roc_of_counts
from .accept_rates import roc_curve, score_histogram, tar_figures
from .score_blocks import ROWS, map_scores
from .unit_features import unit_rows

FARS = (1e-6, 1e-5, 1e-4)
# Float32 gives the same cosine up to this: such a distractor is as alike, and its probe not identified.
_ROUNDING = 1e-6


def megaface_result(probes, identities, distractors, model, block_rows=ROWS, num_workers=0, settings=None):
    """`output.Result` of a model.

    Figures: numbers of `probes`, `people`, `distractors`; `rank1`, None where nobody has two probes; TAR at FAR 1e-6,
    1e-5, 1e-4. A person's only probe makes impostor pairs only.

    Args:
        probes: (n, D) float array, or what reads one by slices of rows; kept in memory.
        identities: n hashable values.
        distractors: (m, D) float, as `probes`, but not kept.
        model: name for the result.
        block_rows: at most this many probes at once against as many distractors.
        num_workers: threads; 0: the cores there are.
        settings: of the result.

    Raises:
        InputError: features that are not finite, or of different lengths.
    """
    if probes.shape[1] != distractors.shape[1]:
        raise InputError(f"{model}: probes of {probes.shape[1]} numbers, distractors of {distractors.shape[1]}")
    probes = unit_rows(probes[:], f"{model}, probes")
    impostor, best = _against_distractors(probes, distractors, model, block_rows, num_workers)
    genuine, num_identified = _among_probes(probes, identities, best)
    roc = roc_of_counts(genuine, impostor)
    figures = {
        "probes": len(probes),
        "people": len(set(identities)),
        "distractors": len(distractors),
        "rank1": num_identified / (2 * genuine.total) if genuine.total else None,
        "tar": tar_figures(roc, FARS, f"{model} on MegaFace"),
    }
    histogram = score_histogram(genuine, impostor)
    return Result("megaface", "MegaFace", model, figures, {"": roc_curve(roc)}, {"": histogram}, settings or {})


def _against_distractors(probes, distractors, model, block_rows, num_workers):
    """ScoreCounts of all probes with all distractors; (n,) float32, the highest cosine of each probe."""
    impostor, best = ScoreCounts(), np.full(len(probes), -np.inf, np.float32)
    starts = range(0, len(distractors), block_rows)

    def blocks():
        for start in starts:
            right = unit_rows(distractors[start : start + block_rows], f"{model}, distractors", start)
            for first in range(0, len(probes), block_rows):
                yield probes[first : first + block_rows], right, first

    def examine(scores, first):
        return first, scores.max(axis=1), ScoreCounts.of(scores)

    total = len(starts) * -(-len(probes) // block_rows)
    with contextlib.closing(map_scores(examine, blocks(), num_workers)) as examined:
        for first, highest, counts in progress(examined, "blocks of scores", total):
            rows = slice(first, first + len(highest))
            best[rows] = np.maximum(best[rows], highest)
            impostor.counts += counts.counts
    return impostor, best


def _among_probes(probes, identities, best):
    """ScoreCounts of the pairs of probes of the same person, and how many ordered couples are identified at rank 1."""
    genuine, num_identified = [], 0
    numbers = np.unique(identities, return_inverse=True)[1]
    order = np.argsort(numbers, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        scores = probes[rows] @ probes[rows].T
        genuine.append(scores[np.triu_indices(len(rows), 1)])
        identified = scores > best[rows, None] + _ROUNDING
        num_identified += np.count_nonzero(identified) - np.count_nonzero(np.diag(identified))
    return ScoreCounts.of(np.concatenate(genuine)), num_identified
