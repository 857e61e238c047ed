"""AdaFace: margins that follow the length of the embedding, a sign of image quality (arXiv 2204.00964, CVPR 2022)."""

import math
from typing import Any, Dict, List, Optional, Tuple

import mxnet as mx

from .margin_softmax import Margin, angles, check_above_0

# As published: bounds of the lengths, the first mean and standard deviation, and what keeps the division from 0.
_SHORTEST, _LONGEST = 1e-3, 100.0
_FIRST_MEAN, _FIRST_STD, _EPSILON = 20.0, 100.0, 1e-3


class AdaFace(Margin):
    """The target logit is s (cos(theta + g_angle) - g_add), with g_angle = -m z and g_add = m z + m (equation 7).

    z = clip(h (|e| - mean) / std, -1, 1) of the embedding e (equation 6) is a constant: no gradient flows through |e|.
    Mean and standard deviation are running ones of the lengths in the global batch, those of this update included, as
    in the published code. After an update of several micro-batches they are those of its whole batch; within it, each
    micro-batch has those of the micro-batches up to it. theta + g_angle stays within [0, pi].

    Args:
        s, warmup: as `Margin`; in the warm-up m grows from 0.
        m: margin.
        h: width of the range of lengths over which the margins change: z reaches 1 at mean + std / h.
        t_alpha: share of the current batch in the running mean and standard deviation.

    Raises:
        ValueError: for m or h that is not positive, or t_alpha outside (0, 1]; see also `Margin`.
    """

    uses_norms = True

    def __init__(
        self, s: float = 64.0, m: float = 0.4, h: float = 0.333, t_alpha: float = 0.01, warmup: int = 0
    ) -> None:
        super().__init__(s, warmup)
        check_above_0("m", m)
        check_above_0("h", h)
        if not 0 < t_alpha <= 1:
            raise ValueError(f"t_alpha must lie in (0, 1], not {t_alpha!r}")
        self.m, self.h, self.t_alpha = m, h, t_alpha
        self._mean_std = mx.nd.array([_FIRST_MEAN, _FIRST_STD])
        self._before = self._mean_std  # the current update
        self._lengths: List[mx.nd.NDArray] = []  # in each of its micro-batches so far
        self._quality: Optional[mx.nd.NDArray] = None  # z (B,) of the current micro-batch

    def begin(self, num_update: int, norms: Optional[mx.nd.NDArray] = None, part: int = 0) -> None:
        """As `Margin.begin`; takes the lengths into mean and standard deviation. Waits for nothing on the device."""
        super().begin(num_update)
        assert norms is not None
        norms = mx.nd.clip(norms, _SHORTEST, _LONGEST)
        if not part:
            self._before, self._lengths = self._mean_std, []
        self._lengths.append(norms)
        lengths = mx.nd.concat(*self._lengths, dim=0)
        mean = mx.nd.mean(lengths)
        std = mx.nd.sqrt(mx.nd.sum(mx.nd.square(lengths - mean)) / max(len(lengths) - 1, 1))  # as torch.std
        now, before = mx.nd.concat(mean, std, dim=0), self._before.as_in_context(norms.context)
        self._mean_std = self.t_alpha * now + (1 - self.t_alpha) * before
        mean, std = self._mean_std[0:1], self._mean_std[1:2]
        self._quality = mx.nd.clip(self.h * (norms - mean) / (std + _EPSILON), -1, 1)

    def target(self, cos_theta: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """As `Margin.target`, for the batch that `begin` has seen."""
        assert self._quality is not None, "begin comes first"
        m = self.share * self.m
        _, theta, sin_theta = angles(cos_theta)
        angle = mx.nd.clip(theta - m * self._quality, 0, math.pi)
        # Beyond the ends the slope is 0, as it is at them; the sine of the float32 next to pi is negative.
        slope = mx.nd.relu(mx.nd.sin(angle)) / sin_theta
        return mx.nd.cos(angle) - m * (1 + self._quality), slope

    def state_dict(self) -> Dict[str, float]:
        """Running mean and standard deviation; waits for the device."""
        mean, std = self._mean_std.asnumpy().tolist()
        return dict(mean=mean, std=std)

    def load(self, state: Any) -> None:
        """As `Margin.load`."""
        try:
            mean, std = (float(state[name]) for name in ("mean", "std"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the statistics of AdaFace: {state!r:.80}") from error
        if not (0 <= mean < math.inf and 0 <= std < math.inf):
            raise ValueError(f"not the statistics of AdaFace: {state!r:.80}")
        self._mean_std = mx.nd.array([mean, std])
