"""The log of a run: on the terminal of each rank, and on rank 0 in a file of the models root."""

import logging
import logging.handlers
import os
import sys

from ..distributed.communicator import Communicator
from ..output.log import Console, LogFile

_FORMAT = "%(asctime)s %(message)s"

log = logging.getLogger("partial_fc")


def start_log(comm: Communicator) -> logging.handlers.MemoryHandler:
    """Log to the terminal: everything on rank 0, warnings and errors on the others.

    Returns:
        handler that holds rank 0's records until `open_log`: a start that fails leaves no file.
    """
    log.setLevel(logging.INFO if comm.rank == 0 else logging.WARNING)
    terminal = Console("stdout", _FORMAT)
    held = logging.handlers.MemoryHandler(sys.maxsize, flushLevel=sys.maxsize, flushOnClose=False)
    log.handlers = [terminal, held] if comm.rank == 0 else [terminal]
    return held


def open_log(path: str, held: logging.handlers.MemoryHandler, append: bool) -> None:
    """Log to a file, first the records that were held.

    Args:
        path: of the file.
        held: handler of `start_log`.
        append: whether an earlier file is kept.

    Raises:
        OSError: if it cannot be written.
    """
    if not append and os.path.exists(path):
        os.remove(path)
    file = LogFile(path, _FORMAT)
    held.setTarget(file)
    held.flush()
    log.handlers = [file if handler is held else handler for handler in log.handlers]
