"""`partial-fc train`: the run, and its exit status."""

import sys
import time

from ..distributed.signals import Signals, Stopped
from ..errors import STOPPED, CollectiveError, InputError, exit_status
from ..output.closed_pipe import quiet_pipe
from ..output.printable import print_message
from .summary import print_summary
from .train_arguments import from_command_line


@quiet_pipe
def main(argv=None):
    """Train as the arguments say; returns the exit status."""
    comm = config = problem = None
    try:
        config = from_command_line(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        problem = str(error)
    from ..distributed.collectives import connect  # imports MXNet: wrong arguments and --help need not wait for it
    from ..train import train

    try:
        comm = connect(watch=True)
        comm.agree(problem)
        with Signals() as signals:
            summary = train(config, comm, signals)
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
    return 0


def _last_words(comm, message):
    """Rank 0 speaks for all, and first: the launcher ends the others as soon as one has ended."""
    from mxnet import nd

    nd.waitall()  # what all ranks have begun together
    if comm.rank:
        time.sleep(1)
    else:
        print_message(message)
