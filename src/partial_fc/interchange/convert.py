"""Trained models to and from the files of other systems, checked as they are converted."""

import logging
import math
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..checkpoint.model_files import save_model
from ..errors import InputError
from ..eval.embedding import Embedder
from ..eval.model import Model
from ..eval.onnx_model import OnnxModel
from ..files import atomic_path
from ..symbol import get_symbol, resnet
from .compare import Difference, check_same, random_images
from .iresnet import from_iresnet, to_iresnet
from .onnx_export import export_onnx
from .state_file import read_state, write_state

log = logging.getLogger("partial_fc")

_RANDOM_IMAGES = 8
_REDUCTION = 16  # of height and width, from the images to the last layer


def to_onnx(
    model: Model,
    path: str,
    size: Tuple[int, int],
    images: np.ndarray,
    scaling: Optional[Tuple[float, float]] = None,
    bgr: bool = False,
    metadata: Mapping[str, str] = {},
) -> Difference:
    """Write a model as ONNX, once the embeddings of ONNX Runtime are MXNet's, on noise and on images.

    Args:
        model: as `load_model` gives it.
        path: of the new file.
        size: H, W of the images.
        images: (n, H, W, 3) uint8 RGB to compare on, beside noise; n may be 0.
        scaling: see Embedder.
        bgr, metadata: see `export_onnx`.

    Raises:
        InputError: ONNX Runtime does not compute the same embeddings, and no file is left; see `export_onnx`.
        OSError: naming the file, if it cannot be written.
    """
    embedder = Embedder(model, batch_size=_RANDOM_IMAGES, bgr=bgr, scaling=scaling)
    embedder.check_size(size)
    images = np.concatenate([random_images(_RANDOM_IMAGES, size), images])
    with atomic_path(path) as unfinished:
        export_onnx(model, unfinished, size, embedder.scaling, bgr, metadata)
        found = OnnxModel(unfinished).forward(images.transpose(0, 3, 1, 2).astype(np.float32))
        return check_same(embedder.embed(images), found.reshape(len(found), -1), path)


def to_arcface_torch(model: Model, path: str) -> List[int]:
    """Write a residual network as a state dict of arcface_torch's `iresnet`, `.safetensors` or `.pt`.

    Returns:
        Number of units in each of its four stages.

    Raises:
        InputError: another network than r18 ... of units as arcface_torch has them; see `write_state`.
    """
    parameters = {name: array.asnumpy() for name, array in model.parameters.items()}
    needed = {*model.symbol.list_arguments(), *model.symbol.list_auxiliary_states()} - {"data"}
    try:
        state = to_iresnet({name: parameters[name] for name in needed})
        units, back = from_iresnet(state)
        expected = _symbol(units, back)
    except InputError as error:
        raise InputError(f"{model.name}: cannot become a network of arcface_torch: {error}") from error
    _check_same_network(model, expected, back)
    write_state(path, state)
    return units


def from_arcface_torch(path: str, prefix: str) -> Tuple[List[int], int, int]:
    """Convert a state dict of arcface_torch's `iresnet` to PREFIX-symbol.json and PREFIX-0000.params.

    Args:
        path: `.safetensors` or `.pt`; of a checkpoint of arcface_torch's trainer, its backbone.
        prefix: of the new files, which replace those that are there.

    Returns:
        Number of units in each of the four stages, the size of the images, H = W, and that of the embeddings.

    Raises:
        InputError: naming the file: damaged, or another network.
        OSError: naming the file that cannot be written.
    """
    state = read_state(path)
    try:
        units, parameters = from_iresnet(state)
        symbol = _symbol(units, parameters)
        size = _image_size(parameters)
        arguments, states = _checked(symbol, parameters, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    save_model(prefix, symbol, arguments, states)
    return units, size, parameters["pre_fc1_weight"].shape[0]


def network_name(units: Sequence[int]) -> str:
    """Name of our network with such units, such as `r50`; empty where there is none."""
    names = [f"r{depth}" for depth, own in resnet.UNITS.items() if tuple(own) == tuple(units)]
    return names[-1] if names else ""  # r49 and r50 have the same


def _symbol(units: Sequence[int], parameters: Mapping[str, np.ndarray]) -> mx.sym.Symbol:
    name = network_name(units)
    embedding_size = parameters["pre_fc1_weight"].shape[0]
    if name:
        return get_symbol(name, embedding_size)
    with mx.name.NameManager():
        return resnet.get_symbol(tuple(units), embedding_size)


def _image_size(parameters: Mapping[str, np.ndarray]) -> int:
    positions, rest = divmod(parameters["pre_fc1_weight"].shape[1], parameters["bn1_gamma"].shape[0])
    side = math.isqrt(positions)
    if rest or side * side != positions:
        raise InputError(f"fc.weight of shape {parameters['pre_fc1_weight'].shape} is not of square images")
    return _REDUCTION * side


def _checked(
    symbol: mx.sym.Symbol, parameters: Mapping[str, np.ndarray], size: int
) -> Tuple[Dict[str, mx.nd.NDArray], Dict[str, mx.nd.NDArray]]:
    """Arguments and auxiliary states, of the shapes that the symbol has."""
    arguments, _, states = symbol.infer_shape(data=(1, 3, size, size))
    expected = dict(zip(symbol.list_arguments(), arguments), **dict(zip(symbol.list_auxiliary_states(), states)))
    for name, array in parameters.items():
        if tuple(expected[name]) != array.shape:
            raise InputError(f"{name} has shape {array.shape}, expected {tuple(expected[name])}")
    arrays = {name: mx.nd.array(array) for name, array in parameters.items()}
    auxiliary = set(symbol.list_auxiliary_states())
    return (
        {name: array for name, array in arrays.items() if name not in auxiliary},
        {name: array for name, array in arrays.items() if name in auxiliary},
    )


def _check_same_network(model: Model, expected: mx.sym.Symbol, back: Mapping[str, np.ndarray]) -> None:
    """Raise InputError unless the network computes what the one of these names in arcface_torch does."""
    size = _image_size(back)
    images = random_images(_RANDOM_IMAGES, (size, size))
    arguments, states = _checked(expected, back, size)
    rebuilt = model._replace(symbol=expected, parameters={**arguments, **states}, scales_input=True)
    own = Embedder(model, batch_size=_RANDOM_IMAGES).embed(images)
    rebuilt_embeddings = Embedder(rebuilt, batch_size=_RANDOM_IMAGES).embed(images)
    log.info("compared on %s", check_same(own, rebuilt_embeddings, f"{model.name} as arcface_torch's"))
