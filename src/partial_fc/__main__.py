"""`python -m partial_fc ...`, the same as `partial-fc ...`."""

import sys

from .errors import INTERRUPTED
from .output.printable import print_message


def main() -> int:
    """Run the command line; Ctrl-C also ends the imports, which take a while on slow disks, without a traceback."""
    try:
        from .cli.main import main as command_line

        return command_line()
    except KeyboardInterrupt:
        print_message("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
