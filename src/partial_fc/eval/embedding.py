"""From images to embeddings, by a trained model."""

import contextlib
import logging
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import mxnet as mx
import numpy as np

from ..backbone.fast import fast_symbol, network_input
from ..backbone.pixels import AS_THEY_ARE
from ..backbone.precision import with_cast_parameters
from ..backbone.shapes import check_elements, infer_shapes
from ..data.parallel import ordered_map
from ..data.progress import progress
from ..errors import InputError
from ..limits import usable_cores
from .model import Model, load_model
from .onnx_model import OnnxModel, is_onnx
from .protocols.unit_features import unit_or_nan

log = logging.getLogger("partial_fc")

BATCH_SIZE = 64
Size = Tuple[int, int]  # height and width


class Embedder:
    """A model on a device. Batches have a fixed size, which bounds the memory; the last one is padded.

    Args:
        model: Model.
        ctx: MXNet context.
        batch_size: images that the device computes at once.
        bgr: whether the model was trained on blue, green, red; `embed` takes RGB in any case.
        scaling: mean and scale (floats): the network gets (x - mean) * scale of pixels x, 0..255; None: what the
            beginning of its symbol suggests, see `load_model`.
        precision: of the network, see `fast_symbol`; embeddings are float32 all the same.

    Attributes:
        name: of the model, PREFIX,EPOCH.
        settings: values for JSON by name: `mean`, `scale`, and `scaling`, which is `given` or `guessed`.
        checksum: of the model's files and of all settings that change the embeddings.
        batch_size: as given.
        scaling: mean and scale in force.
        begins_with: names of the operators that take the pixels.

    Raises:
        InputError: the model is ambiguous, and no scaling is given.
    """

    def __init__(
        self,
        model: Union[Model, OnnxModel],
        ctx: Optional[mx.Context] = None,
        batch_size: int = BATCH_SIZE,
        bgr: bool = False,
        scaling: Optional[Tuple[float, float]] = None,
        precision: str = "float32",
    ) -> None:
        self.name, self.batch_size = model.name, batch_size
        if model.ambiguous and not scaling:
            raise InputError(
                f"`model` {self.name}: begins with a batch norm ({model.begins_with}), which does not show what pixels "
                "it expects: name them by `mean` M and `scale` S, the network gets (pixel - M) * S; 0 and 1 are pixels "
                "as they are"
            )
        mean, scale = self.scaling = scaling or model.scaling
        self.settings = {"mean": mean, "scale": scale, "scaling": "given" if scaling else "guessed"}
        own = "" if self.scaling == model.scaling else f"-mean{mean!r}-scale{scale!r}"
        own += "" if precision == "float32" else f"-{precision}"
        self.checksum = model.checksum + ("-bgr" if bgr else "") + own
        self.begins_with = model.begins_with
        self._model: Any = model
        self._ctx, self._bgr, self._precision = ctx or mx.cpu(), bgr, precision
        self._size: Optional[Size] = None
        self._module: Any = None  # once the size of the images is known

    def embed(self, images: np.ndarray, mirror: bool = False) -> np.ndarray:
        """Embeddings as the network computes them, not normalized.

        Args:
            images: (n, H, W, 3) uint8 RGB.
            mirror: of the mirror images instead.

        Returns:
            (n, D) float32; outputs of more axes are flattened. Callers apply `check_finite` to them.

        Raises:
            InputError: images of a size that the model does not take.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise InputError(f"expected uint8 images (n, height, width, 3), got {images.dtype} {images.shape}")
        embeddings = np.empty((len(images), self.embedding_size((images.shape[1], images.shape[2]))), np.float32)
        if mirror:
            images = images[:, :, ::-1]
        if self._bgr:
            images = images[..., ::-1]
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            embeddings[start : start + len(part)] = self._forward(part)
        return embeddings

    def embed_with_mirror(self, images: np.ndarray, unit: bool = False) -> np.ndarray:
        """Sum of the embeddings of images and of their mirror images, (n, D) float32; see `embed`.

        unit: whether both are divided by their norms first.
        """
        plain, mirrored = self.embed(images), self.embed(images, mirror=True)
        return unit_or_nan(plain) + unit_or_nan(mirrored) if unit else plain + mirrored

    def embedding_size(self, size: Size) -> int:
        """D for images of `size` (H, W); raises InputError where the model does not take such images."""
        if size != self._size:
            self._bind(size)
        return int(np.prod(self._module.output_shapes[0][1][1:]))

    def _forward(self, part: np.ndarray) -> np.ndarray:
        padded = np.zeros((self.batch_size,) + part.shape[1:], np.uint8)
        padded[: len(part)] = part
        return self._compute(padded)[: len(part)].reshape(len(part), -1)

    def _compute(self, images):
        """Output of the network for one batch (batch_size, H, W, 3) uint8."""
        data = network_input(images, self._ctx)
        if self.scaling != AS_THEY_ARE:
            mean, scale = self.scaling
            data = (data - mean) * scale
        self._module.forward(mx.io.DataBatch([data]), is_train=False)
        return self._module.get_outputs()[0].asnumpy()

    def check_size(self, size: Size) -> None:
        """Raise InputError unless the model takes images of `size` (H, W); nothing is computed."""
        self._check_shapes((self.batch_size, 3, *size))

    def _bind(self, size: Size) -> None:
        shape = (self.batch_size, 3, *size)
        self._check_shapes(shape)
        symbol = fast_symbol(self._model.symbol, self._ctx, self._precision)
        symbol, parameters = with_cast_parameters(symbol, self._model.parameters)
        module = mx.mod.Module(symbol, data_names=["data"], label_names=None, context=self._ctx)
        module.bind([("data", shape)], for_training=False)
        module.set_params(
            {name: parameters[name] for name in symbol.list_arguments() if name != "data"},
            {name: parameters[name] for name in symbol.list_auxiliary_states()},
        )
        self._size, self._module = size, module

    def _check_shapes(self, shape: Tuple[int, ...]) -> None:
        """Raise InputError unless the model's parameters fit images of this shape."""
        symbol, size, what = self._model.symbol, f"{shape[2]}x{shape[3]}", f"`model` {self.name}"
        check_elements(symbol, shape, what)
        arguments, outputs, states = infer_shapes(symbol, shape, what)
        expected = dict(zip(symbol.list_arguments(), arguments), **dict(zip(symbol.list_auxiliary_states(), states)))
        for name, parameter in self._model.parameters.items():
            if expected.get(name, parameter.shape) != parameter.shape and name != "data":
                raise InputError(
                    f"`model` {self.name}: its parameter {name} has shape {parameter.shape}, images of {size} pixels "
                    f"(height x width) would need {expected[name]}: it was trained on another size (give images of "
                    "that, or use `size`), or symbol and parameters are not of one network"
                )
        if outputs[0][0] != shape[0]:
            raise InputError(f"`model` {self.name}: its output {outputs[0]} has no row for each of {shape[0]} images")


