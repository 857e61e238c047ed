"""What batch normalization needs, found from the shapes of a symbol before it trains."""

import json
from typing import Tuple

import mxnet as mx
import numpy as np

from ..errors import InputError
from .graph import is_true
from .shapes import infer_shapes


def check_batch_norm(symbol: mx.sym.Symbol, data_shape: Tuple[int, ...]) -> None:
    """Check that every batch normalization has several values per channel in training.

    Of a single value the mean is the value itself: the output is beta, whatever the images are, and nothing is learned.

    Args:
        symbol: a network with the input `data`.
        data_shape: (b, 3, H, W), the images of one rank in one update.

    Raises:
        InputError: there is one that would see a single value per channel; names it. The network does not take images
            of this size.
    """
    internals = symbol.get_internals()
    shapes = dict(zip(internals.list_outputs(), infer_shapes(internals, data_shape, "image_size")[1]))
    least = data_shape[0] + 1
    for node in json.loads(symbol.tojson())["nodes"]:
        attributes = node.get("attrs", {})
        if "BatchNorm" not in node["op"] or is_true(attributes, "use_global_stats"):
            continue
        shape = shapes[node["name"] + "_output"]
        if np.prod(shape) == shape[int(attributes.get("axis", 1))]:
            raise InputError(
                f"batch_size {data_shape[0]}: the batch normalization {node['name']} would see a single value per "
                f"channel ({'x'.join(map(str, shape))}), so its output would be a constant and the network would never "
                f"learn: use at least {least} images per rank (--batch-size {least})"
            )
