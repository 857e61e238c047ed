"""Damaged files, one case after the other, in a process that may crash: `fuzz_worker.py FOLDER FIRST STOP FORMAT ...`.

A case is a function of its number alone. The file `case` in the folder has the number of the one that is being tried,
and `counts` how many gave data and how many our errors so far. The process ends by a signal where one takes too long,
and with a traceback where it raises anything but InputError, asks for too much memory or takes too much.
"""

import json
import logging
import os
import resource
import shutil
import signal
import sys
import time

import numpy as np

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "src")]

from damage import damage  # noqa: E402
from formats import FORMATS, Tally  # noqa: E402
from limits import address_space  # noqa: E402

CPU_SECONDS, SECONDS = 5, 60
RESIDENT, ADDRESS_SPACE = 2**28, 2**31


def resident_at_most(reset=False):
    """Most memory of this process in bytes, since the last reset."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def write_case(number, seeds, folder, is_json):
    """The files of a case: those of a variant, of which one or more are damaged."""
    random = np.random.RandomState(number)
    files = dict(seeds[random.randint(len(seeds))])
    names = sorted(files)
    chosen = {names[random.randint(len(names))] for _ in range(1 + random.randint(2))}
    for name in names:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(damage(files[name], random, is_json) if name in chosen else files[name])


def try_case(number, form, seeds, folder, tally):
    """One case, within the limits of time and memory."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    write_case(number, seeds, folder, form.json)
    before = resident_at_most(reset=True)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.alarm(SECONDS)
    form.use(folder, tally)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    taken = resident_at_most() - before
    assert taken < RESIDENT, f"took {taken:,} bytes"


def main(folder, first, stop, *names):
    """Try the cases [first, stop), each of the format whose turn it is."""
    logging.disable()
    seeds = {}
    for name in names:
        scratch = os.path.join(folder, "seeds-" + name)
        os.makedirs(scratch, exist_ok=True)
        seeds[name] = FORMATS[name].seeds(scratch)
    tallies, spent = {name: Tally() for name in names}, dict.fromkeys(names, 0.0)
    limit = address_space() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(int(first), int(stop)):
        name = names[number % len(names)]
        with open(os.path.join(folder, "case"), "w") as file:
            file.write(str(number))
        start = time.perf_counter()
        try_case(number, FORMATS[name], seeds[name], os.path.join(folder, "files"), tallies[name])
        spent[name] += time.perf_counter() - start
    print(json.dumps({name: [tally.data, tally.errors, spent[name]] for name, tally in tallies.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
