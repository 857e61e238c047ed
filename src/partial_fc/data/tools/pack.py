"""Folders of images, one for each identity, to record files and verification sets."""

import contextlib
import logging
import os
from typing import List, NamedTuple, Tuple

from ...distributed.lock import LOCK, Lock
from ...errors import InputError
from ...lists.names import check_path
from ...output.printable import has_controls
from ..images.align import Landmarks
from ..images.folder import ImageFolder
from ..parallel import ordered_map
from ..records.data_set import NAMES, write_notes, write_reasons
from ..records.record_file import PROPERTY, RecordFile
from ..verification_set import save_verification_set, verification_file
from .pack_state import UnfinishedPack, may_replace
from .pairs import check_enough_pairs, draw_pairs, read_pairs

log = logging.getLogger("partial_fc")

MIN_SIZE = 16
_VERSION = 1  # of what is written; to be raised where a run must not go on from what an older program wrote


class Packed(NamedTuple):
    """What a record file that was packed holds, and what was left out.

    `num_images`, `identities` (folder names by label); (path, reason) of what was `skipped`: of files, and of
    `num_left_out` identities.
    """

    num_images: int
    identities: List[str]
    skipped: List[Tuple[str, str]]
    num_left_out: int


def pack(
    folder,
    out,
    size=112,
    pairs=None,
    random_pairs=0,
    name=None,
    seed=0,
    overwrite=False,
    min_images=1,
    landmarks=None,
    num_workers=1,
    progress=iter,
):
    """Write `train.rec`, `train.idx`, `property` and `identities.txt` of the images in `folder`, in InsightFace's form.

    Identities and their images are in natural order; labels count the identities that are stored. What cannot be read
    is listed in `skipped.txt`, each line a path in `folder` and the reason. The images of a few identities for each
    thread are in memory at a time.

    A run that was broken off, be it by a full disk, goes on where it stopped when it is started again with the same
    arguments: until all is done, everything is in `out/.pack`. Images that were changed, added or removed in folders
    done by then are not noticed: `overwrite` starts anew.

    Args:
        folder: has one sub-folder for each identity.
        out: folder of the files, made where missing.
        size: height and width of the images; see `fit_image` for those of another size.
        pairs: path of a list of pairs, see `read_pairs`, to be written as verification set `NAME.bin`.
        random_pairs: number of pairs of the same and as many of different identities to draw from the images packed.
        name: NAME; by default that of the pairs file, or of `folder` for random pairs.
        seed: of the random pairs.
        overwrite: whether files of an earlier run may be replaced. A run started with it continues without it.
        min_images: identities of which fewer can be read are left out.
        landmarks: path of a file of points to align the faces by, see `Landmarks`; an image without is skipped.
        num_workers: threads that read and decode. The files do not depend on it.
        progress: wraps the iteration over identities still to do, to show how far it is.

    Returns:
        Packed.

    Raises:
        InputError: wrong arguments or pairs, a folder that is not as above, files that exist, no readable image;
            another program writes to `out`. Nothing gets its final name then.
        OSError: naming the file, if one cannot be written.
    """
    if size < MIN_SIZE:
        raise InputError(f"--size {size}: at least {MIN_SIZE} pixels")
    points = Landmarks(landmarks) if landmarks else None
    source = ImageFolder(folder, size, points)
    _make_output(folder, out)
    verification_set = _verification_name(folder, pairs, name) if pairs or random_pairs else None
    arguments = {
        "version": _VERSION,
        "folder": os.path.realpath(folder),
        "size": size,
        "min_images": min_images,
        "landmarks": points and points.digest,
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(Lock(os.path.join(out, LOCK)))
        _check_free(out, ["train.rec", verification_set], overwrite)
        listed_pairs = _pairs_of_file(pairs, source) if pairs else None
        unfinished = stack.enter_context(UnfinishedPack(out, arguments, source.people, overwrite))
        _pack_people(unfinished, source, min_images, num_workers, progress)
        packed, counts = _summary(unfinished.done, source.others)
        try:
            _check_packed(folder, packed, counts, min_images, random_pairs)
        except InputError:
            unfinished.remove()  # the images must change, which the next run would not notice
            _write_skipped(out, packed.skipped)
            raise
        records = unfinished.finish()
        if random_pairs:
            listed_pairs = _pairs_of_records(records, counts, random_pairs, seed)
        _publish(unfinished, out, packed, size, verification_set, listed_pairs)
    return packed


def _pack_people(unfinished, source, min_images, num_workers, progress):
    """Pack the identities that are not done yet."""
    done, people = len(unfinished.done), source.people
    if done:
        log.info("going on with %s: %d of %d identities are there already", unfinished.folder, done, len(people))
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
    """Packed, and the number of images of each identity that is stored."""
    stored = [each for each in done if each.num_images]
    counts = [each.num_images for each in stored]
    skipped = others + [tuple(pair) for each in done for pair in each.skipped]
    return Packed(sum(counts), [each.name for each in stored], skipped, len(done) - len(stored)), counts


def _check_packed(folder, packed, counts, min_images, random_pairs):
    """Raise InputError unless there are images, and enough of them for the pairs."""
    if not packed.identities:
        path, reason = packed.skipped[0]
        what = "readable image" if min_images <= 1 else f"identity of {min_images} readable images"
        raise InputError(f"{folder}: not one {what}, see skipped.txt; the first is {path}: {reason}")
    check_enough_pairs(counts, random_pairs)


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
    name = name or default
    if os.path.basename(check_path(name, "--name")) != name or has_controls(name):
        raise InputError(f"--name {name}: expected a name without folders")
    return verification_file(name)


def _check_free(out, names, overwrite):
    if overwrite or may_replace(out):
        return
    for name in filter(None, names):
        if os.path.exists(os.path.join(out, name)):
            raise InputError(f"{os.path.join(out, name)} exists: --overwrite replaces it")


def _make_output(folder, out):
    inside = os.path.realpath(folder)
    if os.path.commonpath([inside, os.path.realpath(out)]) == inside:
        raise InputError(f"{out} is inside {folder}, where every folder is an identity: choose another")
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made: {error.strerror}") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"{out}: not writable")


def _pairs_of_file(path, source):
    """Encoded images and issame of the pairs in a file."""
    images, encoded, issame = [], {}, []
    for line, names, same in read_pairs(path, source.path):
        for image in names:
            try:
                if image not in encoded:
                    encoded[image] = source.read(os.path.relpath(image, source.path))
            except (InputError, OSError) as error:
                raise InputError(f"{path}, line {line}: {image}: {error}") from error
            images.append(encoded[image])
        issame.append(same)
    return images, issame


def _pairs_of_records(path, counts, random_pairs, seed):
    """Encoded images and issame of pairs drawn from a record file with `counts` images of the identities."""
    records = RecordFile(path)
    pairs, issame = draw_pairs(counts, random_pairs, seed)
    return [records.read(records.keys[image])[0] for pair in pairs for image in pair], issame


def _write_skipped(folder, skipped):
    path = os.path.join(folder, "skipped.txt")
    if skipped:
        write_reasons(path, skipped)
    elif os.path.exists(path):  # of an earlier run
        os.remove(path)
