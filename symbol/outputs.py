"""The end of a backbone, from its last feature map to the embedding, by the published name, `net_output`.

Every function takes the Layers, the last map (N, C, H, W), its number of channels C and the embeddings' dimension D.
All but Z return the embeddings `fc1_output` (N, D), float32, not normalized.
"""

import functools
from typing import Callable, Dict, NamedTuple, Optional

import mxnet as mx

from .layers import Layers

_DROPOUT = 0.4
_DEPTHWISE_EPS = 1e-3  # MXNet's own default, which MobileFaceNet's layers were published with
_GDC_KERNEL = 7


class _Steps(NamedTuple):
    """Which steps surround the fully connected layer: batch normalization, dropout; and normalization behind it."""

    norm_before: bool
    dropout: bool
    norm_after: bool


def _fully_connected(
    data: mx.sym.Symbol, embedding_size: int, name: str, weight: Optional[mx.sym.Symbol] = None
) -> mx.sym.Symbol:
    # flatten is the default, but the ONNX exporter needs to see it.
    return mx.sym.FullyConnected(data, weight, num_hidden=embedding_size, flatten=True, name=name)


def _normalized(
    layers: Layers, data: mx.sym.Symbol, embedding_size: int, weight: Optional[mx.sym.Symbol] = None
) -> mx.sym.Symbol:
    """Fully connected layer and batch normalization, its gain fixed at 1: every dimension has the same variance."""
    body = _fully_connected(data, embedding_size, "pre_fc1", weight)  # (N, D)
    return layers.batch_norm(body, "fc1", fix_gamma=True)


def _dense(steps: _Steps, layers: Layers, features: mx.sym.Symbol, channels: int, embedding_size: int) -> mx.sym.Symbol:
    """A fully connected layer over the whole map (ArcFace, arXiv 1801.07698, section 3.1)."""
    body = layers.batch_norm(features, "bn1") if steps.norm_before else features
    if steps.dropout:
        body = mx.sym.Dropout(body, p=_DROPOUT)
    if steps.norm_after:
        return _normalized(layers, body, embedding_size)
    return _fully_connected(body, embedding_size, "fc1")


def feature_map(layers: Layers, features: mx.sym.Symbol, channels: int, embedding_size: int) -> mx.sym.Symbol:
    """Z: no embedding, but the normalized map (N, C, H, W) after dropout, `dropout0_output`."""
    return mx.sym.Dropout(layers.batch_norm(features, "bn1"), p=_DROPOUT)


def separable(layers: Layers, features: mx.sym.Symbol, channels: int, embedding_size: int) -> mx.sym.Symbol:
    """SFC: a depthwise convolution of stride 2 and a pointwise one before the fully connected layer."""
    body = layers.batch_norm(features, "bn1")
    body = layers.conv(body, channels, "convf", stride=2, num_group=channels)
    body = layers.activation(layers.batch_norm(body, "bnf"), "reluf")
    body = layers.conv(body, channels, "convf2", kernel=1, bias=True)
    body = layers.activation(layers.batch_norm(body, "bnf2"), "reluf2")
    return _normalized(layers, body, embedding_size)


def average_pooling(layers: Layers, features: mx.sym.Symbol, channels: int, embedding_size: int) -> mx.sym.Symbol:
    """GAP: the mean of every channel, then the fully connected layer."""
    body = layers.activation(layers.batch_norm(features, "bn1"), "relu1")
    body = mx.sym.Pooling(body, global_pool=True, kernel=(7, 7), pool_type="avg", name="pool1")
    return _normalized(layers, mx.sym.Flatten(body), embedding_size)


def norm_aware_pooling(layers: Layers, features: mx.sym.Symbol, channels: int, embedding_size: int) -> mx.sym.Symbol:
    """GNAP: the mean over all places of the map once their features are of equal length, the mean length of the batch.

    The length is averaged over the whole batch, as published: an embedding depends a little on the other images.
    """
    body = features
    if embedding_size > channels:
        body = layers.batch_norm(layers.conv(body, embedding_size, "convx", kernel=1), "convx_bn")
        body = layers.activation(body, "convx_relu")
    body = layers.batch_norm(body, "bn6f", fix_gamma=True)
    length = mx.sym.sqrt(mx.sym.sum(mx.sym.square(body), axis=1, keepdims=True))  # (N, 1, H, W)
    body = mx.sym.broadcast_mul(body, mx.sym.broadcast_div(mx.sym.mean(length), length))
    body = mx.sym.Pooling(body, global_pool=True, kernel=(7, 7), pool_type="avg")
    if embedding_size < channels:
        return _normalized(layers, layers.batch_norm(body, "bn6w", fix_gamma=True), embedding_size)
    return layers.batch_norm(mx.sym.Flatten(body), "fc1", fix_gamma=True)


def depthwise(
    layers: Layers, features: mx.sym.Symbol, channels: int, embedding_size: int, weight: Optional[mx.sym.Symbol] = None
) -> mx.sym.Symbol:
    """GDC: a 7x7 convolution of every channel on its own (MobileFaceNets, arXiv 1804.07573); H and W are 7 or more.

    `weight` is the variable of the fully connected layer, `pre_fc1_weight` if there is none.
    """
    name = "conv_6dw7_7"
    body = layers.conv(features, channels, name + "_conv2d", kernel=_GDC_KERNEL, num_group=channels, pad=False)
    body = layers.batch_norm(body, name + "_batchnorm", eps=_DEPTHWISE_EPS)
    return _normalized(layers, mx.sym.Flatten(body), embedding_size, weight)


OUTPUTS: Dict[str, Callable[[Layers, mx.sym.Symbol, int, int], mx.sym.Symbol]] = {
    "FC": functools.partial(_dense, _Steps(norm_before=True, dropout=False, norm_after=True)),
    "E": functools.partial(_dense, _Steps(norm_before=True, dropout=True, norm_after=True)),
    "F": functools.partial(_dense, _Steps(norm_before=True, dropout=True, norm_after=False)),
    "G": functools.partial(_dense, _Steps(norm_before=True, dropout=False, norm_after=False)),
    "H": functools.partial(_dense, _Steps(norm_before=False, dropout=False, norm_after=False)),
    "I": functools.partial(_dense, _Steps(norm_before=True, dropout=False, norm_after=True)),  # as FC
    "J": functools.partial(_dense, _Steps(norm_before=False, dropout=False, norm_after=True)),
    "SFC": separable,
    "GAP": average_pooling,
    "GNAP": norm_aware_pooling,
    "GDC": depthwise,
    "Z": feature_map,
}
