"""Functions in a process of their own, whose memory is bounded and measured."""

import json
import os
import resource
import subprocess
import sys

from helpers.paths import ROOT

_WORKER = """
import json, resource, sys
sys.path[:0] = {paths!r}
from helpers.limits import address_space, resident
{imports}
before = resident()
limit = address_space() + {most}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
error = None
try:
    {call}
except (InputError, OSError) as found:
    error = str(found)
print(json.dumps([error, resident() - before]))
"""


def address_space():
    """Bytes of memory that this process has asked for."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def resident():
    """Most bytes of memory that this process has had; `ru_maxrss` begins with those of its parent."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def bounded(imports, call, most=2**29, seconds=60):
    """Run a statement in a process that may ask for `most` bytes beyond those of its imports.

    Returns:
        The message of the InputError or OSError in which it ended, or None; and how many bytes it took at most.
    """
    script = _WORKER.format(
        paths=[os.path.join(ROOT, "src"), os.path.join(ROOT, "tests")],
        call=call,
        most=most,
        imports=f"from partial_fc.errors import InputError\n{imports}",
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=seconds, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout.splitlines()[-1]))
