"""Several centers per class, of which the one closest to a sample counts: Sub-center ArcFace (ECCV 2020), section 3.2.

A class is one row of the bank: its K centers, one after the other, (K D,) numbers. So they stay on one rank, and are
sampled and saved together. With K = 1 every function here returns what it was given.
"""

from typing import Optional, Tuple

import mxnet as mx

from .block_softmax import row_blocks
from .normalize import row_sum
from .products import Products
from .workspace import Workspace


class SubCenters:
    """The maximum over the K centers of each class, and the way back for gradients.

    Args:
        count: K.
        products: makes the logits, of any precision.
        workspace: for the results.
    """

    def __init__(self, count: int, products: Products, workspace: Workspace) -> None:
        self.count, self._products, self._workspace = count, products, workspace

    def closest(self, logits: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, Optional[mx.nd.NDArray]]:
        """Logits of the classes from those of all centers, the largest of each.

        Args:
            logits: (B, C K) that `products` has made.

        Returns:
            logits (B, C) of the same type, and which center of each class is closest (B, C) uint8; None for K = 1.
        """
        if self.count == 1:
            return logits, None
        shape = len(logits), logits.shape[1] // self.count
        best, which = (
            self._workspace.array(name, shape, kind) for name, kind in (("best", logits.dtype), ("which", "uint8"))
        )
        for rows in row_blocks(logits):
            # A plane per center: elementwise operators are several times as fast as `max` and `argmax` over an axis.
            planes = mx.nd.transpose(self._products.wide(logits[rows], "sub_center_logits").reshape((-1, self.count)))
            largest, index = planes[0], mx.nd.zeros_like(planes[0])
            for k in range(1, self.count):
                index = mx.nd.maximum(index, k * (planes[k] > largest))
                largest = mx.nd.maximum(largest, planes[k])
            self._put(largest.reshape(best[rows].shape), best[rows])
            which[rows] = index.reshape(best[rows].shape).astype("uint8")
        return best, which

    def spread(self, probabilities: mx.nd.NDArray, which: Optional[mx.nd.NDArray], out: mx.nd.NDArray) -> mx.nd.NDArray:
        """Write the gradient by the classes' logits (B, C) to the closest centers' places in `out` (B, C K)."""
        if which is None:
            return probabilities
        for rows in row_blocks(out):
            wide, index = self._products.wide(probabilities[rows], "class_block"), which[rows].astype("float32")
            planes = mx.nd.concat(*((wide * (index == k)).reshape((1, -1)) for k in range(self.count)), dim=0)
            self._put(mx.nd.transpose(planes).reshape(out[rows].shape), out[rows])
        return out

    def closest_target(
        self, embeddings: mx.nd.NDArray, weight: mx.nd.NDArray
    ) -> Tuple[mx.nd.NDArray, Optional[mx.nd.NDArray]]:
        """For each sample the closest center (B, D) of its class.

        Args:
            embeddings: (B, D) of unit length.
            weight: (B, K D), the unit centers of each sample's class.

        Returns:
            the centers, and 1 at their number and 0 at the others', (B, K); None for K = 1.
        """
        if self.count == 1:
            return weight, None
        size = embeddings.shape[1]
        centers = weight.reshape((-1, self.count, size))
        products = mx.nd.broadcast_mul(centers, embeddings.expand_dims(1)).reshape((-1, size))
        chosen = mx.nd.one_hot(mx.nd.argmax(row_sum(products).reshape((-1, self.count)), axis=1), self.count)
        return mx.nd.sum(mx.nd.broadcast_mul(centers, chosen.expand_dims(2)), axis=1), chosen

    def of_target(self, values: mx.nd.NDArray, chosen: Optional[mx.nd.NDArray]) -> mx.nd.NDArray:
        """Values (B, D) at the place of the chosen center, (B, K D), 0 at the others'; see `closest_target`."""
        if chosen is None:
            return values
        return mx.nd.broadcast_mul(chosen.expand_dims(2), values.expand_dims(1)).reshape((len(values), -1))

    def _put(self, values: mx.nd.NDArray, out: mx.nd.NDArray) -> None:
        """Write float32 values into an array of the type that the products take."""
        if self._products.is_low:
            self._products.narrow(values, out)
        else:
            values.copyto(out)
