"""`python -m partial_fc.doctor`."""

import sys

from ..cli.doctor import main

sys.exit(main())
