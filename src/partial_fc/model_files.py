"""The backbone in MXNet's files: the symbol as JSON, parameters and auxiliary states as `.params`."""

import os

import mxnet as mx

from .errors import InputError
from .files import atomic_path, naming, refuse_pointer
from .tensor_file import open_tensors, write_tensors

_RGB = 3


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
            check_channels(path, name, loaded[name].shape, parameters[name].shape)
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
        InputError: no such file, not one of named parameters, names without that beginning, or an array without
            dimensions.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; a model PREFIX,EPOCH has its parameters in PREFIX-EPOCH.params")
    refuse_pointer(path)
    try:
        loaded = dict(_load_in_its_semantics(path).items())
    except (mx.base.MXNetError, AttributeError) as error:
        raise InputError(f"{path}: not a file of named MXNet parameters") from error
    bare = [name for name in loaded if not name.startswith(("arg:", "aux:"))]
    if bare:
        raise InputError(
            f"{path}: {len(bare)} of {len(loaded)} names do not begin with arg: or aux:, such as {bare[0]}: it was "
            "written by Gluon's save_parameters, or by hand; Gluon's `net.export(PREFIX)` writes such, and a symbol"
        )
    for name, array in loaded.items():
        if not array.shape:
            raise InputError(
                f"{path}: {name} has no dimensions, which only MXNet's NumPy arrays (npx.set_np) may lack: save it "
                "with the shape (1,)"
            )
    return {name.partition(":")[2]: array for name, array in loaded.items()}


def _load_in_its_semantics(path):
    """What MXNet loads from a file; those that are written under `npx.set_np` are read under it only."""
    try:
        return mx.nd.load(path)
    except mx.base.MXNetError as error:
        if "is_np_shape" not in str(error):
            raise
    with mx.util.np_shape(True):
        return mx.nd.load(path)


def check_channels(path, name, shape, expected):
    """Raise InputError if the weight of a convolution differs from what is expected in its input channels alone.

    Args:
        path: of the parameters.
        name: of the weight.
        shape: in the file.
        expected: by the network, 0 where that is unknown.
    """
    if len(shape) == len(expected) == 4 and shape[0] == expected[0] and expected[1] == _RGB != shape[1]:
        images = "grey images" if shape[1] == 1 else f"images of {shape[1]} channels"
        raise InputError(f"{path}: {name} has shape {shape}: it is of a network for {images}, and images here are RGB")


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
