"""Memory that is used again in every step."""

import mxnet as mx
import numpy as np


class Workspace:
    """Scratch arrays by name. Fresh memory would cost page faults, at large sizes more than the arithmetic.

    Args:
        ctx: device.
    """

    def __init__(self, ctx):
        self._ctx, self._memory = ctx, {}

    def array(self, name, shape):
        """float32 NDArray of this shape with undefined content, over whatever had this name before."""
        size = int(np.prod(shape, dtype=np.int64))
        if name not in self._memory or self._memory[name].size < size:
            self._memory.pop(name, None)  # first free the old, then allocate
            self._memory[name] = mx.nd.empty((size,), ctx=self._ctx)
        return self._memory[name][:size].reshape(shape)
