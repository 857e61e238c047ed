"""MegaFace: identification of FaceScrub's people among a million distractors, images of other people.

Source: Kemelmacher-Shlizerman et al., The MegaFace Benchmark (2016). Identification: for every ordered pair of images
of a person, the first (the probe) is compared with the second and with all distractors, and is identified at rank 1 if
the second scores higher than every distractor. Verification: the genuine pairs are the pairs of images of a person, the
impostor pairs are all probes with all distractors. The development kit compares by the squared distance, which orders
pairs of unit vectors as the cosine does.
"""

import contextlib
from typing import Any, Dict, Hashable, Iterator, Optional, Sequence, Tuple, Union

import numpy as np

from ...data.progress import progress
from ...errors import InputError
from ..output import Result
from ..roc import ScoreCounts, histogram_of_counts, roc_of_counts, tar_figures
from .megaface_files import FeatureFolder
from .score_blocks import ROWS, map_scores
from .unit_features import unit_rows

FARS = (1e-6, 1e-5, 1e-4)
_ROUNDING = 1e-6  # of cosines in float32: a distractor this close counts as equal, so its probe is not identified

Matrix = Union[np.ndarray, FeatureFolder]


def megaface_result(
    probes: Matrix,
    identities: Sequence[Hashable],
    distractors: Matrix,
    model: str,
    block_rows: int = ROWS,
    num_workers: int = 0,
    settings: Optional[Dict[str, Any]] = None,
) -> Result:
    """Result of a model.

    Figures: numbers of `probes`, `people`, `distractors`; `rank1`, None if nobody has two probes; TAR at FAR 1e-6,
    1e-5, 1e-4. The only probe of a person is in impostor pairs only.

    Args:
        probes: (n, D) float; read into memory.
        identities: (n,) people of the probes.
        distractors: (m, D) float; read block by block.
        model: name for the result.
        block_rows: maximum number of probes to compare at once with as many distractors.
        num_workers: threads; 0: as many as usable cores.
        settings: of the result.

    Raises:
        InputError: features that are not finite, or of different lengths.
    """
    if probes.shape[1] != distractors.shape[1]:
        raise InputError(f"{model}: probes of {probes.shape[1]} numbers, distractors of {distractors.shape[1]}")
    units = unit_rows(probes[:], f"{model}, probes")
    impostor, best = _against_distractors(units, distractors, model, block_rows, num_workers)
    genuine, num_identified = _among_probes(units, identities, best)
    roc = roc_of_counts(genuine, impostor)
    figures = {
        "probes": len(probes),
        "people": len(set(identities)),
        "distractors": len(distractors),
        "rank1": num_identified / (2 * genuine.total) if genuine.total else None,
        "tar": tar_figures(roc, FARS, f"{model} on MegaFace"),
    }
    histogram = histogram_of_counts(genuine, impostor)
    return Result("megaface", "MegaFace", model, figures, {"": roc.curve()}, {"": histogram}, settings or {})


def _against_distractors(
    probes: np.ndarray, distractors: Matrix, model: str, block_rows: int, num_workers: int
) -> Tuple[ScoreCounts, np.ndarray]:
    """ScoreCounts of all probes with all distractors; (n,) float32, the highest cosine of each probe."""
    impostor, best = ScoreCounts(), np.full(len(probes), -np.inf, np.float32)
    starts = range(0, len(distractors), block_rows)

    def blocks() -> Iterator[Tuple[np.ndarray, np.ndarray, int]]:
        for start in starts:
            right = unit_rows(distractors[start : start + block_rows], f"{model}, distractors", start)
            for first in range(0, len(probes), block_rows):
                yield probes[first : first + block_rows], right, first

    def examine(scores: np.ndarray, first: int) -> Tuple[int, np.ndarray, ScoreCounts]:
        return first, scores.max(axis=1), ScoreCounts.of(scores)

    total = len(starts) * -(-len(probes) // block_rows)
    with contextlib.closing(map_scores(examine, blocks(), num_workers)) as examined:
        for first, highest, counts in progress(examined, "blocks of scores", total):
            rows = slice(first, first + len(highest))
            best[rows] = np.maximum(best[rows], highest)
            impostor.counts += counts.counts
    return impostor, best


def _among_probes(probes: np.ndarray, identities: Sequence[Hashable], best: np.ndarray) -> Tuple[ScoreCounts, int]:
    """ScoreCounts of the pairs of probes of the same person, and the number of ordered pairs identified at rank 1."""
    genuine, num_identified = [], 0
    numbers = np.unique(np.asarray(identities), return_inverse=True)[1]
    order = np.argsort(numbers, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        scores = probes[rows] @ probes[rows].T
        genuine.append(scores[np.triu_indices(len(rows), 1)])
        identified = scores > best[rows, None] + _ROUNDING
        num_identified += np.count_nonzero(identified) - np.count_nonzero(np.diag(identified))
    return ScoreCounts.of(np.concatenate(genuine)), num_identified
