"""What the head does with the logits of the other classes: filtering of conflicts, and sampling correction.

Filtering is for classes that may be the sample's own person under another label, the inter-class conflicts of arXiv
2203.15565. The correction lets the sampled classes stand for those that were not drawn (importance sampling).
"""

import dataclasses
import math
from typing import Optional

import mxnet as mx
import numpy as np

from .normalize import row_sum
from .parallel_softmax import EXCLUDED, SamplingWeights
from .workspace import Workspace

MODES = ("exact", "zero")


@dataclasses.dataclass(frozen=True)
class Negatives:
    """How the classes that are not a sample's own take part in its softmax.

    Args:
        filtering: cosine in (0, 1]; a class whose center is closer to the sample is filtered. 0: none is.
        mode: `exact`: filtered logits leave the softmax, its denominator too. `zero`: they become the constant 0, so
            each adds exp(0) = 1 to the denominator, as in arcface_torch. In both modes no gradient flows through them,
            neither to the sample nor to the center.
        sampling_correction: add the logarithm of the inverse sampling rate to the logits of sampled classes, see
            `SamplingWeights`.

    Raises:
        ValueError: for values outside these.
    """

    filtering: float = 0.0
    mode: str = "exact"
    sampling_correction: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.filtering <= 1:
            raise ValueError(f"filtering must lie in [0, 1], not {self.filtering!r}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {self.mode!r}")

    def weights(
        self, positives: np.ndarray, num_chosen: int, num_local: int, has_zero_column: bool, ctx: mx.Context
    ) -> Optional[SamplingWeights]:
        """The weights of a rank in a step; None without correction, and where there is nothing to correct.

        There is nothing to correct if all classes of the rank are chosen, or only classes of the batch.

        Args:
            positives: (p,) int64 distinct columns of the classes of the global batch.
            num_chosen: C, chosen classes.
            num_local: the rank's classes.
            has_zero_column: whether a column of no class follows them.
            ctx: device.
        """
        if not self.sampling_correction or num_chosen in (len(positives), num_local):
            return None
        rate = (num_chosen - len(positives)) / (num_local - len(positives))
        relative = np.ones((1, num_chosen + has_zero_column), np.float32)
        relative[0, positives] = rate
        if has_zero_column:
            relative[0, -1] = 0
        return SamplingWeights(mx.nd.array(relative, ctx=ctx), -math.log(rate))


class NegativeLogits:
    """Applies `Negatives` to blocks of rows of a rank's logits, in float32.

    Args:
        negatives: Negatives.
        s: scale of the logits.
        workspace: for scratch arrays.
        weights: of the correction; None for none.
    """

    def __init__(
        self, negatives: Negatives, s: float, workspace: Workspace, weights: Optional[SamplingWeights] = None
    ) -> None:
        self._filters, self._zero = negatives.filtering > 0, negatives.mode == "zero"
        self._largest, self._workspace, self.weights = s * negatives.filtering, workspace, weights
        self._kept: Optional[mx.nd.NDArray] = None

    def filter(self, logits: mx.nd.NDArray) -> Optional[mx.nd.NDArray]:
        """Filter logits (n, C) in place, those of the targets already excluded; NaN stays NaN.

        Returns:
            number of filtered logits per row (n,); None without filtering.
        """
        if not self._filters:
            return None
        marks = self._workspace.array("filtered", logits.shape)
        if self._zero:
            self._kept = mx.nd._internal._lesser_equal_scalar(logits, scalar=self._largest, out=marks)
            mx.nd.elemwise_mul(logits, marks, out=logits)
            return logits.shape[1] - row_sum(marks).reshape((-1,))
        mx.nd._internal._greater_scalar(logits, scalar=self._largest, out=marks)
        count = row_sum(marks).reshape((-1,))
        mx.nd._internal._mul_scalar(marks, scalar=EXCLUDED, out=marks)
        mx.nd.elemwise_add(logits, marks, out=logits)  # beside EXCLUDED a logit is rounded away
        return count

    def finish(self, probabilities: mx.nd.NDArray) -> None:
        """Turn the softmax (n, C) of filtered logits into the gradient by them, in place."""
        if self._filters and self._zero:
            mx.nd.elemwise_mul(probabilities, self._kept, out=probabilities)
        if self.weights:
            mx.nd.broadcast_mul(probabilities, self.weights.relative, out=probabilities)
