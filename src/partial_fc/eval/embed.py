"""Features of many images, computed by all ranks together."""

import contextlib
import functools
import logging
import os
import time
from typing import Any, Callable, Dict, Sequence

import numpy as np

from ..checkpoint.record_features import about_path
from ..data.records.data_set import write_lines, write_reasons
from ..distributed.communicator import Communicator
from ..errors import InputError
from ..files import has_ending, lines_digest, read_json, write_json
from ..limits import usable_cores
from .embedding import Embedder, check_finite, read_ahead
from .image_source import Images
from .unfinished_features import UnfinishedFeatures

log = logging.getLogger("partial_fc")

_NAMED = 5
_VERSION = 1  # of the files: those of another version are computed again

Function = Callable[[np.ndarray], np.ndarray]


def embed(
    source: Images,
    embedder: Embedder,
    out: str,
    comm: Communicator,
    flip: bool = False,
    overwrite: bool = False,
    on_bad_image: str = "error",
    unit: bool = False,
) -> int:
    """Write `OUT.npy`, (n, D) float32, of n images; `OUT.txt`, a line per row; `OUT.json`, the model and the images.

    If these files exist and are of the same model and images, nothing is done. An interrupted run continues, with any
    number of ranks. Ranks take turns at blocks of images; on several hosts they need a common folder. Memory does not
    grow with n, except for the names of the images.

    Bad images that are skipped have no row and no line in `OUT.txt`: `OUT.skipped.txt` lists them with the reasons. The
    files do not depend on the number of ranks, nor on how often a run was interrupted.

    Args:
        source: images, the same on every rank.
        embedder: of the same model on every rank.
        out: path of `OUT.npy`.
        comm: communicator.
        flip: whether to add the embeddings of the mirror images.
        overwrite: whether to start anew and replace files of other images or another model.
        on_bad_image: `error` or `skip`, for images that cannot be read or have another size.
        unit: with `flip`, whether both embeddings are divided by their norms before they are added.

    Returns:
        Number of images that were computed now, by all ranks.

    Raises:
        CollectiveError: on every rank: images that cannot be read, embeddings that are not finite, files that cannot be
            written or must not be replaced, other images or models on other ranks; no image that can be read; images
            that an earlier run skipped, without `skip` now.
    """
    skip_bad = on_bad_image == "skip"
    with comm.raise_on_all_ranks():
        arguments = _arguments(source, embedder, flip, unit)
    _compare(arguments, comm)
    rows, size = arguments["images"], arguments["embedding_size"]
    with contextlib.closing(UnfinishedFeatures(out, (rows, size))) as unfinished:
        done = False
        with comm.raise_on_all_ranks():
            if comm.rank == 0:
                arguments["states"] = lines_digest(source.states())
                done = _prepare(unfinished, out, arguments, overwrite, skip_bad)
        if any(comm.all_gather_object(done)):
            log.info("%s: exists already, with the features of these images by this model", out)
            return 0
        start = time.perf_counter()
        with comm.raise_on_all_ranks():
            blocks = unfinished.open(comm.rank)
        _compute(source, _function(embedder, flip, unit), unfinished, blocks, comm, embedder.batch_size, skip_bad)
        with comm.raise_on_all_ranks():
            if comm.rank == 0:
                rows -= _publish(unfinished, out, source.lines, {**arguments, **embedder.settings})
    count, seconds = sum(map(len, blocks)), time.perf_counter() - start
    log.info("%s: %d x %d features; computed %d images now, %.0f images/s", out, rows, size, count, count / seconds)
    return count


def _arguments(source: Images, embedder: Embedder, flip: bool, unit: bool) -> Dict[str, Any]:
    """What the features depend on, as values for JSON, except for the content of the images."""
    return {
        "version": _VERSION,
        "model": embedder.checksum,
        "flip": "unit" if flip and unit else flip,
        "images": len(source.lines),
        "embedding_size": embedder.embedding_size(source.size),
        "image_size": list(source.size),
        "names": lines_digest(source.lines),
    }


def _prepare(
    unfinished: UnfinishedFeatures, out: str, arguments: Dict[str, Any], overwrite: bool, skip_bad: bool
) -> bool:
    """Lock the output and make the unfinished files; returns whether the final ones exist already."""
    if not overwrite and _is_done(out, arguments, skip_bad):
        return True
    check_name(out)
    unfinished.lock()
    if not overwrite and _is_done(out, arguments, skip_bad):  # another run has just ended
        return True
    _check_free(out, unfinished.matches(arguments) or overwrite)
    unfinished.prepare(arguments, anew=overwrite)
    _check_none_skipped(unfinished.folder, 0 if skip_bad else len(unfinished.skipped()))
    return False


