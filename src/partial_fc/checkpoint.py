"""What a run leaves behind: the backbone as MXNet's symbol and params, the centers as safetensors."""

import contextlib
import glob
import os

import mxnet as mx
from safetensors import SafetensorError
from safetensors.numpy import safe_open, save_file

from .errors import InputError
from .files import atomic_path


def save_model(prefix, symbol, arg_params, aux_params):
    """Write `PREFIX-symbol.json` and `PREFIX-0000.params`, which `mx.model.load_checkpoint(PREFIX, 0)` reads.

    Args:
        arg_params, aux_params: NDArrays by name.

    Raises:
        OSError: naming the file, if it cannot be written; an earlier one of that name is left as it was.
    """
    arrays = {"arg:" + name: array for name, array in arg_params.items()}
    arrays.update({"aux:" + name: array for name, array in aux_params.items()})
    with _written(prefix + "-symbol.json") as path:
        symbol.save(path)
    with _written(prefix + "-0000.params") as path:
        mx.nd.save(path, arrays)


def load_parameters(path, parameters):
    """Copy the backbone's parameters from a `.params` file of MXNet.

    Args:
        path: the file; names in it begin with `arg:` or `aux:`.
        parameters: NDArrays to fill, by name without that beginning.

    Returns:
        Names that the file lacks, and those that it has in surplus.

    Raises:
        InputError: an unreadable file, or a parameter of another shape; nothing is copied then.
    """
    loaded = read_parameters(path)
    common = [name for name in parameters if name in loaded]
    for name in common:
        if loaded[name].shape != parameters[name].shape:
            raise InputError(
                f"{path}: {name} has shape {loaded[name].shape}, this network's has {parameters[name].shape}: "
                "use the same --network, embedding_size, image_size and net_output"
            )
    for name in common:
        loaded[name].copyto(parameters[name])
    return [name for name in parameters if name not in loaded], [name for name in loaded if name not in parameters]


def read_parameters(path):
    """NDArrays of a `.params` file of MXNet, by name without the beginning `arg:` or `aux:`.

    Raises:
        InputError: no such file, or not one of named parameters.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; a model PREFIX,EPOCH has its parameters in PREFIX-EPOCH.params")
    try:
        return {name.partition(":")[2]: array for name, array in mx.nd.load(path).items()}
    except (mx.base.MXNetError, AttributeError) as error:
        raise InputError(f"{path}: not a file of named MXNet parameters") from error


def save_centers(folder, bank, world_size):
    """Write this rank's `weight` and `weight_mom` (num_local, D), and which classes they belong to."""
    if not bank.num_local:
        return
    metadata = {"class_start": bank.partition.class_start, "num_classes": bank.num_classes}
    tensors = dict(zip(("weight", "weight_mom"), bank.to_numpy()))
    with _written(centers_path(folder, bank.rank, world_size)) as path:
        save_file(tensors, path, metadata={key: str(value) for key, value in metadata.items()})


def remove_other_centers(folder, world_size):
    """Remove the files of an earlier run with another number of ranks."""
    for path in _centers_paths(folder):
        if not path.endswith(f"-of-{world_size:05d}.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # another host was first, in a shared folder
                os.remove(path)


def load_centers(folder, bank):
    """Read a bank's rows from the files of any number of ranks.

    Raises:
        InputError: no files, damaged ones, those of several runs, other numbers of classes or dimensions, or classes
            that are in none of them.
    """
    paths = _centers_paths(folder)
    if len({path.rpartition("-of-")[2] for path in paths}) > 1:
        raise InputError(f"{folder}: centers of several runs with different numbers of ranks; keep one run's")
    missing = bank.num_local
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as file:
                missing -= _copy_rows(file, path, bank)
        except SafetensorError as error:
            raise InputError(f"{path}: damaged: {error}") from error
    if missing:
        raise InputError(
            f"{folder}: {missing} of the classes [{bank.partition.class_start}, {bank.partition.class_end}) "
            f"are in none of its {len(paths)} files centers-*.safetensors"
        )


@contextlib.contextmanager
def _written(path):
    """`atomic_path` for the writers of MXNet and safetensors, which have errors of their own for a full disk."""
    with atomic_path(path) as unfinished:
        try:
            yield unfinished
        except (SafetensorError, mx.base.MXNetError) as error:
            raise OSError(f"{path}: cannot be written: {str(error).splitlines()[-1]}") from error


def _centers_paths(folder):
    return sorted(glob.glob(os.path.join(glob.escape(folder), "centers-*.safetensors")))


def centers_path(folder, rank, world_size):
    """File of one rank's centers."""
    return os.path.join(folder, f"centers-{rank:05d}-of-{world_size:05d}.safetensors")


def _copy_rows(file, path, bank):
    """Copy what an open file holds of the bank's classes; returns how many that were."""
    weight, weight_mom, metadata = file.get_slice("weight"), file.get_slice("weight_mom"), file.metadata()
    file_start, num_classes = int(metadata["class_start"]), int(metadata["num_classes"])
    rows, embedding_size = weight.get_shape()
    if (num_classes, embedding_size) != (bank.num_classes, bank.embedding_size):
        raise InputError(
            f"{path}: centers of {num_classes} classes of size {embedding_size}, "
            f"expected {bank.num_classes} of size {bank.embedding_size}"
        )
    start, end = max(file_start, bank.partition.class_start), min(file_start + rows, bank.partition.class_end)
    if start >= end:
        return 0
    chosen = slice(start - file_start, end - file_start)
    bank.set(start, weight[chosen], weight_mom[chosen])
    return end - start
