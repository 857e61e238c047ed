"""`python -m partial_fc.data`."""

import sys

from .commands import main

sys.exit(main())
