"""A memory bank that stays on the host, in memory or in files, while the steps run on a device."""

import functools
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Deque, List, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..errors import InputError
from .host_arrays import file_array, memory_array
from .memory_bank import Centers, MemoryBank, fill_initial_centers

# Rows of a step, and centers and state of these.
_Step = Tuple[Optional[np.ndarray], List[mx.nd.NDArray]]


class _Fetched(Centers):
    """The rows of a step on the device, all of `arrays`; `changed` is called when the step has changed them."""

    def __init__(self, arrays: Sequence[mx.nd.NDArray], changed: Callable[[], None]) -> None:
        super().__init__(arrays)
        self._changed = changed

    def put(self, block: slice, weight: mx.nd.NDArray, *states: mx.nd.NDArray) -> None:
        self._changed()


class HostBank(MemoryBank):
    """Centers and optimizer's state on the host. Only a step's rows are copied: fetched before, written back after it.

    The results are those of `MemoryBank`, bit for bit: a row that two consecutive steps touch goes from the one to the
    other on the device. The bank may have more than the 2^31 numbers that an NDArray can hold.

    Args:
        folder: for files that hold the bank, if it is larger than the memory; None for memory.
        Others as `MemoryBank`.

    Raises:
        InputError: if the folder has no room for the bank.
    """

    def __init__(self, *args: Any, folder: Optional[str] = None, **kwargs: Any) -> None:
        self._folder = folder
        self._worker = ThreadPoolExecutor(1)  # one thread: fetches and writes happen in the order they are asked for
        # Rows of the next step, and the future of their centers and state.
        self._ahead: Optional[Tuple[Optional[np.ndarray], Future]] = None
        # Rows, centers and state of the last step; the second once it has changed them, until they are written back.
        self._last: Optional[_Step] = None
        self._unsent: Optional[_Step] = None
        self._sent: Deque[Future] = deque()  # of what is being written back
        super().__init__(*args, **kwargs)

    def _make_centers(self) -> None:
        shape = self.num_local, self.embedding_size
        try:
            self._host_arrays = [
                memory_array(*shape) if self._folder is None else file_array(self._folder, *shape)
                for _ in ("weight", *self.states)
            ]
        except InputError as error:
            raise InputError(f"--bank-dir {error}") from error
        fill_initial_centers(self._host_arrays[0], self.partition.class_start, self.seed)

    def prefetch(self, rows: Optional[np.ndarray]) -> None:
        if self.num_local:
            # The fetch goes first, so as not to wait for the last step; `get` corrects rows that it reads too early.
            self._ahead = rows, self._worker.submit(self._fetch, rows)
            self._send_back()

    def get(self, rows: Optional[np.ndarray] = None) -> Centers:
        if self._ahead is None or self._ahead[0] is not rows:  # chosen earlier than a step before, or not by the head
            self._send_back()
            self._last, self._ahead = None, (rows, self._worker.submit(self._fetch, rows))
        arrays = self._ahead[1].result()
        self._carry_over(rows, arrays)
        self._ahead = None
        self._last = rows, arrays
        return _Fetched(arrays, functools.partial(self._note_change, self._last))

    def _note_change(self, step: _Step) -> None:
        self._unsent = step

    def to_numpy(self, rows: Any = ...) -> Tuple[np.ndarray, ...]:
        self._flush()
        return tuple(array[rows] for array in self._host_arrays)

    def set(self, class_start: int, weight: np.ndarray, *states: np.ndarray) -> None:
        rows = self._rows_of(class_start, weight, *states)
        self._flush()
        self._ahead = self._last = None
        if len(weight):
            for array, values in zip(self._host_arrays, (weight, *states)):
                array[rows] = values

    def _fetch(self, rows: Optional[np.ndarray]) -> List[mx.nd.NDArray]:
        return [
            self._to_device(array.copy() if rows is None else np.take(array, rows, axis=0))
            for array in self._host_arrays
        ]

    def _carry_over(self, rows: Optional[np.ndarray], arrays: List[mx.nd.NDArray]) -> None:
        """Copy what the last step has changed among `rows` into their fetched arrays."""
        if self._last is None:
            return
        last_rows, last_arrays = self._last
        pairs: Any = slice(None), slice(None)
        if rows is None or last_rows is None:
            assert rows is last_rows, "a bank is fetched in full either always or never"
        else:
            position = np.minimum(np.searchsorted(last_rows, rows), len(last_rows) - 1)
            common = np.flatnonzero(last_rows[position] == rows)
            if not len(common):
                return
            pairs = [mx.nd.array(each, ctx=self.ctx, dtype="int64") for each in (common, position[common])]
        for array, last_array in zip(arrays, last_arrays):
            array[pairs[0]] = last_array[pairs[1]]

    def _send_back(self) -> None:
        while self._sent and self._sent[0].done():
            self._sent.popleft().result()
        if self._unsent is not None:
            self._sent.append(self._worker.submit(self._write_back, *self._unsent))
            self._unsent = None

    def _write_back(self, rows: Optional[np.ndarray], arrays: List[mx.nd.NDArray]) -> None:
        index = slice(None) if rows is None else rows
        for host_array, array in zip(self._host_arrays, arrays):
            host_array[index] = array.asnumpy()

    def _flush(self) -> None:
        """Wait until the host has what the last step made."""
        self._send_back()
        while self._sent:
            self._sent.popleft().result()
