"""Packing folders of images, one per identity, to record files and verification sets."""

import contextlib
import logging
import os
from typing import Dict, List, NamedTuple, Optional, Tuple

from ...distributed.lock import LOCK, Lock
from ...errors import InputError
from ...lists.names import check_path
from ...output.printable import has_controls
from ..images.align import Landmarks
from ..images.folder import ImageFolder
from ..parallel import ordered_map
from ..progress import Progress
from ..records.data_set import NAMES, write_notes, write_reasons
from ..records.record_file import PROPERTY, RecordFile
from ..verification_set import save_verification_set, verification_file
from .pack_state import UnfinishedPack, may_replace
from .pairs import check_enough_pairs, draw_pairs, read_pairs

log = logging.getLogger("partial_fc")

MIN_SIZE = 16
_VERSION = 1  # of the files written; to increase when a run must not continue one of an older program


class Packed(NamedTuple):
    """What was packed, and what was skipped.

    Attributes:
        num_images: stored.
        identities: folder names by label.
        skipped: (path, reason) of each file and identity that was skipped.
        num_left_out: number of identities that were skipped.
    """

    num_images: int
    identities: List[str]
    skipped: List[Tuple[str, str]]
    num_left_out: int


def pack(
    folder: str,
    out: str,
    size: int = 112,
    pairs: Optional[str] = None,
    random_pairs: int = 0,
    name: Optional[str] = None,
    seed: int = 0,
    overwrite: bool = False,
    min_images: int = 1,
    landmarks: Optional[str] = None,
    num_workers: int = 1,
    progress: Progress = iter,
) -> Packed:
    """Write `train.rec`, `train.idx`, `property` and `identities.txt` of the images in `folder`, in InsightFace's form.

    Identities and their images are in natural order; labels count the identities that are stored. Unreadable files are
    listed in `skipped.txt`, one line each with the path in `folder` and the reason. The images of a few identities per
    thread are in memory at a time.

    An interrupted run, also one that ended because the disk was full, continues when it is started again with the same
    arguments: until everything is done, all files are in `out/.pack`. Changes in folders packed before are not noticed:
    `overwrite` starts anew.

    Args:
        folder: has one subfolder of images per identity.
        out: folder of the files, made where missing.
        size: height and width of the images, in pixels; see `fit_image` for images of another size.
        pairs: path of a list of pairs, see `read_pairs`, to write as verification set `NAME.bin`.
        random_pairs: number of pairs of the same, and as many of different identities to draw from the packed images.
        name: NAME; by default that of the list of pairs, or of `folder` for random pairs.
        seed: of the random pairs.
        overwrite: whether files of an earlier run may be replaced. A run started with it continues without it.
        min_images: identities with fewer readable images are skipped.
        landmarks: path of a file of points to align the faces by, see `Landmarks`; images not listed there are skipped.
        num_workers: threads that read and decode. The files do not depend on it.
        progress: wraps the iteration over the identities left to do.

    Raises:
        InputError: arguments or pairs are wrong, `folder` is not as above, files exist, no image is readable, another
            program is writing to `out`. No file gets its final name then.
        OSError: a file cannot be written; the error names it.
    """
    if size < MIN_SIZE:
        raise InputError(f"--size {size}: at least {MIN_SIZE} pixels")
    points = Landmarks(landmarks) if landmarks else None
    source = ImageFolder(folder, size, points)
    _make_output(folder, out)
    verification_set = _verification_name(folder, pairs, name) if pairs or random_pairs else None
    arguments = _arguments(folder, size, min_images, points)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Lock(os.path.join(out, LOCK)))
        _check_free(out, ["train.rec", verification_set], overwrite)
        listed_pairs = _pairs_of_file(pairs, source) if pairs else None
        unfinished = stack.enter_context(UnfinishedPack(out, arguments, source.people, overwrite))
        _pack_people(unfinished, source, min_images, num_workers, progress)
        packed, counts = _summary(unfinished.done, source.others)
        _check_packed(unfinished, source, packed, counts, min_images, random_pairs, out)
        records = unfinished.finish()
        if random_pairs:
            listed_pairs = _pairs_of_records(records, counts, random_pairs, seed)
        _publish(unfinished, out, packed, size, verification_set, listed_pairs)
    return packed


def _arguments(folder, size, min_images, points):
    """All that decides what is written, to recognize an unfinished run."""
    return {
        "version": _VERSION,
        "folder": os.path.realpath(folder),
        "size": size,
        "min_images": min_images,
        "landmarks": points and points.digest,
    }


