"""The data set of the demo: drawn faces, in a record file and a verification set like those of real faces."""

import logging
import os
import shutil
import uuid
from typing import Iterable, Iterator

import numpy as np

from ...randomness import generator
from ..images.decoding import encode_jpeg
from ..progress import Progress
from ..records.record_writer import write_records
from ..verification_set import save_verification_set
from .faces import render_face

log = logging.getLogger("partial_fc")

# The data are part of the demo: they do not depend on the seed of the run.
_SEED = 0
NUM_IDENTITIES, IMAGES_PER_IDENTITY = 350, 32
_HELD_OUT, _HELD_OUT_IMAGES, _PAIRS_PER_KIND = 250, 6, 1500


def _logged(identities: Iterable[int]) -> Iterator[int]:
    for identity in identities:
        if identity % 100 == 0:
            log.info("drawing the demo's faces: %d of %d identities", identity, NUM_IDENTITIES)
        yield identity


def make_demo(folder: str, image_size: int, progress: Progress = _logged) -> None:
    """Make `train.rec`, `train.idx` and `demo.bin` in `folder`, unless the folder exists.

    The faces are drawn before anything is written: a process that is killed meanwhile leaves nothing behind. Processes
    that draw at the same time draw the same; the first that finishes gives its folder the name, the others remove
    theirs.

    Args:
        folder: of the files.
        image_size: height and width of the images, in pixels.
        progress: wraps the iteration over identities, to show progress; logs it by default.

    Raises:
        OSError: a file cannot be written; the error names it.
    """
    if os.path.isdir(folder):
        return
    identities = [
        [_face(identity, image, image_size) for image in range(IMAGES_PER_IDENTITY)]
        for identity in progress(range(NUM_IDENTITIES))
    ]
    pairs = _verification_pairs(image_size)
    parent = os.path.dirname(os.path.abspath(folder))
    os.makedirs(parent, exist_ok=True)
    unfinished = os.path.join(parent, f".demo-{uuid.uuid4().hex}")
    os.mkdir(unfinished)
    try:
        write_records(os.path.join(unfinished, "train.rec"), identities)
        save_verification_set(os.path.join(unfinished, "demo.bin"), *pairs)
        try:
            os.rename(unfinished, folder)
        except OSError:
            if not os.path.isdir(folder):  # else another process was first
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _face(identity, image, image_size):
    return encode_jpeg(render_face(_SEED, identity, image, image_size))


def _verification_pairs(image_size):
    """Encoded images and issame of as many same as different pairs, of identities that are not trained on."""
    random = generator(_SEED, "pairs")
    faces = [
        [_face(NUM_IDENTITIES + identity, image, image_size) for image in range(_HELD_OUT_IMAGES)]
        for identity in range(_HELD_OUT)
    ]
    images = []
    issame = np.arange(2 * _PAIRS_PER_KIND) % 2 == 0  # alternating, so that each fold holds both kinds
    for same in issame:
        first, second = random.choice(_HELD_OUT, 2, replace=False)
        if same:
            images += [faces[first][image] for image in random.choice(_HELD_OUT_IMAGES, 2, replace=False)]
        else:
            images += [faces[person][random.integers(_HELD_OUT_IMAGES)] for person in (first, second)]
    return images, issame
