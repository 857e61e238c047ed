"""From images to embeddings, by a trained model."""

import contextlib

import mxnet as mx
import numpy as np

from ..data.parallel import ordered_map
from ..data.progress import progress
from ..errors import InputError, cause
from ..limits import usable_cores
from .model import load_model
from .plain_layout import plain_layout

BATCH_SIZE = 64


class Embedder:
    """A model on a device. Memory is bounded by the batch: images beyond it take turns, and fewer are padded.

    Args:
        model: Model.
        ctx: MXNet context.
        batch_size: images that the device computes at once.
        bgr: whether the model was trained on blue, green, red; images are given as RGB all the same.

    Attributes:
        name: of the model, PREFIX,EPOCH.
        checksum: of the model's files, and of what else the embeddings depend on: equal ones give equal embeddings.
        batch_size: as given.
    """

    def __init__(self, model, ctx=None, batch_size=BATCH_SIZE, bgr=False):
        self.name, self.batch_size = model.name, batch_size
        self.checksum = model.checksum + ("-bgr" if bgr else "")
        self._model, self._ctx, self._bgr = model, ctx or mx.cpu(), bgr
        self._size = self._module = None

    def embed(self, images, mirror=False):
        """Embeddings, not normalised, as the network gives them.

        Args:
            images: (n, H, W, 3) uint8 RGB.
            mirror: of the mirror images instead.

        Returns:
            (n, D) float32; outputs of more axes are flattened. Values that are not finite are the caller's to refuse.

        Raises:
            InputError: images of a size that the model does not take.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise InputError(f"expected uint8 images (n, height, width, 3), got {images.dtype} {images.shape}")
        embeddings = np.empty((len(images), self.embedding_size(images.shape[1:3])), np.float32)
        if mirror:
            images = images[:, :, ::-1]
        if self._bgr:
            images = images[..., ::-1]
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            embeddings[start : start + len(part)] = self._forward(part)
        return embeddings

    def embed_with_mirror(self, images):
        """Sum of the embeddings of images and of their mirror images, (n, D) float32; see `embed`."""
        return self.embed(images) + self.embed(images, mirror=True)

    def embedding_size(self, size):
        """D for images of `size` (H, W); raises InputError where the model does not take such images."""
        if size != self._size:
            self._bind(size)
        return int(np.prod(self._module.output_shapes[0][1][1:]))

    def _forward(self, part):
        padded = np.zeros((self.batch_size,) + part.shape[1:], np.uint8)
        padded[: len(part)] = part
        # Bytes travel to the device, floats are made there.
        data = mx.nd.array(padded, ctx=self._ctx, dtype="uint8").transpose((0, 3, 1, 2)).astype("float32")
        if not self._model.scales_input:
            data = (data - 127.5) * 0.0078125
        self._module.forward(mx.io.DataBatch([data]), is_train=False)
        return self._module.get_outputs()[0].asnumpy()[: len(part)].reshape(len(part), -1)

    def _bind(self, size):
        shape = (self.batch_size, 3, *size)
        self._check_shapes(shape)
        symbol, parameters = self._model.symbol, self._model.parameters
        module = mx.mod.Module(plain_layout(symbol), data_names=["data"], label_names=None, context=self._ctx)
        module.bind([("data", shape)], for_training=False)
        module.set_params(
            {name: parameters[name] for name in symbol.list_arguments() if name != "data"},
            {name: parameters[name] for name in symbol.list_auxiliary_states()},
        )
        self._size, self._module = size, module

    def _check_shapes(self, shape):
        """Raise InputError unless the model's parameters fit images of this shape."""
        symbol, size = self._model.symbol, f"{shape[2]}x{shape[3]}"
        try:
            arguments, outputs, states = symbol.infer_shape(data=shape)
        except mx.base.MXNetError as error:
            raise InputError(f"--model {self.name}: cannot take images of {size} pixels: {cause(error)}") from error
        expected = dict(zip(symbol.list_arguments(), arguments), **dict(zip(symbol.list_auxiliary_states(), states)))
        for name, parameter in self._model.parameters.items():
            if expected.get(name, parameter.shape) != parameter.shape and name != "data":
                raise InputError(
                    f"--model {self.name}: its parameter {name} has shape {parameter.shape}, images of {size} pixels "
                    f"(height x width) would need {expected[name]}: it was trained on another size; give images of "
                    "that, or --size"
                )
        if outputs[0][0] != shape[0]:
            raise InputError(f"--model {self.name}: its output {outputs[0]} has no row for each of {shape[0]} images")


def check_finite(embeddings, name):
    """Raise InputError for a row of embeddings (n, D) that is not finite; `name`: function from its place to a name."""
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise InputError(f"{name(int(np.argmin(finite)))}: its embedding is not finite")


def image_batches(read, count, batch_size, num_workers=0):
    """Images in batches, read ahead of time by threads, with progress shown.

    Args:
        read: function from an index below `count` to an image, (H, W, 3) uint8; all of one size. Threads call it.
        count: number of images.
        batch_size: images a batch.
        num_workers: threads; 0: the cores there are.

    Yields:
        index of a batch's first image, and the images, (n, H, W, 3) uint8.
    """
    parts = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    for part, images in read_ahead(read, parts, num_workers):
        yield part.start, images


def read_ahead(read, parts, num_workers=0):
    """As `image_batches`, for batches that are given as ranges of indices; yields range and images."""

    def load(part):
        return part, np.stack([read(index) for index in part])

    num_workers = num_workers or usable_cores()
    with contextlib.closing(ordered_map(load, parts, num_workers, num_workers + 2)) as batches:
        for _, batch in zip(progress(parts, "batches"), batches):
            yield batch


def open_embedders(args, ctx):
    """List of an Embedder for each `--model` of the arguments, see `arguments.add_model`.

    Raises:
        InputError: see `load_model`.
    """
    return [open_embedder(name, args, ctx) for name in args.model]


def open_embedder(name, args, ctx):
    """The Embedder of one model."""
    return Embedder(load_model(name, args.layer), ctx, args.batch_size, args.bgr)
