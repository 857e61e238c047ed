"""The backbone in MXNet's files: the symbol as JSON, parameters and auxiliary states as `.params`."""

import os

import mxnet as mx

from .errors import InputError
from .files import atomic_path, naming, refuse_pointer
from .tensor_file import open_tensors, write_tensors


def save_model(prefix, symbol, arg_params, aux_params):
    """Write `PREFIX-symbol.json` and `PREFIX-0000.params`, which `mx.model.load_checkpoint(PREFIX, 0)` reads.

    Args:
        arg_params, aux_params: NDArrays by name.

    Raises:
        OSError: naming the file, if it cannot be written; an earlier one of that name is left as it was.
    """
    arrays = {"arg:" + name: array for name, array in arg_params.items()}
    arrays.update({"aux:" + name: array for name, array in aux_params.items()})
    for path, save in (
        (prefix + "-symbol.json", symbol.save),
        (prefix + "-0000.params", lambda unfinished: mx.nd.save(unfinished, arrays)),
    ):
        with naming(path, mx.base.MXNetError), atomic_path(path) as unfinished:
            save(unfinished)


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
    refuse_pointer(path)
    try:
        return {name.partition(":")[2]: array for name, array in mx.nd.load(path).items()}
    except (mx.base.MXNetError, AttributeError) as error:
        raise InputError(f"{path}: not a file of named MXNet parameters") from error


def save_arrays(path, arrays):
    """Write float32 NDArrays by name as safetensors, one after the other through the host's memory.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    blocks = ((name, 0, array.asnumpy()) for name, array in arrays.items())
    write_tensors(path, {name: array.shape for name, array in arrays.items()}, blocks, {})


def load_arrays(path, arrays):
    """Fill NDArrays by name from a file of `save_arrays`.

    Raises:
        InputError: a damaged file, or one of other names or shapes; nothing is copied then.
    """
    with open_tensors(path) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        for name, shape in {**shapes, **{name: array.shape for name, array in arrays.items()}}.items():
            if shapes.get(name) != shape or name not in arrays:
                raise InputError(f"{path}: {name} is not as in this network, {shapes.get(name)} instead of {shape}")
        for name, array in arrays.items():
            array[:] = file.get_tensor(name)
