"""Extract the images of Glint360K: `python unpack_glint360k.py --include DIR[,DIR] --output OUT`.

The options are those of the published script; the work is that of `partial-fc data unpack`. It runs in a checkout that
is not installed.
"""

import os
import sys


def main() -> None:
    """Become `partial-fc data unpack`."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "src")
    paths = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "partial_fc.cli.data.unpack", *sys.argv[1:]]
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": paths})


if __name__ == "__main__":
    main()
