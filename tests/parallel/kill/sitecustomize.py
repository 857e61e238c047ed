"""Kills rank 0 of a run at a call of the system; Python runs this file first where PYTHONPATH names its folder.

Environment: KILL=FUNCTION,ENDING,COUNT,WHEN: before or after the COUNT-th call of os.FUNCTION whose last path ends so.
"""

import os
import re
import signal


def _kill_at(name, ending, count, when):
    function, calls = getattr(os, name), []

    def killing(*paths, **options):
        calls.extend([1] if re.search(ending + "$", str(paths[-1])) else [])
        now = len(calls) == int(count)
        if now and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*paths, **options)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(os, name, killing)


if os.environ.get("KILL") and os.environ.get("OMPI_COMM_WORLD_RANK") == "0":
    _kill_at(*os.environ["KILL"].split(","))
