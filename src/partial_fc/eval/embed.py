"""Features of many images, computed by all ranks together."""

import contextlib
import hashlib
import logging
import os
import time

import numpy as np

from ..data.data_set import write_lines
from ..errors import InputError
from ..limits import usable_cores
from .embedding import check_finite, read_ahead
from .unfinished_features import UnfinishedFeatures, read_json, write_json

log = logging.getLogger("partial_fc")

_VERSION = 1  # of what is written: files of another are not taken for the same


def embed(source, embedder, out, comm, flip=False, overwrite=False):
    """Write `OUT.npy`, (n, D) float32, of n images; `OUT.txt`, what each row is of; `OUT.json`, of which model.

    Where the files are there and were computed by the same model from the same images, nothing is done. A run that was
    killed goes on where it stopped, with any number of ranks. Ranks take blocks of images in turns; on several hosts
    they need a common folder. Memory does not grow with n, but for the names of the images.

    Args:
        source: FileImages or RecordImages, the same on every rank.
        embedder: Embedder, of the same model on every rank.
        out: path of `OUT.npy`.
        comm: communicator.
        flip: whether to add the embeddings of the mirror images.
        overwrite: whether to compute all anew and replace files of other images or another model.

    Returns:
        Number of images that were computed now, by all ranks.

    Raises:
        AgreedError: on every rank: images that cannot be read, embeddings that are not finite, files that cannot be
            written or are not to be replaced, other images or models on other ranks.
    """
    with comm.together():
        shape = len(source.lines), embedder.embedding_size(source.size)
        arguments = {
            "version": _VERSION, "model": embedder.checksum, "flip": flip,
            "images": shape[0], "embedding_size": shape[1], "image_size": list(source.size),
            "names": _digest(source.lines),
        }
    _compare(arguments, comm)
    unfinished, there = UnfinishedFeatures(out, shape), False
    with comm.together():
        if comm.rank == 0:
            arguments["states"] = _digest(source.states())
            there = _is_there(out, arguments) and not overwrite
            if not there:
                _check_free(out, unfinished.matches(arguments) or overwrite)
                unfinished.prepare(arguments, anew=overwrite)
    if any(comm.all_gather_object(there)):
        log.info("%s: these images and this model have been computed already", out)
        return 0
    start = time.perf_counter()
    with contextlib.closing(unfinished):
        with comm.together():
            blocks = unfinished.open()
        _compute(source, embedder, unfinished, blocks, comm, flip)
    with comm.together():
        if comm.rank == 0:
            _publish(unfinished, out, source.lines, arguments)
    count = sum(map(len, blocks))
    log.info(
        "%s: %d x %d features; %d images now, %.0f a second", out, *shape, count, count / (time.perf_counter() - start)
    )
    return count


def text_path(out):
    """`OUT.txt` of `OUT.npy`."""
    return os.path.splitext(out)[0] + ".txt"


def _json_path(out):
    return os.path.splitext(out)[0] + ".json"


def _digest(lines):
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def _compare(arguments, comm):
    others = comm.all_gather_object(arguments)
    comm.agree(None if arguments == others[0] else "was started with other images or another model than rank 0")


def _is_there(out, arguments):
    return os.path.exists(out) and os.path.exists(text_path(out)) and read_json(_json_path(out)) == arguments


def _check_free(out, may_replace):
    if not out.endswith(".npy"):
        raise InputError(f"{out}: the name has to end in .npy")
    parent = os.path.dirname(os.path.abspath(out))
    if not os.path.isdir(parent):
        raise InputError(f"{out}: there is no folder {parent}")
    for path in (out, text_path(out), _json_path(out)):
        if os.path.exists(path) and not may_replace:
            raise InputError(f"{path} exists, of other images or another model: --overwrite replaces it")


def _compute(source, embedder, unfinished, blocks, comm, flip):
    """This rank's share of the blocks. After each the ranks agree, so that all end soon after one that cannot go on."""
    own = blocks[comm.rank :: comm.world_size]
    size = embedder.batch_size
    parts = [range(start, min(start + size, rows.stop)) for rows in own for start in range(rows.start, rows.stop, size)]
    workers = max(1, usable_cores() // comm.local_size)
    function = embedder.embed_with_mirror if flip else embedder.embed
    with contextlib.closing(read_ahead(source.read, parts, workers)) as batches:
        for index in range(-(-len(blocks) // comm.world_size)):
            with comm.together():
                if index < len(own):
                    rows = own[index]
                    features = [_checked(source, *next(batches), function) for _ in range(rows.start, rows.stop, size)]
                    unfinished.write(rows, np.concatenate(features))


def _checked(source, part, images, function):
    features = function(images)
    check_finite(features, lambda place: source.lines[part[place]])
    return features


def _publish(unfinished, out, lines, arguments):
    if os.path.exists(out):
        os.remove(out)  # never beside files that tell of another
    write_lines(text_path(out), lines)
    write_json(_json_path(out), arguments)
    unfinished.move_to(out)
