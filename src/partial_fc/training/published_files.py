"""Files that a run leaves by the names of the published code, where its scripts look for them."""

import contextlib
import glob
import logging
import os
from typing import Mapping

import mxnet as mx

from ..checkpoint.convert_centers import export_rank
from ..checkpoint.model_files import save_model
from ..distributed.communicator import Communicator
from ..errors import InputError
from ..output.log import LogFile
from .module import FaceModule

log = logging.getLogger("partial_fc")

# For `glob`, without `model`, which every run leaves.
CENTERS = "[0-9]*_centers.param", "[0-9]*_centers_mom.param"
PATTERNS = (*CENTERS, "model_average-*", "[0-9]*_hist.log")


def open_published_log(models_root: str, rank: int, append: bool) -> None:
    """Log to `RANK_hist.log`, too: all that this rank logs from now on.

    Raises:
        InputError: if it cannot be written.
    """
    path = os.path.join(models_root, f"{rank}_hist.log")
    try:
        os.makedirs(models_root, exist_ok=True)
        if not append and os.path.exists(path):
            os.remove(path)
        log.addHandler(LogFile(path, f"rank-id:{rank}:%(asctime)s-%(message)s"))
    except OSError as error:
        raise InputError(f"--models-root {models_root}: cannot write there: {error}") from error


def save_published_files(
    models_root: str, checkpoint: str, comm: Communicator, module: FaceModule, statistics: Mapping[str, mx.nd.NDArray]
) -> None:
    """Replace `model_average` (rank 0), `RANK_centers.param` and `RANK_centers_mom.param`. No collectives.

    What cannot be written is logged: the checkpoint has all of it. `model_average` means, as published, the model with
    the batch statistics averaged over the ranks; here `model` has these, too. Ranks of the published code have
    ceil(N / S) classes each, which are not those of our ranks: a rank reads them from the checkpoint. Centers of
    further ranks, from before the run continued with fewer, are removed.

    Args:
        models_root: of the run.
        checkpoint: folder of the checkpoint that has just been saved.
        comm: communicator.
        module: the model.
        statistics: averages over the ranks.
    """
    try:
        if comm.rank == 0:
            save_model(os.path.join(models_root, "model_average"), module.symbol, module.arg_params, statistics)
        export_rank(checkpoint, models_root, comm.rank, comm.world_size)
        if comm.local_rank == 0:
            _remove_centers_from(comm.world_size, models_root)
    except (InputError, OSError) as error:
        log.error("rank %d: could not write the files by their published names: %s", comm.rank, error)


def _remove_centers_from(rank: int, models_root: str) -> None:
    """Remove the centers of a rank and of all after it; raises OSError."""
    for path in (path for pattern in CENTERS for path in glob.glob(os.path.join(glob.escape(models_root), pattern))):
        number = os.path.basename(path).partition("_")[0]
        if number.isdecimal() and int(number) >= rank:
            with contextlib.suppress(FileNotFoundError):  # another host removes the same files
                os.remove(path)
