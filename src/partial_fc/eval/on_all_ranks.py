"""Commands that all ranks of horovodrun or mpirun run together."""

import logging
import time

from ..distributed.collectives import connect
from ..errors import CollectiveError

log = logging.getLogger("partial_fc")


def on_all_ranks(work):
    """Exit status of `work(comm)` on this rank; only rank 0 logs, and prints an error that all ranks share."""
    comm = connect(watch=True, stalls=False)  # while one rank works alone, the others wait
    log.setLevel(logging.WARNING if comm.rank else logging.INFO)
    try:
        work(comm)
    except CollectiveError:
        if comm.rank == 0:
            raise
        time.sleep(1)  # rank 0 speaks for all, and first: the launcher ends the others as soon as one has ended
        return 1
    return 0
