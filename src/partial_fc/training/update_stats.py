"""The state of a training after an update."""

import math
from typing import Mapping, NamedTuple, Optional


class UpdateStats(NamedTuple):
    """State of the training after an update.

    Attributes:
        num_update: updates done.
        loss: of the last one.
        seconds: spent in all of them, the wait for their data included.
        waited: seconds of these that this rank waited for data.
        position: in the data at which the next batch begins, see `Batch`.
        requests: what ranks have asked for since the update before, combined by bitwise or.
        loss_scale: `LossScale.state_dict` after the update; None where gradients are not scaled.
        grad_norm: norm of the backbone's gradients before it was limited; None where there is no limit, and for an
            update that was skipped because gradients overflow.
        filtered: logits that filtering has left out of the last update, over all ranks; None without filtering.
    """

    num_update: int
    loss: float
    seconds: float
    waited: float = 0.0
    position: int = 0
    requests: int = 0
    loss_scale: Optional[Mapping[str, float]] = None
    grad_norm: Optional[float] = None
    filtered: Optional[float] = None


START = UpdateStats(0, math.nan, 0.0)
