"""A small convolutional network that a CPU trains in minutes."""

import mxnet as mx

from .layers import batch_norm, conv, embedding, image_input

FILTERS = (16, 32, 64, 128)


def get_symbol(embedding_size=512, output_type="FC", filters=FILTERS):
    """One Conv-BN-ReLU of stride 2 for each number of filters: 16 times smaller after four.

    Args:
        embedding_size: dimension D of the embeddings.
        output_type: `FC` or `E`, see `layers.embedding`.
        filters: output channels of each convolution; multiples of 8 suit the CPU's vector units.

    Returns:
        A symbol of shape (N, D): `fc1_output`. Height and width of the images are multiples of 16.
    """
    body = image_input()
    for stage, num_filter in enumerate(filters, start=1):
        body = conv(body, num_filter, f"stage{stage}_conv", stride=2)
        body = batch_norm(body, f"stage{stage}_bn")
        # On a CPU MXNet's PReLU would take most of a training step.
        body = mx.sym.Activation(body, act_type="relu", name=f"stage{stage}_relu")
    return embedding(body, embedding_size, output_type)