class OnnxEmbedder(Embedder):
    """An Embedder of an OnnxModel, which ONNX Runtime computes on the CPU. See Embedder."""

    def __init__(
        self,
        model: OnnxModel,
        batch_size: int = BATCH_SIZE,
        bgr: bool = False,
        scaling: Optional[Tuple[float, float]] = None,
    ) -> None:
        super().__init__(model, mx.cpu(), batch_size, bgr, scaling)
        self._embedding_size = 0

    def embedding_size(self, size: Size) -> int:
        """D for images of `size` (H, W); raises InputError if the model does not take such images."""
        if size != self._size:
            self._size, self._embedding_size = size, int(np.prod(self._model.output_shape(size)))
        return self._embedding_size

    def check_size(self, size: Size) -> None:
        """Raise InputError unless the model takes images of `size` (H, W); one is computed."""
        self.embedding_size(size)

    def _compute(self, images: np.ndarray) -> np.ndarray:
        mean, scale = self.scaling
        data = (images.transpose(0, 3, 1, 2).astype(np.float32) - np.float32(mean)) * np.float32(scale)
        return self._model.forward(data)


def check_finite(embeddings: np.ndarray, name: Callable[[int], str], first: int = 0) -> None:
    """Raise InputError for a row of embeddings (n, D) that is not finite.

    Args:
        name: function from the number of an image to its name.
        first: number of the first row's image.
    """
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise InputError(f"{name(first + int(np.argmin(finite)))}: its embedding is not finite")


