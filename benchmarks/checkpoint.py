"""Seconds and MB/s to save a checkpoint and to load it, and the share of training time. Ten minutes, 20 GiB of disk.

    python -m benchmarks.checkpoint [--folder DIR] [--json FILE] [--runs 3]

Two ranks of one thread each train r18 at 112 x 112, 8 images per rank, with 100 thousand and with 1 million class
centers of size 512, then save. Files are synced, so saving runs at the speed of the disk, and read again for their
checksums. Each checkpoint is then loaded by two ranks, and by one and three ranks, from a fresh start; the additional
memory of a rank while it loads is measured. The disk's own speed is measured in the same run, by a file of zeros as
large as a rank's.
"""

import os
import shutil
import sys
import tempfile
import time
from typing import Optional, Sequence

from .measure import on_ranks, parser, print_table, write_json

SIZES = (100_000, 1_000_000)
READERS = (2, 1, 3)
_WORKER = "benchmarks.checkpoint_worker"
_BLOCK = 2**24


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("checkpoint", "Time saving and loading.", runs=3)
    arguments.add_argument("--folder", metavar="DIR", help="where to save (the system's temporary folder)")
    args = arguments.parse_args(argv)
    saved, loaded = [], []
    for num_classes in SIZES:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            case = dict(folder=folder, num_classes=num_classes, runs=args.runs)
            saved.append(on_ranks(_WORKER, dict(case, measure="save")))
            saved[-1]["disk_mb_per_second"] = _disk_speed(folder, saved[-1]["megabytes"] / 2)
            loaded += [on_ranks(_WORKER, dict(case, measure="load"), ranks=ranks) for ranks in READERS]
    print_table(
        [
            "classes",
            "MB",
            "save s",
            "MB/s",
            "disk alone MB/s",
            "update s",
            "share, every 1,000 updates",
            "every 10,000",
        ],
        map(_saved_row, saved),
    )
    print()
    print_table(
        ["classes", "ranks that load", "s", "MB/s", "rows per rank MB", "more while loading MB"],
        map(_loaded_row, loaded),
    )
    if args.json:
        write_json(args.json, saved + loaded)
    return 0


def _disk_speed(folder, megabytes):
    """MB/s at which a file is written and synced, without anything else."""
    free = shutil.disk_usage(folder).free / 1e6
    block, count = bytes(_BLOCK), max(1, int(min(megabytes, free / 2) * 1e6 / _BLOCK))
    start = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(count):
            file.write(block)
        os.fsync(file.fileno())
    return count * _BLOCK / 1e6 / (time.perf_counter() - start)


def _saved_row(case):
    seconds, update = case["save_seconds"], case["update_seconds"]
    shares = (f"{seconds / (seconds + interval * update):.2%}" for interval in (1_000, 10_000))
    speed = case["megabytes"] / seconds
    return [
        f"{case['num_classes']:,}",
        f"{case['megabytes']:,.0f}",
        f"{seconds:.1f}",
        f"{speed:,.0f}",
        f"{case['disk_mb_per_second']:,.0f}",
        f"{update:.2f}",
        *shares,
    ]


def _loaded_row(case):
    seconds = case["load_seconds"]
    return [
        f"{case['num_classes']:,}",
        str(case["ranks"]),
        f"{seconds:.1f}",
        f"{case['megabytes'] / seconds:,.0f}",
        f"{case['rows_mb']:,.0f}",
        f"{case['extra_mb']:,.0f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
