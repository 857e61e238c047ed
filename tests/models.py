"""Small models in MXNet's files, and the same in NumPy."""

import mxnet as mx
import numpy as np

from partial_fc.model_files import save_model
from partial_fc.symbol.layers import image_input


def write_linear_model(prefix, size=16, embedding_size=6, seed=3, scales_input=True):
    """Write a model whose embedding `fc1_output` is linear in the pixels; returns it as a function of images.

    It tells left from right, and red from blue.
    """
    weight = np.random.RandomState(seed).randn(embedding_size, 3 * size * size).astype(np.float32) / size
    data = image_input() if scales_input else mx.sym.Variable("data")
    symbol = mx.sym.FullyConnected(data, num_hidden=embedding_size, no_bias=True, name="fc1")
    save_model(str(prefix), symbol, {"fc1_weight": mx.nd.array(weight)}, {})

    def embed(images):
        pixels = (np.asarray(images, np.float64) - 127.5) / 128
        return pixels.transpose(0, 3, 1, 2).reshape(len(images), -1) @ weight.T

    return embed