def image_batches(
    read: Callable[[int], np.ndarray], count: int, batch_size: int, num_workers: int = 0
) -> Iterator[Tuple[int, np.ndarray]]:
    """Images in batches, read ahead of time by threads, with progress shown.

    Args:
        read: function from an index below `count` to an image, (H, W, 3) uint8; all of one size. Threads call it.
        count: number of images.
        batch_size: images per batch.
        num_workers: threads; 0: as many as usable cores.

    Yields:
        index of a batch's first image, and the images, (n, H, W, 3) uint8.
    """
    parts = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    for part, images in read_ahead(read, parts, num_workers):
        yield part.start, images


def read_ahead(
    read: Callable[[int], np.ndarray], parts: Sequence[range], num_workers: int = 0
) -> Generator[Tuple[range, np.ndarray], None, None]:
    """As `image_batches`, for batches in `parts`, ranges of indices; yields range and images."""

    def load(part: range) -> Tuple[range, np.ndarray]:
        return part, np.stack([read(index) for index in part])

    num_workers = num_workers or usable_cores()
    with contextlib.closing(ordered_map(load, parts, num_workers, num_workers + 2)) as batches:
        for _, batch in zip(progress(parts, "batches"), batches):
            yield batch


class ModelOptions(NamedTuple):
    """How models are opened: `layer` and `operators` as `load_model` has them, `threads` as OnnxModel has them, the
    others as `Embedder` has them."""

    layer: Optional[str] = None
    operators: Sequence[str] = ()
    bgr: bool = False
    scaling: Optional[Tuple[float, float]] = None
    batch_size: int = BATCH_SIZE
    precision: str = "float32"
    threads: int = 0


def open_embedders(
    names: Sequence[str], ctx: mx.Context, sizes: Iterable[Tuple[int, int]], options: ModelOptions
) -> List[Embedder]:
    """Embedders of several models, which all take images of these sizes (H, W); all are opened before one computes.

    Raises:
        InputError: see `open_embedder`; a model does not take images of such a size.
    """
    embedders = [open_embedder(name, ctx, options) for name in names]
    for embedder in embedders:
        for size in sizes:
            embedder.check_size(size)
    return embedders


def open_embedder(name: str, ctx: mx.Context, options: ModelOptions) -> Embedder:
    """The Embedder of one model; the log says how its pixels are scaled, and why.

    Args:
        name: PREFIX[,EPOCH] of MXNet's files, or path of a file .onnx.
        ctx: MXNet context; ONNX Runtime computes on the CPU.
        options: of the model.

    Raises:
        InputError: as `load_model`, `OnnxModel` and Embedder; `layer` with a file .onnx.
    """
    embedder = _open_onnx(name, options) if is_onnx(name) else _open_mxnet(name, ctx, options)
    why = f"because it begins with {embedder.begins_with}; mean and scale override this"
    log.info("%s: the network gets %s", name, pixel_words(embedder.settings, why))
    return embedder


def _open_mxnet(name: str, ctx: mx.Context, options: ModelOptions) -> Embedder:
    model = load_model(name, options.layer, options.operators)
    return Embedder(model, ctx, options.batch_size, options.bgr, options.scaling, options.precision)


def _open_onnx(name: str, options: ModelOptions) -> Embedder:
    if options.layer is not None:
        raise InputError(f"`layer` {options.layer}: {name} is an ONNX model, whose embedding is its only output")
    return OnnxEmbedder(OnnxModel(name, options.threads), options.batch_size, options.bgr, options.scaling)


def pixel_words(settings: Dict[str, Any], why: str) -> str:
    """The pixels that a network gets, by the settings of its Embedder, and `why`, if that was guessed."""
    mean, scale = settings["mean"], settings["scale"]
    pixels = "pixels as they are" if (mean, scale) == AS_THEY_ARE else f"(pixel - {mean:g}) * {scale:g}"
    return f"{pixels}, {'as mean and scale say' if settings['scaling'] == 'given' else why}"
