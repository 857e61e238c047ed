"""What command lines of several commands share."""

import logging
import sys

from tqdm.contrib.logging import logging_redirect_tqdm

from .errors import InputError

log = logging.getLogger("partial_fc")


def run(args):
    """Run a command, `args.run(args)`, whose log goes to the terminal; returns the exit status.

    What a user can mend, a full disk among it, is one line, without a traceback; so is Ctrl-C.

    Raises:
        BrokenPipeError: for `closed_pipe.quiet_pipe`.
    """
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    try:
        with logging_redirect_tqdm([log]):  # lines of the log above the progress bar, not through it
            return args.run(args) or 0
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return 130  # as shells have it
