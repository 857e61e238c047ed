"""`python -m partial_fc ...`, the same as `partial-fc ...`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
