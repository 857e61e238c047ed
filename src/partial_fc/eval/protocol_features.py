"""Features of the images of a protocol, computed by all ranks together."""

import contextlib
import os
import tempfile

from ..device import choose_device
from ..errors import InputError
from .embed import embed
from .embedding import open_embedder
from .features import read_features


@contextlib.contextmanager
def embedded(args, sources, comm, flip):
    """Features of images by every `--model`, see `embed`: in the folder `--keep`, or in one that is removed at the end.

    Args:
        args: arguments of `arguments.add_model` and `add_keep`.
        sources: for each kind of images its name and what `embed` takes; the same on every rank.
        comm: communicator.
        flip: whether to add the embeddings of the mirror images.

    Returns:
        Context of a list of (model, list of (n, D) float32 for each source), on the disk.

    Raises:
        AgreedError: on every rank: see `embed`; several ranks without `--keep`.
    """
    with contextlib.ExitStack() as stack:
        with comm.together():
            if args.model and comm.world_size > 1 and not args.keep:
                raise InputError("several ranks need --keep DIR, a folder that all of them can write to")
        folder = args.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="partial-fc-eval-"))
        yield [(model, _features(model, args, sources, comm, flip, folder)) for model in args.model]


def _features(model, args, sources, comm, flip, folder):
    with comm.together():
        embedder = open_embedder(model, args, choose_device(args.device, comm))
    found = []
    for name, source in sources.items():
        path = os.path.join(folder, f"{name}{'-flip' if flip else ''}-{embedder.checksum}.npy")
        embed(source, embedder, path, comm, flip, args.overwrite)
        with comm.together():
            found.append(read_features(path, len(source.lines)))
    return found
