"""Residual networks of InsightFace for 112x112 faces (ArcFace, arXiv 1801.07698, section 3.1)."""

from .layers import batch_norm, conv, embedding, image_input, prelu

# Units in each of the four stages. r152 and r200 carry the names of the bottleneck networks whose unit counts
# they took; with two convolutions a unit they are 102 and 134 layers deep.
UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    124: (3, 13, 40, 5),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
FILTERS = (64, 128, 256, 512)


def residual_unit(data, num_filter, stride, project, name):
    """BN-Conv-BN-PReLU-Conv-BN plus a shortcut; the stride is in the second convolution.

    Args:
        data: symbol of shape (N, C, H, W).
        num_filter: number of output channels.
        stride: 1 or 2.
        project: whether the shortcut is Conv1x1-BN (needed where the shape changes) or the identity.
        name: prefix of the layers' names.

    Returns:
        A symbol of shape (N, num_filter, H / stride, W / stride), rounded up.
    """
    body = batch_norm(data, name + "_bn1")
    body = conv(body, num_filter, name + "_conv1")
    body = batch_norm(body, name + "_bn2")
    body = prelu(body, name + "_relu1")
    body = conv(body, num_filter, name + "_conv2", stride=stride)
    body = batch_norm(body, name + "_bn3")
    if not project:
        return body + data
    shortcut = conv(data, num_filter, name + "_conv1sc", kernel=1, stride=stride)
    return body + batch_norm(shortcut, name + "_sc")


def get_symbol(units, embedding_size=512, output_type="FC"):
    """A residual network; each stage halves the image, 112x112 to 7x7.

    Args:
        units: number of residual units in each of the four stages, a value of `UNITS`.
        embedding_size: dimension D of the embeddings.
        output_type: `FC` or `E`, see `layers.embedding`.

    Returns:
        A symbol of shape (N, D): `fc1_output`.
    """
    body = conv(image_input(), FILTERS[0], "conv0")  # (N, 64, 112, 112)
    body = batch_norm(body, "bn0")
    body = prelu(body, "relu0")
    for stage, (num_units, num_filter) in enumerate(zip(units, FILTERS), start=1):
        for unit in range(1, num_units + 1):
            first = unit == 1
            body = residual_unit(
                body, num_filter, stride=2 if first else 1, project=first, name=f"stage{stage}_unit{unit}"
            )
    return embedding(body, embedding_size, output_type)  # from (N, 512, 7, 7)
