"""1:1 verification of templates of IJB-B and IJB-C, as InsightFace's evaluation does it.

A template is what is known of a person: still images, and videos of which there are several frames. Source: Whitelam et
al., IARPA Janus Benchmark-B (2017) and Maze et al., -C (2018) for the protocol; InsightFace's evaluation/IJB for how
features become templates: the embeddings of an image and of its mirror image are added; multiplied by the face
detector's score; averaged over the frames of a medium; summed over the media; and normalized. Before they are added,
embeddings are normalized in the script of Partial FC for MXNet, recognition/partial_fc/mxnet/evaluation/ijb.py, and
not in arcface_torch's eval_ijbc.py nor in evaluation/IJB, where the norm counts as a measure of how good an image is.
"""

import numpy as np

from ...data.progress import progress
from ...errors import InputError
from ..embedding import check_finite
from ..output import Result
from ..roc import FARS, Roc, ScoreCounts
from .accept_rates import roc_curve, score_histogram, tar_figures
from .unit_features import unit_or_nan, unit_rows

ADDED = {"unit": "normalized", "raw": "as they are", "as saved": "as saved"}  # words for reports
_ROWS_AT_ONCE = 4096


def pool_templates(features, faces, halves=False, unit=False):
    """Features of templates, of features of images.

    Args:
        features: (n, D) float, which may be on the disk: the images of `faces`, in that order.
        faces: FaceList.
        halves: whether a row is the embedding of an image and then that of its mirror image, as InsightFace's scripts
            save them; these are added.
        unit: whether the halves are divided by their norms first.

    Returns:
        (t, D) float32 unit vectors (D / 2 of halves), in the order of `faces.template_ids`; one whose images' features
        add up to nothing is a row of zeros.

    Raises:
        InputError: a feature is not finite, or halves of an odd D.
    """
    size = features.shape[1]
    if halves and size % 2:
        raise InputError(f"features of {size} numbers are not those of an image and of its mirror image")
    weights = faces.scores.astype(np.float64) / _images_of_medium(faces)
    sums = np.zeros((len(faces.template_ids), size // 2 if halves else size))
    for start in range(0, len(features), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        part = np.asarray(features[rows], np.float64)
        check_finite(part, lambda place, start=start: faces.names[start + place])
        if halves:
            both = part[:, : size // 2], part[:, size // 2 :]
            part = sum(map(unit_or_nan, both)) if unit else sum(both)
        _add_rows(sums, faces.templates[rows], part * weights[rows, None])
    return unit_rows(sums, "templates")


def compare_templates(templates, pairs):
    """(p,) float32 cosines of pairs of templates.

    Args:
        templates: (t, D) float32 unit vectors.
        pairs: TemplatePairs.
    """
    cosines = np.empty(len(pairs.first), np.float32)
    for start in progress(range(0, len(cosines), _ROWS_AT_ONCE), f"batches of {_ROWS_AT_ONCE} pairs"):
        rows = slice(start, start + _ROWS_AT_ONCE)
        np.einsum("ij,ij->i", templates[pairs.first[rows]], templates[pairs.second[rows]], out=cosines[rows])
    return cosines


def ijb_result(cosines, pairs, dataset, model, settings=None):
    """`output.Result`. Figures: numbers of pairs, `auc`, and TAR at FAR 1e-6 to 1e-1. `settings`: see there."""
    roc = Roc.from_scores(cosines, pairs.issame)
    figures = {
        "pairs": {"same": roc.num_genuine, "different": roc.num_impostor},
        "auc": roc.auc(),
        "tar": tar_figures(roc, FARS, f"{model} on {dataset}"),
    }
    histogram = score_histogram(ScoreCounts.of(cosines[pairs.issame]), ScoreCounts.of(cosines[~pairs.issame]))
    settings = settings or {}
    groups = {ADDED[settings["embeddings"]]: figures} if settings else {}
    return Result("ijb", dataset, model, figures, {"": roc_curve(roc)}, {"": histogram}, settings, groups)


def _images_of_medium(faces):
    """(n,) how many images of its template each image shares its medium with, itself among them."""
    order = np.lexsort((faces.media, faces.templates))
    templates, media = faces.templates[order], faces.media[order]
    edges = np.flatnonzero((np.diff(templates) != 0) | (np.diff(media) != 0)) + 1
    counts = np.diff(edges, prepend=0, append=len(order))
    result = np.empty(len(order), np.int64)
    result[order] = np.repeat(counts, counts)
    return result


def _add_rows(sums, places, rows):
    """`np.add.at(sums, places, rows)`, fast."""
    order = np.argsort(places, kind="stable")
    places = places[order]
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    sums[places[starts]] += np.add.reduceat(rows[order], starts, axis=0)
