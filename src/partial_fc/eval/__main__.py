"""`python -m partial_fc.eval`."""

import sys

from .commands import main

sys.exit(main())
