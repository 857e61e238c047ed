"""The backbone in MXNet's files: the symbol as JSON, parameters and auxiliary states as `.params`."""

import collections
import glob
import os
import re
from typing import Container, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

import mxnet as mx

from ..errors import InputError
from ..files import atomic_path, naming
from .params_file import load_ndarrays
from .tensor_file import open_tensors, write_tensors

_SHOWN, _ALL_SHOWN = 3, 30  # most names in an error, and in the log

Arrays = Mapping[str, mx.nd.NDArray]  # by name
_RGB = 3


def model_paths(name: str) -> Tuple[str, str]:
    """Paths of the symbol and of the parameters that `PREFIX[,EPOCH]` stands for, whether they exist or not."""
    match = re.fullmatch(r"(.+),([0-9]+)", name, re.DOTALL)
    prefix, epoch = match.groups() if match else (name, 0)
    return f"{prefix}-symbol.json", f"{prefix}-{int(epoch):04d}.params"


def check_model_exists(name: str, option: str) -> None:
    """Raise InputError if one of the two files is missing of the model that the user named with an option.

    Args:
        name: PREFIX[,EPOCH].
        option: such as `--model`.
    """
    for path in model_paths(name):
        check_exists(path, name, option)


def check_exists(path: str, name: str, option: str) -> None:
    """As `check_model_exists`, for one of its two files."""
    if os.path.isfile(path):
        return
    prefix = model_paths(name)[0][: -len("-symbol.json")]
    there = sorted(glob.glob(glob.escape(prefix) + "-*.params"))
    hint = f"; there is {', '.join(there[:_SHOWN])}" if there else ""
    file_name = re.fullmatch(r"(.+)-([0-9]{4,})\.params", name, re.DOTALL)
    if file_name:
        hint = f"; for that file write {file_name[1]},{int(file_name[2])}"
    raise InputError(
        f"{option} {name}: no file {path}{hint}: PREFIX[,EPOCH] stands for PREFIX-symbol.json and PREFIX-EPOCH.params, "
        "by default epoch 0"
    )


def save_model(prefix: str, symbol: mx.sym.Symbol, arg_params: Arrays, aux_params: Arrays) -> None:
    """Write `PREFIX-symbol.json` and `PREFIX-0000.params`, which `mx.model.load_checkpoint(PREFIX, 0)` reads.

    Raises:
        OSError: a file cannot be written; an earlier one of that name is left as it was.
    """
    save_symbol(prefix, symbol)
    arrays = {"arg:" + name: array for name, array in arg_params.items()}
    arrays.update({"aux:" + name: array for name, array in aux_params.items()})
    path = prefix + "-0000.params"
    with naming(path, mx.base.MXNetError), atomic_path(path) as unfinished:
        mx.nd.save(unfinished, arrays)


def save_symbol(prefix: str, symbol: mx.sym.Symbol) -> None:
    """Write `PREFIX-symbol.json`; raises OSError as `save_model`."""
    path = prefix + "-symbol.json"
    with naming(path, mx.base.MXNetError), atomic_path(path) as unfinished:
        symbol.save(unfinished)


def load_parameters(path: str, parameters: Arrays) -> Tuple[List[str], List[str]]:
    """Copy the backbone's parameters from a `.params` file of MXNet.

    Args:
        path: of the file, whose names begin with `arg:` or `aux:`.
        parameters: to fill, by name without that prefix.

    Returns:
        Names that the file lacks, and surplus names of the file.

    Raises:
        InputError: an unreadable file, or a parameter of another shape; then nothing is copied.
    """
    loaded = read_parameters(path)
    copy_parameters(path, loaded, parameters)
    return [name for name in parameters if name not in loaded], [name for name in loaded if name not in parameters]


def copy_parameters(path: str, loaded: Arrays, parameters: Arrays) -> None:
    """Copy the arrays `loaded` from the file `path` whose names are also in `parameters`.

    Raises:
        InputError: a parameter of another shape; then nothing is copied.
    """
    check_shapes(path, loaded, {name: array.shape for name, array in parameters.items()})
    for name in set(parameters) & set(loaded):
        loaded[name].copyto(parameters[name])


