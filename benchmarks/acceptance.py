"""Everything that a GPU computes, compared with what it must be. Run it once on each kind of GPU. Some minutes.

    python -m benchmarks.acceptance [--device auto|cpu|gpu] [--json FILE]

The head against the dense float64 reference of the tests (losses, sampling, sizes that do not divide, centers on the
device and on the host), by several ranks in one process and by one rank per GPU; a whole model against one rank on the
CPU; collectives, their values and their speed; the speed of matrix products and of training; and the memory of a run
against what partial_fc.planning.memory computes before it. Then float16: head and backbone against their references,
with larger errors allowed (benchmarks/acceptance_precision.py); an update that an injected overflow must skip on all
ranks; speed and memory. Without a GPU the same checks run on the CPU, on two ranks, in smaller sizes, and in bfloat16
instead of float16, since a CPU has none. Errors of float32 are the largest over all cases, as a share of the allowed
one: 1e-5, or four times that of the formula in dense float32 where that is more. The exit status is 1 if a check
failed.
"""

import os
import subprocess
import sys
from typing import Optional, Sequence

import mxnet as mx

from partial_fc.distributed.collectives import describe_build
from partial_fc.doctor.facts import nvidia_gpus

from .measure import LAUNCHERS, ROOT, machine, on_ranks, parser, print_table, write_json

_WORKER = "benchmarks.acceptance_worker"
_CPU = dict(
    products=dict(num_rows=8_000, global_batch_size=256, embedding_size=256),
    step=dict(network="demo", image_size=48, num_classes=20_000, sample_ratio=0.1, embedding_size=128),
    batch_size=32,
    memory=["--dataset=100w", "--network=demo", "--batch-size=16", "--sample-ratio=0.1", "--set=num_classes=100003"],
)
_GPU = dict(
    products=dict(num_rows=100_000, global_batch_size=1024, embedding_size=512),
    step=dict(network="r50", image_size=112, num_classes=1_000_003, sample_ratio=0.1, embedding_size=512),
    batch_size=64,
    memory=["--dataset=100w", "--network=r50", "--sample-ratio=0.1", "--set=num_classes=1000003"],
)
_HEADER = ("ranks", "check", "result", "allowed", "")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Check, measure and print; returns the exit status."""
    arguments = parser("acceptance", "Check all that a GPU computes.", runs=5)
    arguments.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="(GPUs if MXNet sees any)")
    args = arguments.parse_args(argv)
    num_gpus = mx.context.num_gpus() if mx.runtime.Features().is_enabled("CUDA") else 0
    if args.device == "gpu" and not num_gpus:
        print("error: MXNet sees no GPU: partial-fc doctor says why", file=sys.stderr)
        return 2
    on_gpus = num_gpus and args.device != "cpu"
    cases = list(_cases("gpu" if on_gpus else "cpu", num_gpus if on_gpus else 2, args.runs))
    for name, value in {**machine(), **_gpus(), "horovod": _horovod()}.items():
        print(f"{name}: {value}")
    print()
    print_table(_HEADER, map(_row, cases))
    failed = sum(case["passed"] is False for case in cases)
    print(f"\n{failed} of {sum(case['passed'] is not None for case in cases)} checks failed.")
    if args.json:
        write_json(args.json, cases)
    return 1 if failed else 0


def _cases(device, ranks, runs):
    tests = os.path.join(ROOT, "tests")
    low = "float16" if device == "gpu" else "bfloat16"
    runs_of = [("shards", "MPI", 1, "float32"), *(("ranks", launcher, ranks, "float32") for launcher in LAUNCHERS)]
    runs_of += [(measure, "MPI", ranks, "float32") for measure in ("speed", "memory")]
    runs_of += [(measure, "MPI", ranks, low) for measure in ("low", "speed", "memory")]
    for measure, launcher, count, precision in runs_of:
        arguments = dict(measure=measure, device=device, runs=runs, precision=precision)
        arguments.update(_GPU if device == "gpu" else _CPU)
        try:
            measured = on_ranks(_WORKER, arguments, launcher, count, tests)
        except subprocess.CalledProcessError as error:  # the ranks have printed why
            measured = [dict(check=f"{measure}: ranks ended", value=error.returncode, limit=0, unit="", passed=False)]
        for case in measured:
            yield {"ranks": f"{count} x {launcher}", **case}


def _gpus():
    """What the driver reports about each GPU."""
    return {f"gpu {i}": ", ".join(gpu.values()) for i, gpu in enumerate(nvidia_gpus()["gpus"] or [])}


def _horovod():
    build = describe_build()
    parts = [name.upper() for name in ("mpi", "gloo", "nccl", "cuda") if build[name]]
    return f"{build['version']} with {', '.join(parts)}; {build['mpi_library']}"


def _row(case):
    allowed = "" if case["limit"] is None else f"<= {case['limit']:.3g}"
    verdict = {True: "passed", False: "FAILED", None: ""}[case["passed"]]
    return [case["ranks"], case["check"], f"{case['value']:.3g} {case['unit']}".strip(), allowed, verdict]


if __name__ == "__main__":
    sys.exit(main())
