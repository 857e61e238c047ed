"""Many updates of a tiny model on two ranks, under MPI and under Gloo: no hang, flat memory and file handles.

    python -m benchmarks.soak [--updates 200000] [--launchers MPI Gloo] [--json FILE]

The trainer itself runs, as config.sh starts it: records, head with sampling, log, TensorBoard, verification, saving,
some thousands of epochs. What each rank holds is read from outside, every second, once a tenth of the updates is done.
Start and end are medians over the first and the last tenth of these readings; the slope is that of a line through all.
The exit status is 1 if a rank hung or failed, if the memory of one grew by more than 16 MB, or its open files or
threads by more than 4. Two cores with nothing else to do take about half an hour per launcher.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Optional, Sequence

from partial_fc.data.demo.faces import render_face
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.verification_set import save_verification_set
from partial_fc.launch import kill_all

from .measure import LAUNCHERS, ROOT, print_table, rank_command, write_json
from .soak_watch import Watch, summarize

RANKS = 2
_IDENTITIES, _IMAGES, _PAIRS, _IMAGE_SIZE = 40, 8, 20, 16
# Without weight decay, which makes denormal numbers of a network that learns nothing for so long: they slow a CPU down.
_SETTINGS = dict(
    val_targets="val",
    image_size=_IMAGE_SIZE,
    embedding_size=8,
    batch_size=2,
    sample_ratio=0.5,
    num_workers=1,
    lr_steps="",
    wd=0,
    frequent=100,
    verbose=1000,
    save_interval=2000,
)
_HEADER = ("launcher", "rank", "updates", "updates/s", "memory MB", "slope, MB per 100,000", "files", "threads", "")
_LAST_LINES = 30


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run and print; returns the exit status."""
    args = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        _make_data(folder)
        cases = [case for launcher in args.launchers for case in _soak(launcher, args, folder)]
    print_table(_HEADER, map(_row, cases))
    if args.json:
        write_json(args.json, cases)
    return 1 if any(case["fault"] for case in cases) else 0


def _parser():
    result = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Train for very many updates.")
    result.add_argument("--updates", type=int, default=200_000, metavar="N", help="of each run (%(default)s)")
    result.add_argument("--launchers", nargs="+", choices=LAUNCHERS, default=list(LAUNCHERS), help="(all)")
    result.add_argument(
        "--stall", type=float, default=300, metavar="SECONDS", help="without an update count as a hang (%(default)s)"
    )
    result.add_argument("--json", metavar="FILE", help="write the results there, too")
    return result


def _make_data(folder):
    """`train.rec` and `val.bin` of drawn faces, small enough to go through thousands of times."""

    def face(identity, image):
        return encode_jpeg(render_face(0, identity, image, _IMAGE_SIZE))

    write_records(f"{folder}/train.rec", [[face(i, j) for j in range(_IMAGES)] for i in range(_IDENTITIES)])
    pairs = [(face(_IDENTITIES + pair, 0), face(_IDENTITIES + pair + pair % 2, 1)) for pair in range(_PAIRS)]
    save_verification_set(f"{folder}/val.bin", sum(pairs, ()), [pair % 2 == 0 for pair in range(_PAIRS)])


def _soak(launcher, args, folder):
    """Train under a launcher; returns one case per rank."""
    models_root = os.path.join(folder, launcher)
    settings = dict(_SETTINGS, rec=f"{folder}/train.rec", models_root=models_root, max_update=args.updates)
    arguments = [f"--set={key}={value}" for key, value in settings.items()]
    command = rank_command("partial_fc.train", arguments, launcher, RANKS)
    with open(models_root + ".out", "w+") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        watch = Watch(process, models_root, args.updates)
        fault = _follow(process, watch, args.stall, launcher)
        if fault:
            output.seek(0)
            sys.stderr.writelines(output.readlines()[-_LAST_LINES:])
    return [dict(launcher=launcher, **case) for case in summarize(watch, fault)]


def _follow(process, watch, stall, launcher):
    """Watch a run until it ends; what went wrong, None if nothing did. The run is ended in any case."""
    logged = time.monotonic()
    try:
        while process.poll() is None:
            time.sleep(1)
            watch.read()
            if time.monotonic() - watch.moved > stall:
                return f"hung after update {watch.num_update}"
            if time.monotonic() - logged > 60:
                logged = time.monotonic()
                print(f"{launcher}: update {watch.num_update:,}/{watch.updates:,}", file=sys.stderr, flush=True)
        return f"ended with status {process.returncode}" if process.returncode else None
    finally:
        if process.poll() is None:
            kill_all(process.pid)
            process.wait()


def _row(case):
    between = "{} -> {}".format
    return [
        case["launcher"],
        str(case["rank"]),
        f"{case['updates']:,}",
        f"{case['updates_per_second']:.0f}",
        between(f"{case['rss_mb_start']:.1f}", f"{case['rss_mb_end']:.1f}"),
        f"{case['rss_mb_slope']:+.2f}",
        between(case["files_start"], case["files_end"]),
        between(case["threads_start"], case["threads_end"]),
        case["fault"] or "passed",
    ]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # not without the runs
    sys.exit(main())
