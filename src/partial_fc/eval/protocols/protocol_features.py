"""Features of the images of a protocol, computed by all ranks together."""

import contextlib
import os
import tempfile
from typing import Any, Dict, List, NamedTuple

import numpy as np

from ...device import choose_device
from ...errors import InputError
from ..embed import embed
from ..embedding import open_embedders
from ..features import read_features


class Computed(NamedTuple):
    """Features of a model.

    Attributes:
        model: its name.
        features: (n, D) float32 of each source, on the disk.
        settings: of the Embedder.
    """

    model: str
    features: List[np.ndarray]
    settings: Dict[str, Any]


@contextlib.contextmanager
def embedded(args, sources, comm, flip, unit=False):
    """Features of images by every `--model`, see `embed`: in the folder `--keep`, which is made, or in a temporary one.

    All models are opened, and the shapes of their parameters compared with the images, before the first computes.

    Args:
        args: arguments of `arguments.add_model` and `add_keep`.
        sources: for each kind of images its name and what `embed` takes; the same on every rank.
        comm: communicator.
        flip, unit: see `embed`.

    Returns:
        Context of a list of Computed.

    Raises:
        CollectiveError: on every rank: see `embed`; several ranks without `--keep`.
    """
    with contextlib.ExitStack() as stack:
        with comm.raise_on_all_ranks():
            if args.model and comm.world_size > 1 and not args.keep:
                raise InputError("several ranks need --keep DIR, a folder that all of them can write to")
            sizes = {source.size for source in sources.values()}
            embedders = open_embedders(args, choose_device(args.device, comm), sizes) if args.model else []
            if args.keep and comm.rank == 0:
                os.makedirs(args.keep, exist_ok=True)
        folder = args.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="partial-fc-eval-"))
        computed = []
        while embedders:  # none is kept longer than it is needed
            computed.append(_computed(embedders.pop(0), args, sources, comm, flip, unit, folder))
        yield computed


def _computed(embedder, args, sources, comm, flip, unit, folder):
    found, how = [], "-unit" if flip and unit else "-flip" if flip else ""
    for name, source in sources.items():
        path = os.path.join(folder, f"{name}{how}-{embedder.checksum}.npy")
        embed(source, embedder, path, comm, flip, args.overwrite, unit=unit)
        with comm.raise_on_all_ranks():
            found.append(read_features(path, len(source.lines)))
    return Computed(embedder.name, found, embedder.settings)
