"""Failures of one rank of a real run, under each launcher: the seconds to the end of the run, and its last line.

    python -m benchmarks.failures [--json FILE] [--short] [--only KIND [KIND ...]]

With the default limits of a run: about twelve minutes, the launchers side by side. `--short`
lowers them to a few seconds: about three minutes. At last the cable between two hosts is cut, which needs root.
"""

import concurrent.futures
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import psutil

from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_writer import write_records

from .measure import ROOT, parser, print_table, write_json
from .two_hosts import Hosts, launch_command, obstacle, own_folders

LAUNCHERS = {
    "run.sh": ["bash", f"{ROOT}/run.sh", "-np", "2", "--"],
    "horovodrun --mpi": ["horovodrun", "--mpi", "-np", "2", "-H", "localhost:2", "bash", f"{ROOT}/config.sh"],
    "horovodrun --gloo": ["horovodrun", "--gloo", "-np", "2", "-H", "localhost:2", "bash", f"{ROOT}/config.sh"],
}
KINDS = (
    "killed",
    "segmentation fault",
    "out of memory",
    "exception",
    "full disk",
    "NaN",
    "stalled reader",
    "stopped",
    "late",
)
CUT = "cut cable"
SHORT = dict(
    PARTIAL_FC_STALL_SECONDS="4",
    PARTIAL_FC_LOST_SECONDS="4",
    OMPI_MCA_oob_tcp_keepalive_time="3",
    OMPI_MCA_oob_tcp_keepalive_intvl="1",
)
INJECT = os.path.join(ROOT, "benchmarks", "inject")  # for PYTHONPATH
_UPDATE = 5  # of the failure, counted from 0
_SETTINGS = "val_targets= image_size=32 embedding_size=16 max_update=5000 frequent=1 batch_size=8 num_workers=1"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status, 1 if a run left processes or ended as if all were well."""
    options = parser("failures", "Let one rank of two fail.", runs=1)
    options.add_argument("--short", action="store_true", help="use limits of a few seconds")
    options.add_argument(
        "--only", nargs="+", choices=(*KINDS, CUT), default=(*KINDS, CUT), metavar="KIND", help="(all)"
    )
    args = options.parse_args(argv)
    limits = SHORT if args.short else {}
    cases: List[Dict[str, Any]] = []
    for kind in (kind for kind in args.only if kind in KINDS):
        with concurrent.futures.ThreadPoolExecutor() as pool:  # they wait, most of the time
            cases += pool.map(lambda launcher, kind=kind: _case(kind, launcher, limits), LAUNCHERS)
    if CUT in args.only:
        cases += _cut_cable(limits)
    rows = [[case["kind"], case["launcher"], f"{case['seconds']:.0f}", f"`{case['last']}`"] for case in cases]
    print_table(["rank 1", "launcher", "s", "last line"], rows)
    if cases and "there" in cases[-1]:
        print(f"On the host that was cut off, all processes had ended after {cases[-1]['there']:.0f} s.")
    if args.json:
        write_json(args.json, cases)
    return int(any(case["left"] or not case["status"] for case in cases))


def _case(kind, launcher, limits):
    with tempfile.TemporaryDirectory() as folder:
        case = fail(kind, launcher, folder, **limits)
    print(f"{kind}, {launcher}: {case['seconds']:.0f} s, {case['last']}", file=sys.stderr)
    return case


def _cut_cable(limits):
    """A case for each launcher, whose rank 1 is on another host; `there`: seconds until nothing runs there any more."""
    reason = obstacle()
    if reason:
        print(f"{CUT}: left out: {reason}", file=sys.stderr)
        return []
    limits = {name: value for name, value in limits.items() if "STALL" not in name}
    with tempfile.TemporaryDirectory() as folder, Hosts(own_folders(folder)) as hosts:
        ready = threading.Barrier(len(LAUNCHERS) + 1)

        def follow(number, launcher):
            train = launch_command(launcher, hosts.names, 1, folder)
            train += arguments(os.path.join(folder, str(number)), max_update=1_000_000)
            process, output = hosts.start(hosts.names[0], train, cwd=folder, **limits), []
            for line in process.stdout:
                output.append(line)
                if f"update {_UPDATE}/" in line:
                    ready.wait(120)
            return process.wait(), time.monotonic(), output

        with concurrent.futures.ThreadPoolExecutor() as pool:
            runs = [pool.submit(follow, *each) for each in enumerate(LAUNCHERS)]
            ready.wait(120)
            hosts.cut()
            cut = time.monotonic()
            while hosts.processes(hosts.names[1]):
                time.sleep(0.5)
            there = time.monotonic() - cut
            ends = [run.result() for run in runs]
        left = len(hosts.processes(hosts.names[0]))
    return [
        dict(kind=CUT, launcher=launcher, status=status, seconds=end - cut, left=left, last=_last(output), there=there)
        for launcher, (status, end, output) in zip(LAUNCHERS, ends)
    ]


def _last(output):
    """The last line that is not empty."""
    return next((line.rstrip() for line in reversed(output) if line.strip()), "")


def _started(command, folder, variables):
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def fail(kind: str, launcher: str, folder: str, rank: int = 1, **environment: str) -> Dict[str, Any]:
    """Train on two ranks until one fails.

    Args:
        kind: of KINDS.
        launcher: of LAUNCHERS.
        folder: an empty one.
        rank: that fails.
        environment: variables of the run.

    Returns:
        dict: kind, launcher, the exit `status`, `seconds` from the failure to the end of the launcher, `left`
        processes, the `last` line and the whole `output`.
    """
    variables = dict(OMP_NUM_THREADS="1", PYTHONPATH=INJECT, INJECT=f"{kind},{rank},{_UPDATE}", **environment)
    output, failed = [], None
    with _started([*LAUNCHERS[launcher], *arguments(folder)], folder, variables) as process:
        for line in process.stdout or ():
            output.append(line)
            if "injected" in line and not failed:
                failed = time.monotonic()
    seconds = time.monotonic() - failed if failed else float("nan")
    left = sum(folder in " ".join(other.info["cmdline"] or []) for other in psutil.process_iter(["cmdline"]))
    status = process.returncode
    return dict(
        kind=kind,
        launcher=launcher,
        status=status,
        seconds=seconds,
        left=left,
        last=_last(output),
        output="".join(output),
    )


def arguments(folder: str, **settings: Any) -> List[str]:
    """Of the trainer, for a small network and record file in a folder; `settings` are keys of the preset."""
    assignments = [*_SETTINGS.split(), f"rec={_records(folder)}", *(f"{key}={settings[key]}" for key in settings)]
    options = [word for assignment in assignments for word in ("--set", assignment)]
    return [*options, "--models-root", f"{folder}/models"]


def _records(folder):
    random = np.random.RandomState(0)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "train.rec")
    images = random.randint(0, 256, (8, 8, 32, 32, 3)).astype(np.uint8)
    write_records(path, [[encode_jpeg(image) for image in identity] for identity in images])
    return path


if __name__ == "__main__":
    sys.exit(main())