def check_shapes(path: str, loaded: Arrays, shapes: Mapping[str, Tuple[int, ...]]) -> None:
    """Raise InputError if an array has another shape than `shapes` has for its name."""
    for name in shapes:
        if name in loaded and loaded[name].shape != shapes[name]:
            check_channels(path, name, loaded[name].shape, shapes[name])
            raise InputError(
                f"{path}: {name} has shape {loaded[name].shape}, this network's has {shapes[name]}: "
                "use the same --network, embedding_size, image_size and net_output"
            )


def why_not(needed: Iterable[str], held: Iterable[str]) -> str:
    """The likely reason why a file lacks parameters of a network, for an error.

    Args:
        needed: names of the network's parameters.
        held: names in the file.
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
    """Names for the log, separated by commas; of very many only the first."""
    names = list(names)
    shown = names if len(names) <= _ALL_SHOWN else names[:_ALL_SHOWN]
    return ", ".join(shown) + (f" ... and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + " ..." * (len(names) > _SHOWN)


def _common_prefix(names: Sequence[str], others: Set[str]) -> Optional[str]:
    """The prefix without which most of the names are among the others; None if there is none."""
    found = collections.Counter(
        next((name[:start] for start in range(1, len(name)) if name[start:] in others), None) for name in names
    )
    prefix, count = found.most_common(1)[0] if names else (None, 0)
    return prefix if 2 * count > len(names) else None


def read_parameters(path: str) -> Dict[str, mx.nd.NDArray]:
    """NDArrays of a `.params` file of MXNet, by name without the prefix `arg:` or `aux:`.

    Raises:
        InputError: no such file, arrays without names, names without that prefix, or an array without dimensions; see
            also `load_ndarrays`.
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
            "written by Gluon's save_parameters, or by hand; Gluon's `net.export(PREFIX)` writes the right names"
        )
    for name, array in loaded.items():
        if not array.shape:
            raise InputError(
                f"{path}: {name} has no dimensions, which only MXNet's NumPy arrays (npx.set_np) may lack: save it "
                "with the shape (1,)"
            )
    return {name.partition(":")[2]: array for name, array in loaded.items()}


def check_channels(path: str, name: str, shape: Tuple[int, ...], expected: Tuple[int, ...]) -> None:
    """Raise InputError if a convolution's weight differs from the expected shape only in its input channels.

    Args:
        path: of the parameters.
        name: of the weight.
        shape: in the file.
        expected: shape in the network, 0 where unknown.
    """
    if len(shape) == len(expected) == 4 and shape[0] == expected[0] and expected[1] == _RGB != shape[1]:
        images = "gray images" if shape[1] == 1 else f"images of {shape[1]} channels"
        raise InputError(f"{path}: {name} has shape {shape}: it is of a network for {images}, but images here are RGB")


def save_arrays(path: str, arrays: Arrays) -> None:
    """Write float32 NDArrays as safetensors; only one at a time is copied to host memory.

    Raises:
        OSError: the file cannot be written.
    """
    blocks = ((name, 0, array.asnumpy()) for name, array in arrays.items())
    write_tensors(path, {name: array.shape for name, array in arrays.items()}, blocks, {})


def load_arrays(path: str, arrays: Arrays, optional: Container[str] = ()) -> List[str]:
    """Fill NDArrays from a file of `save_arrays`; returns the names of those that it lacks.

    Args:
        path: of the file.
        arrays: to fill, by name.
        optional: names that either the file or `arrays` may lack.

    Raises:
        InputError: a damaged file, or other names or shapes in it; then nothing is copied.
    """
    with open_tensors(path) as file:
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in kinds}
        if not set(kinds.values()) <= {"F32"}:
            raise InputError(f"{path}: holds {', '.join(sorted(set(kinds.values())))}, expected float32 only")
        for name, shape in {**shapes, **{name: array.shape for name, array in arrays.items()}}.items():
            if name in optional and not (name in shapes and name in arrays):
                continue
            if shapes.get(name) != shape or name not in arrays:
                raise InputError(f"{path}: {name} has shape {shapes.get(name)}, this network's has {shape}")
        for name in set(arrays) & set(shapes):
            arrays[name][:] = file.get_tensor(name)
    return sorted(set(arrays) - set(shapes))
