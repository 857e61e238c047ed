"""What command lines of several commands share."""

import logging

from ..errors import InputError
from ..output.log import Console
from ..output.printable import print_message

log = logging.getLogger("partial_fc")


def run(args):
    """Run a command, `args.run(args)`, whose log goes to the terminal; returns the exit status.

    What a user can mend, a full disk among it, is one line, without a traceback; so is Ctrl-C.

    Raises:
        BrokenPipeError: for `closed_pipe.quiet_pipe`.
    """
    if not log.handlers:
        log.addHandler(Console("stderr"))
    log.setLevel(logging.INFO)
    try:
        return args.run(args) or 0
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        print_message(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        print_message("interrupted")
        return 130  # as shells have it
