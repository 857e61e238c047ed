"""`python -m partial_fc.eval`."""

import sys

from ..cli.eval.main import main

sys.exit(main())
