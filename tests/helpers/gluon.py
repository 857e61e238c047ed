"""Networks of Gluon, exported as its users do."""

import contextlib

import mxnet as mx
from mxnet.gluon import nn


def export_gluon(prefix, embedding_size=16, size=16, first=(), last=(), dtype="float32"):
    """Export a small network with random parameters; returns it. `first` and `last`: blocks around its own.

    In float16 the pass that finds the graph fails at its first product, since a CPU computes none; the graph is found.
    """
    network = nn.HybridSequential(prefix="net_")
    with network.name_scope():  # names count from 0 in it
        network.add(*first)
        network.add(nn.Conv2D(8, 3, strides=2, use_bias=False), nn.BatchNorm(scale=False), nn.PReLU())
        network.add(nn.Conv2D(8, 3, strides=2), nn.Swish(), nn.Flatten(), nn.Dense(embedding_size), *last)
    network.initialize(mx.init.Xavier())
    network.cast(dtype)
    network.hybridize()
    with contextlib.suppress(mx.base.MXNetError) if dtype == "float16" else contextlib.nullcontext():
        network(mx.nd.zeros((1, 3, size, size), dtype=dtype)).wait_to_read()
    network.export(str(prefix))
    return network
