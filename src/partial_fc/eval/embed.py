"""Features of many images, computed by all ranks together."""

import contextlib
import functools
import hashlib
import logging
import os
import time

import numpy as np

from ..data.records.data_set import write_lines, write_reasons
from ..errors import InputError
from ..files import read_json, write_json
from ..limits import usable_cores
from .embedding import check_finite, read_ahead
from .unfinished_features import UnfinishedFeatures

log = logging.getLogger("partial_fc")

_NAMED = 5
_VERSION = 1  # of what is written: files of another are not taken for the same


def embed(source, embedder, out, comm, flip=False, overwrite=False, skip_bad=False, unit=False):
    """Write `OUT.npy`, (n, D) float32, of n images; `OUT.txt`, what each row is of; `OUT.json`, of which model.

    Where the files are there and were computed by the same model from the same images, nothing is done. A run that was
    killed goes on where it stopped, with any number of ranks. Ranks take blocks of images in turns; on several hosts
    they need a common folder. Memory does not grow with n, but for the names of the images.

    Where bad images are skipped, they have no row and no line in `OUT.txt`: `OUT.skipped.txt` lists them with the
    reasons. What is written does not depend on the number of ranks, nor on how often a run was started.

    Args:
        source: FileImages or RecordImages, the same on every rank.
        embedder: Embedder, of the same model on every rank.
        out: path of `OUT.npy`.
        comm: communicator.
        flip: whether to add the embeddings of the mirror images.
        overwrite: whether to compute all anew and replace files of other images or another model.
        unit: with `flip`, whether both embeddings are divided by their norms before they are added.
        skip_bad: whether to skip images that cannot be read or are of another size; else they are an error.

    Returns:
        Number of images that were computed now, by all ranks.

    Raises:
        CollectiveError: on every rank: images that cannot be read, embeddings that are not finite, files that cannot be
            written or are not to be replaced, other images or models on other ranks; not one image that can be read;
            images that an earlier run has skipped and this one is not to.
    """
    with comm.raise_on_all_ranks():
        shape = len(source.lines), embedder.embedding_size(source.size)
        arguments = {
            "version": _VERSION,
            "model": embedder.checksum,
            "flip": "unit" if flip and unit else flip,
            "images": shape[0],
            "embedding_size": shape[1],
            "image_size": list(source.size),
            "names": _digest(source.lines),
        }
    _compare(arguments, comm)
    with contextlib.closing(UnfinishedFeatures(out, shape)) as unfinished:
        there = False
        with comm.raise_on_all_ranks():
            if comm.rank == 0:
                arguments["states"] = _digest(source.states())
                there = _prepare(unfinished, out, arguments, overwrite, skip_bad)
        if any(comm.all_gather_object(there)):
            log.info("%s: these images and this model have been computed already", out)
            return 0
        start = time.perf_counter()
        with comm.raise_on_all_ranks():
            blocks = unfinished.open(comm.rank)
        _compute(source, _function(embedder, flip, unit), unfinished, blocks, comm, embedder.batch_size, skip_bad)
        with comm.raise_on_all_ranks():
            if comm.rank == 0:
                _publish(unfinished, out, source.lines, {**arguments, **embedder.settings})
    count, seconds = sum(map(len, blocks)), time.perf_counter() - start
    log.info("%s: %d x %d features; %d images now, %.0f a second", out, *shape, count, count / seconds)
    return count


def _prepare(unfinished, out, arguments, overwrite, skip_bad):
    """Lock the output and make the unfinished files; returns whether all is there already."""
    if not overwrite and _is_there(out, arguments, skip_bad):
        return True
    check_name(out)
    unfinished.lock()
    if not overwrite and _is_there(out, arguments, skip_bad):  # another run has just ended
        return True
    _check_free(out, unfinished.matches(arguments) or overwrite)
    unfinished.prepare(arguments, anew=overwrite)
    _check_none_skipped(unfinished.folder, 0 if skip_bad else len(unfinished.skipped()))
    return False


