"""Features of images: saved in `.npy` files, or computed by all ranks together for a protocol."""

import contextlib
import os
import tempfile
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from ..checkpoint.numpy_file import open_matrix
from ..distributed.communicator import Communicator
from ..errors import InputError
from .embed import embed
from .embedding import Embedder
from .image_source import Images


class ModelFeatures(NamedTuple):
    """Features by one model.

    Attributes:
        model: its name, or that of the file or files.
        features: (n, D) float of each kind of images, on the disk: arrays, or FeatureFolders of MegaFace's kit.
        settings: of the Embedder, or none.
    """

    model: str
    features: Sequence[Any]
    settings: Dict[str, Any]


def read_features(path: str, num_rows: Optional[int] = None) -> np.ndarray:
    """The features in a `.npy` file, (n, D) floats, mapped from the file, see `open_matrix`.

    Args:
        path: of the file.
        num_rows: required number of rows; None: any number.

    Raises:
        InputError: no such file, another format or shape, or another number of rows.
    """
    features = open_matrix(path, "features")
    if num_rows not in (None, len(features)):
        raise InputError(f"{path}: {len(features)} rows of features for {num_rows} images: it is of other images")
    return features


@contextlib.contextmanager
def embedded(
    embedders: List[Embedder],
    sources: Mapping[str, Images],
    comm: Communicator,
    folder: Optional[str] = None,
    overwrite: bool = False,
    flip: bool = False,
    unit: bool = False,
) -> Iterator[List[ModelFeatures]]:
    """Features of images by every embedder, see `embed`.

    Args:
        embedders: the same on every rank. The list is emptied, so that no model stays in memory longer than needed.
        sources: images by name, the same on every rank.
        comm: communicator.
        folder: where the features are kept; it is made if needed. None: a temporary folder, for one rank only.
        overwrite, flip, unit: see `embed`.

    Returns:
        Context of a list of ModelFeatures, in the order of the embedders.

    Raises:
        CollectiveError: on every rank: see `embed`; several ranks without a folder.
    """
    with contextlib.ExitStack() as stack:
        with comm.raise_on_all_ranks():
            if embedders and comm.world_size > 1 and not folder:
                raise InputError("several ranks need `keep` DIR, a folder that all of them can write to")
            if folder and comm.rank == 0:
                os.makedirs(folder, exist_ok=True)
        where = folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="partial-fc-eval-"))
        how = "-unit" if flip and unit else "-flip" if flip else ""

        def features_by(embedder: Embedder) -> ModelFeatures:
            features = []
            for name, source in sources.items():
                path = os.path.join(where, f"{name}{how}-{embedder.checksum}.npy")
                embed(source, embedder, path, comm, flip, overwrite, unit=unit)
                with comm.raise_on_all_ranks():
                    features.append(read_features(path, len(source.lines)))
            return ModelFeatures(embedder.name, features, embedder.settings)

        yield [features_by(embedders.pop(0)) for _ in range(len(embedders))]
