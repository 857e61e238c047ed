"""All that is told of a model on pairs of faces: accuracy without and with mirror images, and what lies behind it."""

import numpy as np

from ..errors import InputError
from .embedding import image_batches
from .output import Result
from .verification import evaluate


def measure(embedder, pairs):
    """`output.Result` of an Embedder on a PairSet.

    Figures: `accuracy`, `accuracy_std` of the images as they are; `accuracy_flip`, `accuracy_flip_std` of the sum with
    mirror images, as in training; of the latter also `threshold`. `xnorm`: mean norm of the embeddings, of images and
    mirror images, before they are added.

    Raises:
        InputError: images that cannot be read or are of a size that the model does not take, embeddings that are not
            finite, fewer pairs than folds.
    """
    plain, mirrored = _embed(embedder, pairs)
    norms = [np.linalg.norm(embeddings, axis=1)[pairs.rows].mean() for embeddings in (plain, mirrored)]
    flip = (plain + mirrored)[pairs.rows]
    try:
        without, both = (evaluate(embeddings, pairs.issame) for embeddings in (plain[pairs.rows], flip))
    except ValueError as error:
        raise InputError(f"{embedder.name} on {pairs.name}: {error}") from error
    figures = {
        "pairs": len(pairs.issame),
        "accuracy": without.accuracy, "accuracy_std": without.accuracy_std,
        "accuracy_flip": both.accuracy, "accuracy_flip_std": both.accuracy_std,
        "threshold": both.threshold, "xnorm": float(np.mean(norms)),
    }
    return Result("verification", pairs.name, embedder.name, figures)


def _embed(embedder, pairs):
    """Embeddings of the images and of their mirror images, (n, D) float64 each."""
    plain, mirrored = [], []
    for _, images in image_batches(pairs.read, len(pairs.images), embedder.batch_size):
        plain.append(embedder.embed(images))
        mirrored.append(embedder.embed(images, mirror=True))
    return tuple(np.concatenate(parts).astype(np.float64) for parts in (plain, mirrored))
