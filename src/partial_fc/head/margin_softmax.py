"""Margins on the target cosine: CosFace, ArcFace, and the normalized softmax without a margin.

CosFace: arXiv 1801.09414, equation 4. ArcFace: arXiv 1801.07698, equation 3; the combined form (m1, m2, m3) is its
equation 4.
"""

import math
from typing import Tuple

import mxnet as mx

# The slope sin(theta + m2) / sin(theta) grows without bound at theta = 0 and pi. Float32 cosines cannot tell angles
# below about 5e-4 from 0, so it is bounded there.
_SMALLEST_SINE = 5e-4


class MarginSoftmax:
    """Scale s and margins m1, m2, m3: the target logit is s (cos(m1 theta + m2) - m3), all others s cos(theta).

    Raises:
        ValueError: for s or m1 that is not positive, or a negative or infinite m2 or m3.
    """

    def __init__(self, s: float = 64.0, m1: float = 1.0, m2: float = 0.0, m3: float = 0.0) -> None:
        for name, value in (("s", s), ("m1", m1)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {value!r}")
        for name, value in (("m2", m2), ("m3", m3)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {value!r}")
        self.s, self.m1, self.m2, self.m3 = s, m1, m2, m3

    def target(self, cos_theta: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Target cosine with its margin, and the slope of the one over the other.

        Where theta + m2 passes pi (m1 = 1), cos(theta) - m2 sin(m2) takes the place of cos(theta + m2), so that the
        logit keeps falling with the angle.

        Args:
            cos_theta: (B,) float32 cosines between samples and their class centers.

        Returns:
            two (B,) arrays: the cosine with its margin, and its derivative with respect to `cos_theta`.
        """
        if self.m1 == 1 and self.m2 == 0:
            return cos_theta - self.m3, mx.nd.ones_like(cos_theta)
        cos_theta = mx.nd.clip(cos_theta, -1, 1)
        angle = self.m1 * mx.nd.arccos(cos_theta) + self.m2
        sin_theta = mx.nd.maximum(mx.nd.sqrt((1 - cos_theta) * (1 + cos_theta)), _SMALLEST_SINE)
        margined, slope = mx.nd.cos(angle), self.m1 * mx.nd.sin(angle) / sin_theta
        if self.m1 == 1:
            past = angle > math.pi
            margined = mx.nd.where(past, cos_theta - self.m2 * math.sin(self.m2), margined)
            slope = mx.nd.where(past, mx.nd.ones_like(slope), slope)
        return margined - self.m3, slope
