"""`python -m partial_fc.data`."""

import sys

from ..cli.data.main import main

sys.exit(main())
