"""Damaged files, one case after the other, in a process that may crash: `fuzz_worker.py FOLDER FIRST STOP FORMAT ...`.

A case is a function of its number alone. The file `state` in the folder has the number of the one that is being tried;
by format how many were tried, how often there were data, how often our errors, and the seconds; and what was found:
a case that raised anything but InputError, or took too much memory. A signal ends the process where one takes too long.
"""

import json
import logging
import os
import resource
import shutil
import signal
import sys
import time
import traceback

import numpy as np

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "src")]

from helpers.damage import damage  # noqa: E402
from helpers.formats import FORMATS, Tally  # noqa: E402
from helpers.limits import address_space, resident  # noqa: E402

CPU_SECONDS, SECONDS = 5, 60
RESIDENT, ADDRESS_SPACE = 2**28, 2**31


def forget_most():
    """Have `resident` begin anew."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


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
    forget_most()
    before = resident()
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.alarm(SECONDS)
    form.use(folder, tally)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    taken = resident() - before
    assert taken < RESIDENT, f"took {taken:,} bytes"


def main(folder, first, stop, *names):
    """Try the cases [first, stop), each of the format whose turn it is."""
    logging.disable()
    seeds = {}
    for name in names:
        scratch = os.path.join(folder, "seeds-" + name)
        os.makedirs(scratch, exist_ok=True)
        seeds[name] = FORMATS[name].seeds(scratch)
    state = {"case": None, "counts": {name: [0, 0, 0, 0.0] for name in names}, "findings": []}
    limit = address_space() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(int(first), int(stop)):
        name, tally, start = names[number % len(names)], Tally(), time.perf_counter()
        state["case"] = number
        save(folder, state)
        try:
            try_case(number, FORMATS[name], seeds[name], os.path.join(folder, "files"), tally)
        except Exception:
            state["findings"].append(f"case {number} ({name}):\n{traceback.format_exc(limit=-4)}")
        found = 1, tally.data, tally.errors, time.perf_counter() - start
        state["counts"][name] = [before + more for before, more in zip(state["counts"][name], found)]
    save(folder, state)


def save(folder, state):
    """Write the state where it outlives this process."""
    with open(os.path.join(folder, "state"), "w") as file:
        json.dump(state, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
