"""Margins on the target cosine: CosFace, ArcFace, their combination, and the normalized softmax without a margin.

CosFace: arXiv 1801.09414, equation 4. ArcFace: arXiv 1801.07698, equation 3; the combined form (m1, m2, m3) is its
equation 4.
"""

import math
from typing import Any, Dict, Optional, Tuple

import mxnet as mx

# The slope sin(theta + m2) / sin(theta) grows without bound at theta = 0 and pi. Float32 cosines cannot tell angles
# below about 5e-4 from 0, so it is bounded there.
_SMALLEST_SINE = 5e-4


class Margin:
    """What a loss of the head does to the target cosine. A new loss overrides `target`, which multiplies by `share`.

    Args:
        s: scale of all logits.
        warmup: updates in which the margins grow linearly from 0; with 0 they are whole from the first update on.

    Attributes:
        uses_norms: whether `begin` gets the lengths of the embeddings.
        share: of its margins that the current update applies, in [0, 1].

    Raises:
        ValueError: for s that is not positive and finite, or a negative warmup.
    """

    uses_norms = False

    def __init__(self, s: float = 64.0, warmup: int = 0) -> None:
        check_above_0("s", s)
        if warmup < 0:
            raise ValueError(f"warmup must be at least 0, not {warmup!r}")
        self.s, self.warmup, self.share = s, warmup, 1.0

    def begin(self, num_update: int, norms: Optional[mx.nd.NDArray] = None, part: int = 0) -> None:
        """Prepare update `num_update`, counted from 0. All ranks do so, those without classes too.

        Args:
            norms: (B,) float32 lengths of the embeddings of the global batch, bit-equal on all ranks, through which no
                gradient flows. None unless `uses_norms`.
            part: number of the micro-batch that these are of, where an update has several: each begins in turn.
        """
        self.share = min(1.0, num_update / self.warmup) if self.warmup else 1.0

    def target(self, cos_theta: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Target cosine with its margin, and the slope of the one over the other.

        Args:
            cos_theta: (B,) float32 cosines between samples and their class centers; rounding may take them beyond 1.

        Returns:
            two (B,) arrays: the cosine with its margin, and its derivative with respect to `cos_theta`.
        """
        raise NotImplementedError

    def state_dict(self) -> Dict[str, float]:
        """What it carries from update to update, the same on all ranks, of types that JSON has; empty if nothing."""
        return {}

    def load(self, state: Any) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            ValueError: `state` is anything else.
        """


class MarginSoftmax(Margin):
    """Scale s and margins m1, m2, m3: the target logit is s (cos(m1 theta + m2) - m3), all others s cos(theta).

    Args:
        s, warmup: as `Margin`; m1 grows from 1 in the warm-up, m2 and m3 from 0.

    Raises:
        ValueError: for s or m1 that is not positive, or a negative or infinite m2 or m3; see also `Margin`.
    """

    def __init__(self, s: float = 64.0, m1: float = 1.0, m2: float = 0.0, m3: float = 0.0, warmup: int = 0) -> None:
        super().__init__(s, warmup)
        check_above_0("m1", m1)
        for name, value in (("m2", m2), ("m3", m3)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {value!r}")
        self.m1, self.m2, self.m3 = m1, m2, m3

    def target(self, cos_theta: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """As `Margin.target`.

        Where theta + m2 passes pi (m1 = 1), cos(theta) - m2 sin(m2) takes the place of cos(theta + m2), so that the
        logit keeps falling with the angle.
        """
        # For m1 = 1 the sum is exactly 1 at any share.
        m1, m2, m3 = (1 - self.share) + self.share * self.m1, self.share * self.m2, self.share * self.m3
        if m1 == 1 and m2 == 0:
            return cos_theta - m3, mx.nd.ones_like(cos_theta)
        cos_theta, theta, sin_theta = angles(cos_theta)
        angle = m1 * theta + m2
        margined, slope = mx.nd.cos(angle), m1 * mx.nd.sin(angle) / sin_theta
        if m1 == 1:
            past = angle > math.pi
            margined = mx.nd.where(past, cos_theta - m2 * math.sin(m2), margined)
            slope = mx.nd.where(past, mx.nd.ones_like(slope), slope)
        return margined - m3, slope


def angles(cos_theta: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray, mx.nd.NDArray]:
    """Cosines (B,) within [-1, 1], their angles theta, and sin(theta) to divide a slope by, bounded away from 0."""
    cos_theta = mx.nd.clip(cos_theta, -1, 1)
    sin_theta = mx.nd.sqrt((1 - cos_theta) * (1 + cos_theta))
    return cos_theta, mx.nd.arccos(cos_theta), mx.nd.maximum(sin_theta, _SMALLEST_SINE)


def check_above_0(name: str, value: float) -> None:
    """Raise ValueError for a value that is not positive and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, not {value!r}")
