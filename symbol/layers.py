"""What every backbone shares: scaling of the input, normalised layers and the embedding at the end.

Names and hyper-parameters are those of InsightFace's MXNet models, so that parameters can be exchanged.
"""

import mxnet as mx

OUTPUT_TYPES = ("FC", "E")


def image_input():
    """The input `data` (N, 3, H, W), RGB in 0..255, scaled to about -1..1 inside the symbol."""
    data = mx.sym.identity(mx.sym.Variable("data"), name="id")
    # Subtraction and multiplication keep their automatic names: InsightFace's tools recognise a model that
    # scales its own input by nodes called _minus... and _mul... among the first of the graph.
    return (data - 127.5) * 0.0078125


def conv(data, num_filter, name, kernel=3, stride=1):
    """Convolution without bias that keeps the image size at stride 1."""
    return mx.sym.Convolution(
        data,
        num_filter=num_filter,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(kernel // 2, kernel // 2),
        no_bias=True,
        name=name,
    )


def batch_norm(data, name, gamma=None, fix_gamma=False):
    """Batch normalisation over the channel axis; `fix_gamma` holds the gain at 1."""
    return mx.sym.BatchNorm(data, gamma, fix_gamma=fix_gamma, eps=2e-5, momentum=0.9, name=name)


def prelu(data, name):
    """Parametric ReLU with one slope a channel."""
    return mx.sym.LeakyReLU(data, act_type="prelu", name=name)


def embedding(features, embedding_size, output_type):
    """Turn the last feature map into the embedding `fc1_output`.

    Args:
        features: symbol of shape (N, C, H, W).
        embedding_size: dimension D of the embedding.
        output_type: `FC` is BN-FC-BN; `E` adds a dropout of 0.4 before the FC (arXiv 1801.07698).

    Returns:
        A symbol of shape (N, D), float32.

    Raises:
        ValueError: unknown output type.
    """
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"unknown output type {output_type!r}: choose one of {', '.join(OUTPUT_TYPES)}")
    body = batch_norm(features, "bn1")
    if output_type == "E":
        body = mx.sym.Dropout(body, p=0.4)
    # flatten is the default, but the ONNX exporter needs to see it.
    body = mx.sym.FullyConnected(body, num_hidden=embedding_size, flatten=True, name="pre_fc1")  # (N, D)
    # Gain fixed at 1: every dimension of the embedding has the same variance. MXNet ignores the stored value,
    # but weight decay would shrink it, and tools that do not know fix_gamma would multiply by it.
    gamma = mx.sym.Variable("fc1_gamma", wd_mult=0.0)
    return batch_norm(body, "fc1", gamma, fix_gamma=True)
