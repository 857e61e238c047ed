#!/usr/bin/env bash
# Set up where need be, then check the style and run the tests. Arguments go to pytest.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
bash "$here/setup-utils/install.sh" --dev
# shellcheck source=setup-utils/env.sh
. "$here/setup-utils/env.sh"
cd "$here"
ruff check .
ruff format --check --quiet .
OMP_NUM_THREADS=1 exec python -m pytest "$@"
