"""Seconds and memory of `centers conflicts`, by the number of classes.

    python -m benchmarks.conflicts_time [--sizes N ...] [--size D] [--workers N] [--folder DIR] [--json FILE]

Random centers of size 128 in the files of four ranks, of which every tenth has a close neighbor. The time is that of
the command on all cores, without reading records. All pairs are compared, so it grows with the square of the classes;
the last row is such an estimate. On a machine that does other work the CPU seconds count, which are those of all
threads. About 15 minutes on two cores with up to a million classes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from partial_fc.checkpoint.center_files import centers_file, row_blocks, write_centers
from partial_fc.limits import usable_cores

from .measure import ROOT, in_own_process, print_table, write_json

_RANKS, _THRESHOLD, _ESTIMATED = 4, 0.6, 10_000_000


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.conflicts_time", description="Time the search.")
    sizes = [100_000, 300_000, 1_000_000]
    arguments.add_argument("--sizes", type=int, nargs="+", default=sizes, metavar="N", help="numbers of classes")
    arguments.add_argument("--size", type=int, default=128, metavar="D", help="numbers in a center (128)")
    arguments.add_argument("--workers", type=int, default=usable_cores(), metavar="N", help="threads (usable cores)")
    arguments.add_argument("--folder", metavar="DIR", help="where to write centers (the system's temporary folder)")
    arguments.add_argument("--json", metavar="FILE", help="write the results to this file, too, after each size")
    args = arguments.parse_args(argv)
    cases: List[Dict[str, Any]] = []
    for num_classes in args.sizes:
        print(f"{num_classes:,} classes", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            cases.append(_measure(folder, num_classes, args.size, args.workers))
        if args.json:
            write_json(args.json, cases)
    print_table(*table(cases))
    return 0


def table(cases: Sequence[Dict[str, Any]]) -> Tuple[List[str], List[List[str]]]:
    """Header and rows: of each case, and of the estimate for ten million classes from the last one."""
    rows = [_row(case, 1) for case in cases]
    if cases[-1]["classes"] < _ESTIMATED:
        rows.append(_row(cases[-1], (_ESTIMATED / cases[-1]["classes"]) ** 2))
    header = ["classes", "size", "threads", "found of planted", "seconds", "CPU seconds", "hours on idle cores"]
    return [*header, "GFLOP/s per core", "memory MiB"], rows


def _row(case: Dict[str, Any], times: float) -> List[str]:
    """A row for a case, or for an estimate, if it takes so many times as long."""
    cpu_seconds = times * case["cpu_seconds"]
    # a product and a sum for each number of half of the pairs
    speed = case["classes"] ** 2 * case["size"] / case["cpu_seconds"] / 1e9
    shared = [f"{cpu_seconds:,.0f}", f"{cpu_seconds / case['workers'] / 3600:.3g}", f"{speed:.0f}"]
    kind = [str(case["size"]), str(case["workers"])]
    if times > 1:
        return [f"{_ESTIMATED:,} (estimate)", *kind, "", "", *shared, ""]
    found = f"{case['found']:,} of {case['planted']:,}"
    return [f"{case['classes']:,}", *kind, found, f"{case['seconds']:,.0f}", *shared, f"{case['memory_mib']:,.0f}"]


def _measure(folder: str, num_classes: int, size: int, workers: int) -> Dict[str, Any]:
    planted = _write(folder, num_classes, size)
    path = os.path.join(folder, "found.json")
    command = [sys.executable, "-m", "partial_fc", "centers", "conflicts", folder, "--threshold", str(_THRESHOLD)]
    used = use_of([*command, f"--workers={workers}", f"--json={path}"])
    with open(path) as file:
        found = {(each["first"], each["second"]) for each in json.load(file)["pairs"]}
    counts = dict(planted=len(planted), found=len(found & planted), listed=len(found))
    return dict(classes=num_classes, size=size, workers=workers, **used, **counts)


def use_of(command: Sequence[str]) -> Dict[str, float]:
    """`seconds`, `cpu_seconds` and `memory_mib` of a command, which a process of its own starts.

    The kernel has the largest memory of all commands that a process has started, and begins to count at the memory of
    that process.
    """
    return in_own_process(_use_of, command)


def _use_of(command: Sequence[str]) -> Dict[str, float]:
    environment, start = {**os.environ, "PYTHONPATH": os.path.join(ROOT, "src")}, time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)  # its findings
    seconds, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return dict(seconds=seconds, cpu_seconds=usage.ru_utime + usage.ru_stime, memory_mib=usage.ru_maxrss / 1024)


def _write(folder: str, num_classes: int, size: int) -> Set[Tuple[int, int]]:
    """Write centers; returns the pairs of which the second is close to the first."""
    random, previous = np.random.RandomState(0), None
    pairs: Set[Tuple[int, int]] = set()
    edges = [rank * num_classes // _RANKS for rank in range(_RANKS + 1)]
    for rank, (start, stop) in enumerate(zip(edges, edges[1:])):

        def blocks(start=start, stop=stop):
            nonlocal previous
            for rows in row_blocks(stop - start, size):
                weight = random.standard_normal((rows.stop - rows.start, size)).astype(np.float32)
                if previous is not None:  # each tenth class is close to one of an earlier block
                    count = min(len(weight), len(previous[1])) // 10
                    weight[:count] = previous[1][:count] + 0.5 * weight[:count]
                    first = start + rows.start
                    pairs.update((previous[0] + place, first + place) for place in range(count))
                previous = start + rows.start, weight.copy()
                yield rows.start, weight, np.zeros_like(weight)

        path = os.path.join(folder, centers_file(rank, _RANKS))
        write_centers(path, start, stop - start, num_classes, size, blocks())
    return pairs


if __name__ == "__main__":
    sys.exit(main())
