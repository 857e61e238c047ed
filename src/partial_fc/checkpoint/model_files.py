"""The backbone in MXNet's files: the symbol as JSON, parameters and auxiliary states as `.params`."""

import collections
import glob
import os
import re
from typing import Iterable, Tuple

import mxnet as mx

from ..errors import InputError
from ..files import atomic_path, naming
from .params_file import load_ndarrays
from .tensor_file import open_tensors, write_tensors

_SHOWN, _ALL_SHOWN = 3, 30  # names in an error; in the log, before they are shortened
_RGB = 3


def model_paths(name: str) -> Tuple[str, str]:
    """Paths of the symbol and of the parameters that `PREFIX[,EPOCH]` stands for, whether they exist or not."""
    match = re.fullmatch(r"(.+),([0-9]+)", name, re.DOTALL)
    prefix, epoch = match.groups() if match else (name, 0)
    return f"{prefix}-symbol.json", f"{prefix}-{int(epoch):04d}.params"


def check_model_exists(name: str, option: str):
    """Raise InputError if one of the two files of the model is missing that the user named with an option.

    Args:
        name: PREFIX[,EPOCH].
        option: such as `--model`.
    """
    for path in model_paths(name):
        check_exists(path, name, option)


def check_exists(path: str, name: str, option: str):
    """As `check_model_exists`, for one of `model_paths` only."""
    if os.path.isfile(path):
        return
    prefix = model_paths(name)[0][: -len("-symbol.json")]
    there = sorted(glob.glob(glob.escape(prefix) + "-*.params"))
    hint = f"; there is {', '.join(there[:_SHOWN])}" if there else ""
    whole = re.fullmatch(r"(.+)-([0-9]{4,})\.params", name, re.DOTALL)
    if whole:
        hint = f"; for that file write {whole[1]},{int(whole[2])}"
    raise InputError(
        f"{option} {name}: no file {path}{hint}: PREFIX[,EPOCH] stands for PREFIX-symbol.json and PREFIX-EPOCH.params, "
        "by default epoch 0"
    )


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
    copy_parameters(path, loaded, parameters)
    return [name for name in parameters if name not in loaded], [name for name in loaded if name not in parameters]


def copy_parameters(path, loaded, parameters):
    """Copy those of the NDArrays `loaded` by name, from the file `path`, that are also in `parameters`.

    Raises:
        InputError: a parameter of another shape; nothing is copied then.
    """
    check_shapes(path, loaded, {name: array.shape for name, array in parameters.items()})
    for name in set(parameters) & set(loaded):
        loaded[name].copyto(parameters[name])


def check_shapes(path, loaded, shapes):
    """Raise InputError if one of the NDArrays `loaded` by name has another shape than `shapes` has for its name."""
    for name in shapes:
        if name in loaded and loaded[name].shape != shapes[name]:
            check_channels(path, name, loaded[name].shape, shapes[name])
            raise InputError(
                f"{path}: {name} has shape {loaded[name].shape}, this network's has {shapes[name]}: "
                "use the same --network, embedding_size, image_size and net_output"
            )


def why_not(needed: Iterable[str], held: Iterable[str]) -> str:
    """What a file holds, and the nearest reason why it lacks parameters of a network.

    Args:
        needed: names of the network's parameters.
        held: names of the file's.
    """
    needed, held = list(needed), list(held)
    text = f"the file holds {len(held)} parameters ({_some(held)}), the network has {len(needed)} ({_some(needed)})"
    for names, others, whose, which in (
        (held, needed, "the file's", "without"),
        (needed, held, "the network's", "with"),
    ):
        prefix = _common_prefix(names, set(others))
        if prefix:
            return f"{text}: {whose} names begin with {prefix!r}; save the parameters {which} it"
    return text


def listed(names: Iterable[str]) -> str:
    """Names for the log, one after the other; of very many only the first."""
    names = list(names)
    shown = names if len(names) <= _ALL_SHOWN else names[:_ALL_SHOWN]
    return ", ".join(shown) + (f" ... and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _some(names):
    return ", ".join(names[:_SHOWN]) + " ..." * (len(names) > _SHOWN)


def _common_prefix(names, others):
    """What most of the names have in front of one of the others; None if that is no beginning of most."""
    found = collections.Counter(
        next((name[:start] for start in range(1, len(name)) if name[start:] in others), None) for name in names
    )
    prefix, count = found.most_common(1)[0] if names else (None, 0)
    return prefix if 2 * count > len(names) else None


def read_parameters(path):
    """NDArrays of a `.params` file of MXNet, by name without the beginning `arg:` or `aux:`.

    Raises:
        InputError: no such file, not one of named parameters, names without that beginning, or an array without
            dimensions; see `load_ndarrays`.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; a model PREFIX,EPOCH has its parameters in PREFIX-EPOCH.params")
    loaded = load_ndarrays(path)
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: not a file of named MXNet parameters")
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
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in kinds}
        if not set(kinds.values()) <= {"F32"}:
            raise InputError(f"{path}: holds {', '.join(sorted(set(kinds.values())))}, expected float32 only")
        for name, shape in {**shapes, **{name: array.shape for name, array in arrays.items()}}.items():
            if shapes.get(name) != shape or name not in arrays:
                raise InputError(f"{path}: {name} is not as in this network, {shapes.get(name)} instead of {shape}")
        for name, array in arrays.items():
            array[:] = file.get_tensor(name)
