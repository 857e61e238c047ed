"""What measurements on several ranks share: starting the ranks, timing, the machine's description, tables and JSON."""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, TypeVar

import horovod
import mxnet as mx

from partial_fc import files
from partial_fc.distributed.communicator import Communicator
from partial_fc.head.products import PRECISIONS
from partial_fc.limits import usable_cores

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAUNCHERS = {"MPI": ["mpirun", "--oversubscribe", "--bind-to", "none", "-np"], "Gloo": ["horovodrun", "--gloo", "-np"]}
_RANK = '. "$0/config.sh" && exec "$@"'  # in the environment of a rank that trains
_WARM_UP = 2
Result = TypeVar("Result")


def parser(name: str, description: str, runs: int, precisions: bool = False) -> argparse.ArgumentParser:
    """Argument parser of a benchmark: `--json FILE`, `--runs` with its default, and `--precision` if it has several."""
    result = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    result.add_argument("--runs", type=int, default=runs, metavar="N", help=f"measured rounds ({runs})")
    result.add_argument("--json", metavar="FILE", help="also write the results to this file")
    if precisions:
        result.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the products (float32)")
    return result


def on_ranks(worker: str, arguments: Any, launcher: str = "MPI", ranks: int = 2, modules: str = "") -> Any:
    """Run a worker on ranks of one thread each, in the environment that config.sh gives the trainer.

    Args:
        worker: name of a module that calls `work`.
        arguments: JSON value for it.
        launcher: `MPI` or `Gloo`.
        ranks: how many.
        modules: folder to import modules from, besides those of this checkout.

    Returns:
        What rank 0's function returned.

    Raises:
        subprocess.CalledProcessError: if a rank failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.json")
        command = rank_command(worker, [path, json.dumps(arguments)], launcher, ranks)
        paths = os.pathsep.join(filter(None, [modules, os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        with open(path) as file:
            return json.load(file)


def rank_command(module: str, arguments: Sequence[str], launcher: str, ranks: int) -> List[str]:
    """Command line that runs a module on ranks of this host, in the environment that config.sh gives the trainer."""
    return [*LAUNCHERS[launcher], str(ranks), "bash", "-c", _RANK, ROOT, sys.executable, "-m", module, *arguments]


def work(comm: Communicator, function: Callable[[Communicator, Any], Any]) -> None:
    """Be a rank of `on_ranks`: call `function(comm, arguments)`, which returns a JSON value."""
    path, arguments = sys.argv[1:]
    result = function(comm, json.loads(arguments))
    if comm.rank == 0:
        with open(path, "w") as file:
            json.dump(result, file)


def interleave(
    comm: Communicator,
    calls: Mapping[str, Callable[..., Any]],
    runs: int,
    prepare: Callable[[int], Sequence[Any]] = lambda number: (),
    title: Optional[str] = None,
) -> Dict[str, List[float]]:
    """Time calls in turns, so that other work on the machine slows each of them alike.

    A call's time goes from a barrier to the end of all that it started in MXNet, on the slowest rank.

    Args:
        comm: communicator.
        calls: functions by name.
        runs: measured rounds, after two that are not.
        prepare: function from a round's number to the arguments that each call gets in it; not timed.
        title: begins the line that rank 0 prints after each round; None for no such lines.

    Returns:
        seconds of every measured round by name, the same on every rank.
    """
    seconds: Dict[str, List[float]] = {name: [] for name in calls}
    for number in range(_WARM_UP + runs):
        arguments = prepare(number)
        for name, call in calls.items():
            seconds[name].append(_slowest(comm, call, arguments))
        if title:
            last = ", ".join(f"{name} {values[-1]:.3f} s" for name, values in seconds.items())
            progress(comm, f"{title}: round {number + 1}/{_WARM_UP + runs}: {last}")
    return {name: values[_WARM_UP:] for name, values in seconds.items()}


def cpu_seconds(call: Callable[[], object]) -> float:
    """Seconds of processor time that this process takes for a call and what MXNet computes for it."""
    mx.nd.waitall()
    start = time.process_time()
    call()
    mx.nd.waitall()
    return time.process_time() - start


def _slowest(comm, call, arguments):
    mx.nd.waitall()
    comm.all_gather_object(None)  # a barrier
    start = time.perf_counter()
    call(*arguments)
    mx.nd.waitall()
    return max(comm.all_gather_object(time.perf_counter() - start))


def progress(comm: Communicator, line: str) -> None:
    """Print a line of progress on rank 0."""
    if comm.rank == 0:
        print(line, file=sys.stderr, flush=True)


def spread(name: str, values: Sequence[float]) -> Dict[str, float]:
    """Median, smallest and largest of measured values, as entries `name`, `name_min` and `name_max`."""
    return {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}


def in_own_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """The function's result, from a fresh process: this one has memory to give away again."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def resident(which: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at most."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which)) / 1024


def machine() -> Dict[str, Any]:
    """What the figures depend on: processor, cores, memory in GiB, versions."""
    return dict(
        cpu=_cpu_model(),
        cores=usable_cores(),
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        python=platform.python_version(),
        mxnet=mx.__version__,
        horovod=horovod.__version__,
    )


def _cpu_model():
    with open("/proc/cpuinfo") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return models[0] if models else platform.machine()


def write_json(path: str, cases: Sequence[Dict[str, Any]]) -> None:
    """Write the machine's description and the measured cases, a list of dictionaries: a whole file or none."""
    files.write_json(path, dict(machine=machine(), cases=cases))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table; cells are str."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
