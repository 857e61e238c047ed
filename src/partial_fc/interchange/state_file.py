"""State dicts of PyTorch in files: safetensors, or `.pt` where PyTorch is installed. No pickle is executed."""

from typing import Any, Dict, Mapping

import numpy as np

from ..checkpoint.tensor_file import open_tensors
from ..errors import InputError, cause
from ..files import atomic_path, has_ending, refuse_pointer

# Where the checkpoints of arcface_torch's trainer have the backbone.
_BACKBONE = "state_dict_backbone"
FLOATS = ("F16", "F32", "F64")


def read_state(path: str, part: str = _BACKBONE) -> Dict[str, np.ndarray]:
    """Arrays by name, of the types that the file has (16-bit floats as float32).

    Args:
        path: `.safetensors`, or `.pt` as `torch.save` writes it.
        part: key of the state dict in a checkpoint that holds several.

    Raises:
        InputError: naming the file: damaged; holds other things than tensors; PyTorch is not installed.
    """
    if has_ending(path, ".safetensors"):
        with open_tensors(path) as file:
            return {name: _as_numpy(path, name, file) for name in file.keys()}
    torch = import_torch(path)
    refuse_pointer(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # of many types: whatever damage or a refused pickle leads to
        raise InputError(
            f"{path}: not a file of tensors alone, as torch.save writes a state dict: {cause(error)}"
        ) from error
    if isinstance(loaded, torch.Tensor):
        loaded = {"weight": loaded}
    loaded = loaded.get(part, loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(loaded, dict) or not all(isinstance(each, torch.Tensor) for each in loaded.values()):
        raise InputError(f"{path}: expected a state dict, tensors by name")
    return {name: (each.float() if each.is_floating_point() else each).numpy() for name, each in loaded.items()}


def _as_numpy(path: str, name: str, file: Any) -> np.ndarray:
    kind = file.get_slice(name).get_dtype()
    refuse_bfloat16(path, name, kind)
    array = file.get_tensor(name)
    return array.astype(np.float32) if kind in FLOATS else array


def refuse_bfloat16(path: str, name: str, kind: str) -> None:
    """Raise InputError naming file and array if its type in a safetensors file is one that NumPy does not have."""
    if kind == "BF16":
        raise InputError(f"{path}: {name} is bfloat16: save it as float32")


def write_state(path: str, state: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name as `.safetensors` or `.pt`.

    Raises:
        InputError: PyTorch is not installed, for `.pt`.
        OSError: naming the file, if it cannot be written.
    """
    arrays = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in state.items()}
    if has_ending(path, ".safetensors"):
        from safetensors.numpy import save_file

        with atomic_path(path) as unfinished:
            save_file(arrays, unfinished, metadata={"format": "pt"})
        return
    torch = import_torch(path)
    with atomic_path(path) as unfinished:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, unfinished)


def import_torch(path: str) -> Any:
    """The package `torch`; raises InputError naming the file that needs it if it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{path}: needs PyTorch, which is not installed; .safetensors files do not") from error
    return torch
