"""Pretrained models and class centers that a new run starts from."""

import contextlib
import logging
import math
from typing import Dict, Iterator, Mapping, Tuple

import mxnet as mx

from ..checkpoint.center_files import CenterFiles, checksums, load_centers
from ..checkpoint.model_files import check_shapes, copy_parameters, listed, model_paths, read_parameters, why_not
from ..config import Config, Run
from ..distributed.agreement import compare
from ..distributed.communicator import Communicator
from ..errors import InputError
from ..planning.memory import numbers_per_class
from ..symbol import NETWORKS
from .module import FaceModule
from .network import network_symbol, parameter_shapes

log = logging.getLogger("partial_fc")


@contextlib.contextmanager
def _naming_centers() -> Iterator[None]:
    """A block whose InputErrors begin with the option --centers."""
    try:
        yield
    except InputError as error:
        raise InputError(f"--centers {error}") from error


def open_centers(path: str) -> CenterFiles:
    """The CenterFiles of --centers; raises InputError, which begins with that option, if the folder has none."""
    with _naming_centers():
        return CenterFiles(path)


def read_pretrained(run: Run, rank: int) -> Dict[str, mx.nd.NDArray]:
    """Check the model and the centers that a new run starts from, before anything is built.

    Returns:
        NDArrays of the model's file by name; empty without --pretrained, and on other ranks than 0.

    Raises:
        InputError: a model of another network or other shapes, centers of another set of identities.
    """
    config = run.config
    if config.centers:
        files = open_centers(config.centers)
        with _naming_centers():
            files.check_size(run.num_classes, numbers_per_class(config))
    if not config.pretrained or rank:
        return {}
    path = model_paths(config.pretrained)[1]
    loaded, shapes = read_parameters(path), parameter_shapes(network_symbol(config), config)
    _check_network(config, path, shapes, loaded)
    check_shapes(path, loaded, shapes)
    return loaded


def check_same_centers(folder: str, comm: Communicator) -> None:
    """Raise CollectiveError on every rank if ranks find different files of the same name in the folder of --centers.

    Only files that all ranks have are compared: without a shared file system, a host may lack those of other ranks.
    """
    own: Dict[str, str] = {}
    with comm.raise_on_all_ranks():
        own = checksums(folder)
    common = set(own).intersection(*comm.all_gather_object(list(own)))
    compare("the checksum", {f"--centers {name}": own[name] for name in sorted(common)}, comm)


def load_pretrained(run: Run, comm: Communicator, module: FaceModule, loaded: Mapping[str, mx.nd.NDArray]) -> None:
    """Fill a FaceModule with what `read_pretrained` has found, and with the centers.

    Raises:
        CollectiveError: on every rank, for centers that any of them cannot read.
    """
    config = run.config
    with comm.raise_on_all_ranks():
        if loaded:
            _load_model(config.pretrained, {**module.arg_params, **module.aux_params}, loaded)
        if config.centers:
            with _naming_centers():
                # AdamW corrects its moments by the number of the update, so they begin with it.
                with_state = load_centers(config.centers, module.head.bank, config.center_optimizer != "adamw")
            state = "centers and momentum" if with_state else "centers without the optimizer's state"
            log.info("%s: %s of %d classes", config.centers, state, run.num_classes)
    if config.pretrained:
        module.broadcast_parameters()


def _load_model(pretrained: str, parameters: Dict[str, mx.nd.NDArray], loaded: Mapping[str, mx.nd.NDArray]) -> None:
    path = model_paths(pretrained)[1]
    copy_parameters(path, loaded, parameters)
    missing = [name for name in parameters if name not in loaded]
    surplus = [name for name in loaded if name not in parameters]
    log.info("%s: %d of the network's %d parameters", path, len(parameters) - len(missing), len(parameters))
    if missing:
        log.warning("%s: lacks these parameters, which start with random values: %s", path, listed(missing))
    if surplus:
        log.info("%s: skipping parameters that are not in this network: %s", path, listed(surplus))


def _check_network(
    config: Config, path: str, needed: Mapping[str, Tuple[int, ...]], loaded: Mapping[str, mx.nd.NDArray]
) -> None:
    """Refuse a file whose names are nearer to another of our networks, or which has none of this one's weights."""
    nearest, distance = _nearest_network(config, needed, loaded)
    num_different = len(set(needed) ^ set(loaded))
    if distance < num_different:
        raise InputError(
            f"--pretrained {config.pretrained}: {path} is of --network {nearest} ({distance} names of parameters "
            f"differ), not of --network {config.network} ({num_different} differ)"
        )
    same = [name for name in needed if name in loaded]
    if not any(len(needed[name]) > 1 for name in same):
        only = f", only {len(same)} parameters of batch norms and biases" if same else ""
        raise InputError(
            f"--pretrained {config.pretrained}: {path} has none of the weights of --network {config.network}{only}: "
            f"{why_not(needed, loaded)}"
        )


def _nearest_network(
    config: Config, needed: Mapping[str, Tuple[int, ...]], loaded: Mapping[str, mx.nd.NDArray]
) -> Tuple[str, float]:
    """Of our networks and the configured one, that whose names differ least from those in a file; how many differ.

    Only networks that have most of the names in the file count.
    """
    networks = {config.network: set(needed)}
    for network in NETWORKS:
        with contextlib.suppress(InputError):  # the configuration's options do not fit every network
            symbol = network_symbol(config, network)
            networks.setdefault(network, {*symbol.list_arguments(), *symbol.list_auxiliary_states()} - {"data"})
    distances: Dict[str, float] = {config.network: math.inf}
    for name, names in networks.items():
        if 2 * len(names & set(loaded)) > len(loaded):
            distances[name] = len(names ^ set(loaded))
    nearest = min(distances, key=lambda name: distances[name])
    return nearest, distances[nearest]