def text_path(out: str) -> str:
    """`OUT.txt` of `OUT.npy`."""
    return os.path.splitext(out)[0] + ".txt"


def skipped_path(out: str) -> str:
    """`OUT.skipped.txt` of `OUT.npy`."""
    return os.path.splitext(out)[0] + ".skipped.txt"


def _compare(arguments: Dict[str, Any], comm: Communicator) -> None:
    others = comm.all_gather_object(arguments)
    comm.agree(None if arguments == others[0] else "was started with other images or another model than rank 0")


def _is_done(out: str, arguments: Dict[str, Any], skip_bad: bool) -> bool:
    try:
        found = read_json(about_path(out))
    except InputError:  # there is none, or it is damaged
        return False
    if not (os.path.exists(out) and os.path.exists(text_path(out)) and isinstance(found, dict)):
        return False
    if {name: found.get(name) for name in arguments} != arguments:
        return False
    _check_none_skipped(out, 0 if skip_bad else found.get("skipped", 0))
    return True


def _check_none_skipped(path: str, skipped: int) -> None:
    if skipped:
        raise InputError(
            f"{path}: an earlier run skipped {skipped} bad images: `on_bad_image` skip accepts that, `overwrite` "
            "starts anew"
        )


def check_name(out: str) -> None:
    """Raise InputError unless `out` ends in `.npy` and its folder exists."""
    if not has_ending(out, ".npy"):
        raise InputError(f"{out}: the name must end in .npy")
    parent = os.path.dirname(os.path.abspath(out))
    if not os.path.isdir(parent):
        raise InputError(f"{out}: there is no folder {parent}")


def _check_free(out: str, may_replace: bool) -> None:
    for path in (out, text_path(out), about_path(out), skipped_path(out)):
        if os.path.exists(path) and not may_replace:
            raise InputError(f"{path} exists, of other images or another model: `overwrite` replaces it")


def _function(embedder: Embedder, flip: bool, unit: bool) -> Function:
    return functools.partial(embedder.embed_with_mirror, unit=unit) if flip else embedder.embed


def _compute(
    source: Images,
    function: Function,
    unfinished: UnfinishedFeatures,
    blocks: Sequence[range],
    comm: Communicator,
    size: int,
    skip_bad: bool,
) -> None:
    """Compute this rank's share of the blocks, in batches of `size` images.

    The ranks agree after each block, so that all of them end soon after one that fails.
    """
    own = blocks[comm.rank :: comm.world_size]
    bad: Dict[int, str] = {}
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


def _skipping(source: Images, bad: Dict[int, str]) -> Callable[[int], np.ndarray]:
    """`source.read`, which returns a black image for a bad one, and puts the reason into `bad`, by row."""

    def read(row: int) -> np.ndarray:
        try:
            return source.read(row)
        except InputError as error:
            bad[row] = str(error)
            return np.zeros((*source.size, 3), np.uint8)

    return read


def _checked(source: Images, part: range, features: np.ndarray, bad: Dict[int, str]) -> np.ndarray:
    features[[place for place, row in enumerate(part) if row in bad]] = 0
    check_finite(features, source.lines.__getitem__, part.start)
    return features


def _publish(unfinished: UnfinishedFeatures, out: str, lines: Sequence[str], about: Dict[str, Any]) -> int:
    """Give all files their final names; returns how many images were skipped."""
    bad = unfinished.skipped()
    if len(bad) == len(lines):
        raise InputError(f"none of {len(bad)} images can be used; the first: {bad[0]}")
    for path in (out, skipped_path(out)):
        if os.path.exists(path):
            os.remove(path)  # must not stand beside files of another run
    if bad:
        write_reasons(skipped_path(out), ((lines[row], reason) for row, reason in bad.items()))
        log.warning("skipped %d of %d images, see %s:", len(bad), len(lines), skipped_path(out))
        for reason in list(bad.values())[:_NAMED]:
            log.warning("  %s", reason)
    write_lines(text_path(out), [line for row, line in enumerate(lines) if row not in bad])
    write_json(about_path(out), {**about, "skipped": len(bad)})
    unfinished.move_to(out, bad)
    return len(bad)
