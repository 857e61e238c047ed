"""What a run starts from: its paths, checked before anything is drawn or read; a model, class centers."""

import contextlib
import logging
import math
import os

from ..checkpoint.center_files import CenterFiles, load_centers
from ..checkpoint.checkpoints import MANIFEST
from ..checkpoint.model_files import (
    check_exists,
    check_shapes,
    copy_parameters,
    listed,
    model_paths,
    read_parameters,
    why_not,
)
from ..config import own_records
from ..errors import InputError
from ..symbol import NETWORKS, get_symbol
from .run_folder import has_checkpoints

log = logging.getLogger("partial_fc")


def check_paths(config, rank: int):
    """Raise InputError for a path of a configuration that this rank cannot use; nothing is written.

    The message begins with the option that names the path.
    """
    _check_records(config)
    if config.io_only:
        return
    if not (config.resume == "auto" and has_checkpoints(config.models_root)):
        _check_start(config, rank)
    if config.resume not in ("no", "auto"):
        _check_checkpoint(config.resume)
    if config.bank_dir:
        _check_folder(config.bank_dir, "--bank-dir")
    _check_folder(config.models_root, "--models-root")


def _check_start(config, rank):
    """What a run begins with; one that continues from a checkpoint does not need it any more."""
    if config.pretrained and rank == 0:
        check_exists(model_paths(config.pretrained)[1], config.pretrained, "--pretrained")
    if config.centers:
        with _naming_centers():
            CenterFiles(config.centers)


def _check_records(config):
    path, folder = config.rec, os.path.dirname(config.rec)
    if config.source == "demo" and not os.path.isdir(folder):
        _check_folder(folder, "folder of the demo's faces")
    if config.source != "records" or os.path.isfile(path):
        return
    if not own_records(config):
        raise InputError(
            f"--dataset {config.dataset}: no file {path}: set $PARTIAL_FC_DATA to the folder that has "
            f"{os.path.basename(folder)}/, or name the file: --rec PATH/train.rec"
        )
    inside = os.path.join(path, "train.rec")
    problem = f"a folder; name the file {inside}" if os.path.isfile(inside) else "no such file"
    raise InputError(f"--rec {path}: {problem}")


@contextlib.contextmanager
def _naming_centers():
    """What is wrong with the folder of --centers begins with that option."""
    try:
        yield
    except InputError as error:
        raise InputError(f"--centers {error}") from error


def _check_checkpoint(path):
    if os.path.isfile(os.path.join(path, MANIFEST)):
        return
    for folder in (path, os.path.join(path, "checkpoints")):
        names = sorted(name for name in (os.listdir(folder) if os.path.isdir(folder) else ()) if name[:7] == "update-")
        if names:
            newest = os.path.join(folder, names[-1])
            raise InputError(f"--resume {path}: has several checkpoints; name one, such as {newest}")
    problem = "not a checkpoint, it has no " + MANIFEST if os.path.isdir(path) else "no such folder"
    raise InputError(f"--resume {path}: {problem}; `auto` takes the newest checkpoint in the models root")


def _check_folder(path, option):
    """A folder that exists or can be made, and that can be written to."""
    there = os.path.abspath(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise InputError(f"{option} {path}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: no permission to write to {there}")


def read_start(config, rank: int):
    """Check the model and the centers that a new run starts from, before anything is built.

    Returns:
        NDArrays of the model's file by name; empty without --pretrained, and on other ranks than 0.

    Raises:
        InputError: a model of another network or other shapes, centers of another set of identities.
    """
    if config.centers:
        with _naming_centers():
            CenterFiles(config.centers).check_size(config.num_classes, config.embedding_size)
    if not config.pretrained or rank:
        return {}
    path = model_paths(config.pretrained)[1]
    loaded, shapes = read_parameters(path), _shapes(config)
    _check_network(config, path, shapes, loaded)
    check_shapes(path, loaded, shapes)
    return loaded


def load_start(config, comm, module, loaded):
    """Fill a FaceModule with what `read_start` has found, and with the centers.

    Raises:
        CollectiveError: on every rank, for centers that any of them cannot read.
    """
    with comm.raise_on_all_ranks():
        if loaded:
            _load_pretrained(config, {**module.arg_params, **module.aux_params}, loaded)
        if config.centers:
            with _naming_centers():
                load_centers(config.centers, module.head.bank)
            log.info("%s: centers and momentum of %d classes", config.centers, config.num_classes)
    if config.pretrained:
        module.broadcast_parameters()


def _load_pretrained(config, parameters, loaded):
    path = model_paths(config.pretrained)[1]
    copy_parameters(path, loaded, parameters)
    missing = [name for name in parameters if name not in loaded]
    surplus = [name for name in loaded if name not in parameters]
    log.info("%s: %d of the network's %d parameters", path, len(parameters) - len(missing), len(parameters))
    if missing:
        log.warning("%s: lacks, and the run starts with random values of: %s", path, listed(missing))
    if surplus:
        log.info("%s: not in this network, not used: %s", path, listed(surplus))


def _shapes(config):
    """Shapes of the network's parameters by name."""
    symbol = get_symbol(config.network, config.embedding_size, config.net_output)
    shapes, _, states = symbol.infer_shape(data=(1, 3, config.image_size, config.image_size))
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    return {name: shape for name, shape in zip(names, [*shapes, *states]) if name != "data"}


def _check_network(config, path, needed, loaded):
    """Refuse a file whose names are nearer to another of our networks, or which has none of this one's weights."""
    nearest, distance = _nearest_network(config, loaded)
    num_different = len(set(needed) ^ set(loaded))
    if distance < num_different:
        raise InputError(
            f"--pretrained {config.pretrained}: {path} is of --network {nearest} ({distance} names of parameters "
            f"differ), not of --network {config.network} ({num_different} differ)"
        )
    if not any(name in loaded for name in needed if name.endswith("_weight")):
        raise InputError(
            f"--pretrained {config.pretrained}: {path} has none of the weights of --network {config.network}: "
            f"{why_not(needed, loaded)}"
        )


def _nearest_network(config, loaded):
    """The one of our networks whose names differ least from those in a file, most of which it has; how many differ."""
    distances = {config.network: math.inf}
    for name in NETWORKS:
        symbol = get_symbol(name, config.embedding_size, config.net_output)
        names = {*symbol.list_arguments(), *symbol.list_auxiliary_states()} - {"data"}
        if 2 * len(names & set(loaded)) > len(loaded):
            distances[name] = len(names ^ set(loaded))
    nearest = min(distances, key=distances.get)
    return nearest, distances[nearest]
