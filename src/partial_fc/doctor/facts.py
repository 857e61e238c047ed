"""Collects facts about this host, as JSON. Needs only Python: whatever else is missing is a fact, too.

python -m partial_fc.doctor.facts MODELS_ROOT [TRAIN.REC]       (run on other hosts over ssh)
"""

import hashlib
import json
import os
import platform
import resource
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, Optional, Sequence

from ..distributed.hosts import own_address
from ..files import file_digest, has_ending
from ..limits import usable_cores
from .checklist import Facts
from .programs import Outcome, run

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Seconds for each of the programs, which run at the same time.
TIMEOUT = 90
_GPU_QUERY = "name,compute_cap,driver_version,memory.total,memory.used"


def gather(models_root: str, rec: Optional[str] = None) -> Facts:
    """Facts about this host; JSON can hold them.

    Args:
        models_root: folder that a run will write to.
        rec: record file that it will read, or None.

    Returns:
        Dictionary: `host`, `address` (that its name resolves to, None if it does not), `python`, `executable`, `code`
        (digest of the library's files), `cores`, `open_files` (limit), `shared_memory` (free bytes of /dev/shm, None
        without it), `clock_synchronized` (None if unknown), `gpus` (list, None without NVIDIA's driver), and
        dictionaries, with a key `error` if something is wrong: `mxnet`, `horovod`, `trainer`, `mpirun`, `horovodrun`,
        `models_root`, `data` (None without `rec`), `driver`, `precisions` (see `doctor.precisions`).
    """
    with ThreadPoolExecutor() as pool:
        libraries = pool.submit(_probe, "libraries", "mxnet", "horovod")
        trainer = pool.submit(run, _module("train", "--help"), TIMEOUT, _environment())
        disk = pool.submit(_probe, "disk", "models_root", "data", arguments=[models_root, *([rec] if rec else [])])
        mpirun = pool.submit(_version, "mpirun")
        horovodrun = pool.submit(_version, "horovodrun")
        gpus = pool.submit(nvidia_gpus)
        synchronized = pool.submit(_clock_synchronized)
    measured = _probe("precisions", "precisions")  # by itself: the others would slow it down
    return {
        "host": socket.gethostname(),
        "address": own_address(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "code": _digest_of_code(),
        "cores": usable_cores(),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "shared_memory": shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else None,
        "clock_synchronized": synchronized.result(),
        "trainer": _or_error(trainer.result(), {}),
        "mpirun": mpirun.result(),
        "horovodrun": horovodrun.result(),
        **gpus.result(),
        **libraries.result(),
        **disk.result(),
        **measured,
    }


def _module(name: str, *arguments: str) -> List[str]:
    return [sys.executable, "-m", f"partial_fc.{name}", *arguments]


def _environment() -> Dict[str, str]:
    """Environment in which child processes find the library."""
    paths = [os.path.dirname(PACKAGE)] + os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "MXNET_SUBGRAPH_VERBOSE": "0"}


def _or_error(outcome: Outcome, facts: Facts) -> Facts:
    return {"error": outcome.problem} if outcome.problem else facts


def _probe(module: str, *names: str, arguments: Sequence[str] = ()) -> Facts:
    """Facts that a module of this package prints, by name; where it fails, the first missing fact is the error."""
    outcome = run(_module(f"doctor.{module}", *arguments), TIMEOUT, _environment())
    facts: Facts = dict.fromkeys(names)
    for line in outcome.output.splitlines():
        if line.startswith("{"):
            facts.update(json.loads(line))
    unknown = [name for name in names if facts[name] is None]
    if outcome.problem and unknown:
        facts[unknown[0]] = {"error": outcome.problem}
    return facts


def _version(program: str) -> Facts:
    outcome = run([program, "--version"], TIMEOUT)
    first = next(iter(outcome.output.splitlines()), "")
    return _or_error(outcome, {"version": first, "path": shutil.which(program)})


def nvidia_gpus() -> Facts:
    """The GPUs that NVIDIA's driver reports.

    Returns:
        Dictionary: `gpus`, list of dictionaries of str, None if there is no driver or it fails; `driver`, a dictionary
        with its `error`, or None.
    """
    if not shutil.which("nvidia-smi"):
        return {"gpus": None, "driver": None}
    outcome = run(["nvidia-smi", f"--query-gpu={_GPU_QUERY}", "--format=csv,noheader,nounits"], TIMEOUT)
    if outcome.problem:
        return {"gpus": None, "driver": {"error": outcome.problem}}
    names = ("name", "compute_capability", "driver", "memory_mib", "used_mib")
    rows = [[cell.strip() for cell in line.split(",")] for line in outcome.output.splitlines() if line.strip()]
    return {"gpus": [dict(zip(names, row)) for row in rows], "driver": None}


def _clock_synchronized() -> Optional[bool]:
    outcome = run(["timedatectl", "show", "--property=NTPSynchronized", "--value"], TIMEOUT)
    return {"yes": True, "no": False}.get(outcome.output.strip())


def _digest_of_code() -> str:
    """Digest of all Python files of the library, including those behind its links."""
    digest = hashlib.blake2b(digest_size=8)
    folders = sorted(os.walk(PACKAGE, followlinks=True))
    for path in (os.path.join(folder, name) for folder, _, names in folders for name in sorted(names)):
        if has_ending(path, ".py"):
            digest.update(os.path.relpath(path, PACKAGE).encode())
            file_digest(path, digest)
    return digest.hexdigest()


def main() -> None:
    """Print the facts of this host as one line of JSON."""
    print(json.dumps(gather(*sys.argv[1:])), flush=True)


if __name__ == "__main__":
    main()
