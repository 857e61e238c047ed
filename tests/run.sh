#!/usr/bin/env bash
# Install what is missing, then check style and types and run the tests. Arguments go to pytest.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
bash "$here/setup-utils/install.sh" --dev
# shellcheck source=setup-utils/env.sh
. "$here/setup-utils/env.sh"
cd "$here"
ruff check --quiet .
ruff format --check --quiet . || { echo "the files above are not formatted: run ruff format ." >&2 && exit 1; }
mypy --no-error-summary
# All tests: several files at a time, since those of real ranks mostly wait. A crash ends the run: with files as units,
# pytest-xdist 3.6 may wait forever for the tests of a process that it has replaced.
(($#)) || set -- --numprocesses logical --maxprocesses 4 --dist loadfile --max-worker-restart 0
OMP_NUM_THREADS=1 exec python -m pytest "$@"
