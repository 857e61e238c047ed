"""What the ranks of a run hold while it trains, read from outside: memory, open files, threads."""

import os
import subprocess
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import psutil

_WARM_UP = 0.1  # share of the updates, in which caches fill
_LARGEST_GROWTH = dict(rss_mb=16, files=4, threads=4)  # files and threads come and go, one or two at a time
_MB = 2**20


class Sample(NamedTuple):
    """One reading of a rank: updates done by then, resident memory in MB, open files, threads."""

    num_update: int
    rss_mb: float
    files: int
    threads: int


class Watch:
    """Readings of a run's ranks.

    Args:
        process: Popen of the launcher.
        models_root: of the run, whose `losses.csv` shows how far it is.
        updates: that the run will do.

    Attributes:
        num_update: updates done at the last reading.
        moved: time.monotonic() when that changed last.
        samples: list of Sample by rank, from the end of the warm-up on.
        first: (time, num_update) of the first of them.
    """

    def __init__(self, process: subprocess.Popen, models_root: str, updates: int) -> None:
        self.updates, self.num_update, self.moved = updates, 0, time.monotonic()
        self.samples: Dict[int, List[Sample]] = {}
        self.first: Optional[Tuple[float, int]] = None
        self._launcher, self._losses = psutil.Process(process.pid), os.path.join(models_root, "losses.csv")

    def read(self) -> None:
        """Take one reading of every rank."""
        num_update = self._read_update()
        if num_update > self.num_update:
            self.num_update, self.moved = num_update, time.monotonic()
        if num_update < _WARM_UP * self.updates:
            return
        self.first = self.first or (time.monotonic(), num_update)
        for rank, process in self._ranks():
            try:
                with process.oneshot():
                    rss, threads = process.memory_info().rss, process.num_threads()
                sample = Sample(num_update, rss / _MB, process.num_fds(), threads)
            except psutil.Error:  # it has just ended
                continue
            self.samples.setdefault(rank, []).append(sample)

    def updates_per_second(self) -> float:
        """Since the end of the warm-up, of which `read` has seen the end."""
        assert self.first
        start, num_update = self.first
        return (self.num_update - num_update) / max(self.moved - start, 1e-9)

    def _read_update(self):
        try:
            with open(self._losses, "rb") as file:
                file.seek(max(0, os.path.getsize(self._losses) - 200))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return 0
        number = lines[-2].partition(b",")[0] if len(lines) > 1 else b""  # the last line that is whole
        return int(number) if number.isdigit() else 0

    def _ranks(self):
        """(rank, process) of every rank, which the launcher started directly or through others."""
        try:
            processes = self._launcher.children(recursive=True)
        except psutil.Error:
            return
        for process in processes:
            try:
                if process.cmdline()[1:3] == ["-m", "partial_fc.train"]:
                    environment = process.environ()
                    yield int(environment.get("OMPI_COMM_WORLD_RANK", environment.get("HOROVOD_RANK", 0))), process
            except psutil.Error:
                continue


def summarize(watch: Watch, fault: Optional[str]) -> List[Dict[str, Any]]:
    """One case per rank: figures of its samples, and `fault`, what is wrong with it or None.

    Args:
        watch: of a run that has ended.
        fault: of the run as a whole, or None.
    """
    if not watch.samples:
        nothing = dict.fromkeys(("updates_per_second", "rss_mb_start", "rss_mb_end", "rss_mb_slope"), float("nan"))
        counts = dict.fromkeys(("files_start", "files_end", "threads_start", "threads_end"))
        return [dict(rank=None, updates=watch.num_update, **nothing, **counts, fault=fault or "ended before a reading")]
    return [_case(watch, rank, fault) for rank in sorted(watch.samples)]


def _case(watch, rank, fault):
    samples = np.array(watch.samples[rank], np.float64)
    tenth = max(1, len(samples) // 10)
    start, end = (np.median(part, axis=0) for part in (samples[:tenth], samples[-tenth:]))
    num_update, rss_mb = samples[:, 0], samples[:, 1]
    slope = np.polyfit(num_update, rss_mb, 1)[0] if np.ptp(num_update) else 0.0
    case = dict(
        rank=rank,
        updates=watch.num_update,
        updates_per_second=watch.updates_per_second(),
        readings=len(samples),
        rss_mb_start=start[1],
        rss_mb_end=end[1],
        rss_mb_slope=1e5 * slope,
        files_start=int(start[2]),
        files_end=int(end[2]),
        threads_start=int(start[3]),
        threads_end=int(end[3]),
    )
    return dict(case, fault=fault or _growth(case))


def _growth(case):
    """What has grown in a rank although it must not."""
    grown = [name for name, limit in _LARGEST_GROWTH.items() if case[f"{name}_end"] - case[f"{name}_start"] > limit]
    return f"{' and '.join(grown)} grew" if grown else None
