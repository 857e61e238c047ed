"""`python -m partial_fc.doctor`."""

import sys

from .commands import main

sys.exit(main())
