"""Networks of Gluon, exported as its users do."""

import mxnet as mx
from mxnet.gluon import nn


def export_gluon(prefix, embedding_size=16, size=16, first=(), last=()):
    """Export a small network with random parameters; returns it. `first` and `last`: blocks around its own."""
    network = nn.HybridSequential(prefix="net_")
    with network.name_scope():  # names count from 0 in it
        network.add(*first)
        network.add(nn.Conv2D(8, 3, strides=2, use_bias=False), nn.BatchNorm(scale=False), nn.PReLU())
        network.add(nn.Conv2D(8, 3, strides=2), nn.Swish(), nn.Flatten(), nn.Dense(embedding_size), *last)
    network.initialize(mx.init.Xavier())
    network.hybridize()
    network(mx.nd.zeros((1, 3, size, size)))
    network.export(str(prefix))
    return network