def _pack_people(unfinished, source, min_images, num_workers, progress):
    """Pack the identities that are not done yet."""
    done, people = len(unfinished.done), source.people
    if done:
        log.info("continuing %s: %d of %d identities are done", unfinished.folder, done, len(people))
    results = ordered_map(source.images_of, people[done:], num_workers)
    with contextlib.closing(results):
        for person, (images, skipped) in zip(progress(people[done:]), results):
            if not images:
                skipped.append([person, "no readable image of this identity"])
            elif len(images) < min_images:
                count = f"{len(images)} image{'s' * (len(images) > 1)}"
                skipped.append([person, f"{count}, fewer than --min-images {min_images}"])
                images = []
            unfinished.add(person, images, skipped)


def _summary(done, others):
    """Packed, and the number of images of each stored identity."""
    stored = [each for each in done if each.num_images]
    counts = [each.num_images for each in stored]
    skipped = others + [tuple(pair) for each in done for pair in each.skipped]
    return Packed(sum(counts), [each.name for each in stored], skipped, len(done) - len(stored)), counts


def _check_packed(unfinished, source, packed, counts, min_images, random_pairs, out):
    """Raise InputError unless there are images, and enough of them for the pairs."""
    try:
        if not packed.identities:
            path, reason = packed.skipped[0]
            what = "readable image" if min_images <= 1 else f"identity with {min_images} readable images"
            raise InputError(f"{source.path}: no {what}, see skipped.txt; the first of them is {path}: {reason}")
        check_enough_pairs(counts, random_pairs)
    except InputError:
        unfinished.remove()  # the user must change images, which the next run would not notice
        _write_skipped(out, packed.skipped)
        raise


def _publish(unfinished, out, packed, size, verification_set, pairs):
    """Write the other files beside the records, and give all of them their final names."""
    names = [PROPERTY, NAMES]
    write_notes(unfinished.folder, len(packed.identities), (size, size), packed.identities)
    if packed.skipped:
        _write_skipped(unfinished.folder, packed.skipped)
        names.append("skipped.txt")
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(out, "skipped.txt"))  # of an earlier run
    if verification_set:
        save_verification_set(unfinished.path(verification_set), *pairs)
        names.append(verification_set)
    unfinished.publish(names)


def _verification_name(folder, pairs, name):
    default = os.path.splitext(os.path.basename(pairs))[0] if pairs else os.path.basename(os.path.abspath(folder))
    chosen = name or default
    if os.path.basename(check_path(chosen, "--name")) != chosen or has_controls(chosen):
        raise InputError(f"--name {chosen}: expected a name without folders")
    return verification_file(chosen)


def _check_free(out: str, names: List[Optional[str]], overwrite: bool) -> None:
    if overwrite or may_replace(out):
        return
    for name in names:
        if name and os.path.exists(os.path.join(out, name)):
            raise InputError(f"{os.path.join(out, name)} exists: --overwrite replaces it")


def _make_output(folder, out):
    inside = os.path.realpath(folder)
    if os.path.commonpath([inside, os.path.realpath(out)]) == inside:
        raise InputError(f"{out} is inside {folder}, where every folder is an identity: choose another folder")
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made: {error.strerror}") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"{out}: not writable")


def _pairs_of_file(path, source):
    """Encoded images and issame of the pairs in a file."""
    images: List[bytes] = []
    encoded: Dict[str, bytes] = {}
    issame: List[bool] = []
    for line, paths, same in read_pairs(path, source.path):
        for image in paths:
            try:
                if image not in encoded:
                    encoded[image] = source.read(os.path.relpath(image, source.path))
            except (InputError, OSError) as error:
                raise InputError(f"{path}, line {line}: {image}: {error}") from error
            images.append(encoded[image])
        issame.append(same)
    return images, issame


def _pairs_of_records(path, counts, random_pairs, seed):
    """Encoded images and issame of pairs drawn from a record file with `counts` images per identity."""
    records = RecordFile(path)
    pairs, issame = draw_pairs(counts, random_pairs, seed)
    return [records.read(records.keys[image])[0] for pair in pairs for image in pair], issame


def _write_skipped(folder, skipped):
    path = os.path.join(folder, "skipped.txt")
    if skipped:
        write_reasons(path, skipped)
    elif os.path.exists(path):  # of an earlier run
        os.remove(path)
