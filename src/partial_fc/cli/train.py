"""`partial-fc train`: the run, and its exit status."""

import sys
import time
from typing import Optional, Sequence

from ..distributed.communicator import Communicator
from ..distributed.signals import Signals, Stopped
from ..errors import INTERRUPTED, STOPPED, CollectiveError, InputError, exit_status
from ..output.closed_pipe import quiet_pipe
from ..output.printable import print_message
from .summary import print_summary
from .train_arguments import read_command_line


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Train as the arguments say; returns the exit status."""
    comm: Optional[Communicator] = None
    described = problem = None
    try:
        described = read_command_line(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        problem = str(error)
    from ..distributed.collectives import connect  # imports MXNet: wrong arguments and --help need not wait for it
    from ..train import train

    try:
        comm = connected = connect(watch=True)
        connected.agree(problem)
        assert described  # otherwise there is a problem
        config, options = described
        with Signals() as signals:
            summary = train(config, connected, signals, options)
        if summary:
            print_summary(summary, config)
    except Stopped as stopped:
        _last_words(comm, f"stopped: {stopped}")
        return STOPPED
    except CollectiveError as error:
        _last_words(comm, f"error: {error}")
        return error.status
    except BrokenPipeError:  # the summary
        raise
    except (InputError, OSError) as error:
        status = exit_status(error)
        if comm:
            comm.fail(str(error), status)
        print_message(f"error: {error}")
        return status
    except KeyboardInterrupt:
        print_message("interrupted")
        return INTERRUPTED
    return 0


def _last_words(comm: Optional[Communicator], message: str) -> None:
    """Rank 0 prints for all, and ends first: the launcher kills the others as soon as one has ended."""
    from mxnet import nd

    nd.waitall()  # the collectives that all ranks have begun
    if comm and comm.rank:
        time.sleep(1)
    else:
        print_message(message)
