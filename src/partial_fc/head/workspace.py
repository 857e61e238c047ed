"""Memory that is used again in every step."""

from typing import Any, Dict, Tuple

import mxnet as mx
import numpy as np


class Workspace:
    """Scratch arrays by name. Fresh memory would cost page faults, at large sizes more than the arithmetic.

    Args:
        ctx: device.
    """

    def __init__(self, ctx: mx.Context) -> None:
        self.ctx = ctx
        self._memory: Dict[str, mx.nd.NDArray] = {}

    def array(self, name: str, shape: Tuple[int, ...], dtype: Any = "float32") -> mx.nd.NDArray:
        """NDArray of this shape with undefined content, over whatever had this name before, of the same dtype."""
        size = int(np.prod(shape, dtype=np.int64))
        if name not in self._memory or self._memory[name].size < size:
            self._memory.pop(name, None)  # first free the old, then allocate
            self._memory[name] = mx.nd.empty((size,), ctx=self.ctx, dtype=dtype)
        return self._memory[name][:size].reshape(shape)
