"""One rank of tests/eval/test_embed.py: `eval embed` in blocks of 8 images; on demand it dies after its second."""

import os
import signal
import sys

from partial_fc.cli.eval.main import main
from partial_fc.eval import unfinished_features

unfinished_features.BLOCK_ROWS = 8
write, written = unfinished_features.UnfinishedFeatures.write, []


def write_and_die(self, rows, *block):
    """Write a block; the second of this rank is the last thing that it does."""
    write(self, rows, *block)
    written.append(rows)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)


if sys.argv[1] == "die":
    unfinished_features.UnfinishedFeatures.write = write_and_die
sys.exit(main(sys.argv[2:]))