def text_path(out):
    """`OUT.txt` of `OUT.npy`."""
    return os.path.splitext(out)[0] + ".txt"


def skipped_path(out):
    """`OUT.skipped.txt` of `OUT.npy`."""
    return os.path.splitext(out)[0] + ".skipped.txt"


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


def _is_there(out, arguments, skip_bad):
    try:
        found = read_json(_json_path(out))
    except InputError:  # there is none, or it is damaged
        return False
    if not (os.path.exists(out) and os.path.exists(text_path(out)) and isinstance(found, dict)):
        return False
    if {name: found.get(name) for name in arguments} != arguments:
        return False
    _check_none_skipped(out, 0 if skip_bad else found.get("skipped", 0))
    return True


def _check_none_skipped(path, skipped):
    if skipped:
        raise InputError(
            f"{path}: an earlier run has skipped {skipped} bad images: --on-bad-image skip accepts that, --overwrite "
            "computes all anew"
        )


def check_name(out):
    """Raise InputError unless `out` ends in `.npy` and its folder is there."""
    if not out.endswith(".npy"):
        raise InputError(f"{out}: the name has to end in .npy")
    parent = os.path.dirname(os.path.abspath(out))
    if not os.path.isdir(parent):
        raise InputError(f"{out}: there is no folder {parent}")


def _check_free(out, may_replace):
    for path in (out, text_path(out), _json_path(out), skipped_path(out)):
        if os.path.exists(path) and not may_replace:
            raise InputError(f"{path} exists, of other images or another model: --overwrite replaces it")


def _function(embedder, flip, unit):
    return functools.partial(embedder.embed_with_mirror, unit=unit) if flip else embedder.embed


def _compute(source, function, unfinished, blocks, comm, size, skip_bad):
    """This rank's share of the blocks. After each the ranks agree, so that all end soon after one that cannot go on."""
    own, bad = blocks[comm.rank :: comm.world_size], {}
    parts = [range(start, min(start + size, rows.stop)) for rows in own for start in range(rows.start, rows.stop, size)]
    workers = max(1, usable_cores() // comm.local_size)
    read = _skipping(source, bad) if skip_bad else source.read
    with contextlib.closing(read_ahead(read, parts, workers)) as batches:
        for index in range(-(-len(blocks) // comm.world_size)):
            with comm.raise_on_all_ranks():
                if index < len(own):
                    rows = own[index]
                    loaded = [next(batches) for _ in range(rows.start, rows.stop, size)]
                    features = [_checked(source, part, function(images), bad) for part, images in loaded]
                    unfinished.write(rows, np.concatenate(features), {row: bad[row] for row in rows if row in bad})


def _skipping(source, bad):
    """`source.read` that notes in `bad`, by its row, why an image cannot be read, and returns a black one for it."""

    def read(row):
        try:
            return source.read(row)
        except InputError as error:
            bad[row] = str(error)
            return np.zeros((*source.size, 3), np.uint8)

    return read


def _checked(source, part, features, bad):
    features[[place for place, row in enumerate(part) if row in bad]] = 0
    check_finite(features, lambda place: source.lines[part[place]])
    return features


def _publish(unfinished, out, lines, about):
    bad = unfinished.skipped()
    if len(bad) == len(lines):
        raise InputError(f"not one of {len(bad)} images can be used; the first: {bad[0]}")
    for path in (out, skipped_path(out)):
        if os.path.exists(path):
            os.remove(path)  # never beside files of another run
    if bad:
        write_reasons(skipped_path(out), ((lines[row], reason) for row, reason in bad.items()))
        log.warning("skipped %d of %d images, see %s:", len(bad), len(lines), skipped_path(out))
        for reason in list(bad.values())[:_NAMED]:
            log.warning("  %s", reason)
    write_lines(text_path(out), [line for row, line in enumerate(lines) if row not in bad])
    write_json(_json_path(out), {**about, "skipped": len(bad)})
    unfinished.move_to(out, bad)
