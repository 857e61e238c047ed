"""The command `partial-fc data glint360k`."""

import contextlib
import logging
import os
import time

from tqdm import tqdm

log = logging.getLogger("partial_fc")

_SECONDS_BETWEEN_LINES = 10


def add(commands):
    """Add the command to the sub-parsers."""
    command = commands.add_parser(
        "glint360k", help="unpack and check the download of Glint360K",
        description="Tell which release of Glint360K the files in DIR are, by the md5 sums that its pages publish. "
        "Where there is no train.rec yet, it is unpacked from the archive's parts glint360k*. Start a run that was "
        "broken off again.",
    )
    command.add_argument("folder", metavar="DIR", help="has train.rec and train.idx, or the parts glint360k*")
    command.set_defaults(run=_run)


def _run(args):
    from .glint360k import prepare

    folder, release = prepare(args.folder, _progress)
    log.info("%s: Glint360K, %s: 17091657 images of 360232 identities", folder, release.name)
    log.info("train on it: --dataset glint360k_8GPU --rec %s", os.path.join(folder, "train.rec"))


@contextlib.contextmanager
def _progress(total, what):
    """A bar over bytes on a terminal, a line now and then elsewhere."""
    told, done = time.monotonic(), 0
    with tqdm(total=total, unit="B", unit_scale=True, desc=what, disable=None, leave=False) as bar:

        def advance(count):
            nonlocal told, done
            done += count
            bar.update(count)
            if bar.disable and time.monotonic() - told >= _SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                log.info("%s: %.1f of %.1f GB", what, done / 1e9, total / 1e9)

        yield advance
