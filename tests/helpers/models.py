"""Small models in MXNet's files, and the same in NumPy."""

import mxnet as mx
import numpy as np

from partial_fc.checkpoint.model_files import save_model
from partial_fc.symbol import get_symbol
from partial_fc.symbol.layers import image_input


def write_linear_model(prefix, size=16, embedding_size=6, seed=3, scales_input=True):
    """Write a model whose embedding `fc1_output` is linear in the pixels; returns it as a function of images.

    It distinguishes left from right, and red from blue.
    """
    weight = np.random.RandomState(seed).randn(embedding_size, 3 * size * size).astype(np.float32) / size
    data = image_input() if scales_input else mx.sym.Variable("data")
    symbol = mx.sym.FullyConnected(data, num_hidden=embedding_size, no_bias=True, name="fc1")
    save_model(str(prefix), symbol, {"fc1_weight": mx.nd.array(weight)}, {})

    def embed(images):
        pixels = (np.asarray(images, np.float64) - 127.5) / 128
        return pixels.transpose(0, 3, 1, 2).reshape(len(images), -1) @ weight.T

    return embed


def write_random_model(prefix, symbol, size=112):
    """Write a model of random parameters."""
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", (1, 3, size, size))], for_training=False)
    mx.random.seed(0)
    module.init_params(mx.init.Xavier())
    save_model(str(prefix), symbol, *module.get_params())


def write_network(prefix, network, embedding_size=512, image_size=112, seed=0, **options):
    """Write one of our networks with random parameters of the sizes that trained ones have, batch statistics too.

    Gains that `fix_gamma` holds at 1 are stored as another number, as some published models have them.
    """
    symbol = get_symbol(network, embedding_size, **options)
    random = np.random.RandomState(seed)
    shapes, _, states = symbol.infer_shape(data=(1, 3, image_size, image_size))
    arguments = dict(zip(symbol.list_arguments(), shapes))
    del arguments["data"]
    auxiliary = dict(zip(symbol.list_auxiliary_states(), states))
    arrays = {name: mx.nd.array(_trained(random, name, shape)) for name, shape in {**arguments, **auxiliary}.items()}
    save_model(
        str(prefix), symbol, {name: arrays[name] for name in arguments}, {name: arrays[name] for name in auxiliary}
    )


def _trained(random, name, shape):
    if len(shape) > 1:
        return random.normal(0, np.sqrt(1.5 / np.prod(shape[1:])), shape)
    if "relu" in name:
        return random.uniform(0, 0.5, shape)
    return random.uniform(0.5, 1.5, shape) if name.endswith(("gamma", "var")) else random.normal(0, 0.1, shape)


def network_without_statistics():
    """A network without batch statistics, which would be those of each rank's own images."""
    body = (mx.sym.Variable("data") - 127.5) * 0.0078125
    body = mx.sym.Convolution(body, num_filter=8, kernel=(3, 3), stride=(2, 2), no_bias=True, name="conv0")
    body = mx.sym.LeakyReLU(body, act_type="prelu", name="relu0")
    return mx.sym.FullyConnected(body, num_hidden=16, flatten=True, name="fc1")


def mobilefacenet(embedding_size=128):
    """InsightFace's MobileFaceNet: a convolution down to 1 x 1 pixels goes straight into the fully connected layer."""
    body = _mobile_unit(image_input(), 64, "conv_1", kernel=3, stride=2)
    body = _mobile_unit(body, 64, "conv_2_dw", kernel=3, groups=64)
    for stage, down, inner, num_filter, blocks in ((3, 128, 128, 64, 4), (4, 256, 256, 128, 6), (5, 512, 256, 128, 2)):
        body = _mobile_block(body, down, num_filter, f"dconv_{stage - 1}{stage}_conv", stride=2)
        for block in range(blocks):
            body = body + _mobile_block(body, inner, num_filter, f"res_{stage}_block{block}_conv")
    body = _mobile_unit(body, 512, "conv_6sep")
    body = _mobile_unit(body, 512, "conv_6dw7_7", kernel=7, groups=512, pad=0, act=False)
    weight = mx.sym.Variable("fc1_weight")
    body = mx.sym.FullyConnected(body, weight, num_hidden=embedding_size, name="pre_fc1")
    return mx.sym.BatchNorm(body, fix_gamma=False, eps=2e-5, name="fc1")


def _mobile_block(data, inner, num_filter, name, stride=1):
    body = _mobile_unit(data, inner, name + "_sep")
    body = _mobile_unit(body, inner, name + "_dw", kernel=3, stride=stride, groups=inner)
    return _mobile_unit(body, num_filter, name + "_proj", act=False)


def _mobile_unit(data, num_filter, name, kernel=1, stride=1, groups=1, pad=None, act=True):
    pad = kernel // 2 if pad is None else pad
    body = mx.sym.Convolution(
        data,
        num_filter=num_filter,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        num_group=groups,
        no_bias=True,
        name=name + "_conv2d",
    )
    body = mx.sym.BatchNorm(body, fix_gamma=False, eps=2e-5, name=name + "_batchnorm")
    return mx.sym.LeakyReLU(body, act_type="prelu", name=name + "_relu") if act else body
