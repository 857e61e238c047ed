"""Folders of images, one for each identity, to record files and verification sets."""

import os
import re
from typing import List, NamedTuple, Tuple

import cv2
import numpy as np

from ..errors import InputError
from ..files import atomic_path
from .image import encode_jpeg
from .pairs import check_enough_pairs, draw_pairs, read_pairs
from .record_writer import write_records
from .records import RecordFile
from .verification_set import save_verification_set

MIN_SIZE = 16
_JPEG_START = b"\xff\xd8\xff"
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2")


class Packed(NamedTuple):
    """`num_images` and `identities` (folder names by label) of a record file; (path, reason) of what was `skipped`."""

    num_images: int
    identities: List[str]
    skipped: List[Tuple[str, str]]


def pack(folder, out, size=112, pairs=None, random_pairs=0, name=None, seed=0, overwrite=False, progress=iter):
    """Write `train.rec`, `train.idx`, `property` and `identities.txt` of the images in `folder`, in InsightFace's form.

    Identities and their images are in natural order; labels count the identities of which an image can be read. What
    cannot be read is listed in `skipped.txt`, each line a path in `folder` and the reason. The images of one identity
    are in memory at a time.

    Args:
        folder: has one sub-folder for each identity.
        out: folder of the files, made where missing.
        size: height and width of the images; see `fit_image` for those of another size.
        pairs: path of a file of pairs in LFW's form, to be written as verification set `NAME.bin`.
        random_pairs: number of pairs of the same and as many of different identities to draw from the images packed.
        name: NAME; by default that of the pairs file, or of `folder` for random pairs.
        seed: of the random pairs.
        overwrite: whether files of an earlier run may be replaced.
        progress: wraps the iteration over identities, to show how far it is.

    Returns:
        Packed.

    Raises:
        InputError: wrong arguments or pairs, a folder that is not as above, files that exist, no readable image.
    """
    if size < MIN_SIZE:
        raise InputError(f"--size {size}: at least {MIN_SIZE} pixels")
    people, skipped = _identity_folders(folder)
    _make_output(folder, out)
    record_file, verification_set = os.path.join(out, "train.rec"), _verification_path(folder, out, pairs, name)
    for path in [record_file, verification_set] if pairs or random_pairs else [record_file]:
        if os.path.exists(path) and not overwrite:
            raise InputError(f"{path} exists: --overwrite replaces it")
    if pairs:
        save_verification_set(verification_set, *_pairs_of_file(pairs, folder, size))
    names, counts = [], []

    def identities():
        for person in progress(people):
            images = _images_of(folder, person, size, skipped)
            if images:
                names.append(person)
                counts.append(len(images))
                yield images
        _write_skipped(out, skipped)
        if not names:
            path, reason = skipped[0]
            raise InputError(f"{folder}: not one readable image, see skipped.txt; the first is {path}: {reason}")
        check_enough_pairs(counts, random_pairs)  # here, nothing has its final name yet

    num_images = write_records(record_file, identities())
    _write_lines(os.path.join(out, "property"), [f"{len(names)},{size},{size}"])
    _write_lines(os.path.join(out, "identities.txt"), names)
    if random_pairs:
        save_verification_set(verification_set, *_pairs_of_records(record_file, counts, random_pairs, seed))
    return Packed(num_images, names, skipped)


def natural_key(name):
    """Key that sorts names as people do, numbers by their value: `a2` before `a10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)], name


def fit_image(content, size):
    """The image in `content` (bytes) as a JPEG of size x size pixels.

    A JPEG of that size stays as it is, byte for byte. From others the largest square in the middle is cut, resized
    and encoded at quality 95.

    Raises:
        InputError: OpenCV cannot decode it.
    """
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"cannot be decoded: {error.err}") from error
    if bgr is None:
        raise InputError("damaged, or not an image OpenCV can decode")
    height, width = bgr.shape[:2]
    if content.startswith(_JPEG_START) and (height, width) == (size, size):
        return content
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = bgr[top : top + side, left : left + side]
    if side != size:
        # Averaging over areas keeps fine texture from turning into patterns; it would draw squares when enlarging.
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)
    return encode_jpeg(cv2.cvtColor(square, cv2.COLOR_BGR2RGB))


def _identity_folders(folder):
    """Names of the sub-folders in natural order; (name, reason) of what else is there."""
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder")
    names = _listing(folder)
    people = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    others = [name for name in names if name not in set(people)]
    loose = [name for name in others if name.lower().endswith(_IMAGE_ENDINGS)]
    if loose:
        raise InputError(f"{folder}: image {loose[0]} lies here; expected one sub-folder for each identity")
    if not people:
        raise InputError(f"{folder}: no sub-folders; expected one for each identity, with its images")
    return people, [(name, "not in the folder of an identity") for name in others]


def _listing(folder):
    """Names in a folder in natural order, without hidden ones."""
    return sorted((name for name in os.listdir(folder) if not name.startswith(".")), key=natural_key)


def _images_of(folder, person, size, skipped):
    """JPEG bytes of the readable images of one identity; adds the others, or the identity, to `skipped`."""
    images = []
    try:
        names = _listing(os.path.join(folder, person))
    except OSError as error:
        skipped.append((person, error.strerror))
        return images
    for name in names:
        path = os.path.join(person, name)
        try:
            with open(os.path.join(folder, path), "rb") as file:
                images.append(fit_image(file.read(), size))
        except OSError as error:
            skipped.append((path, error.strerror))
        except InputError as error:
            skipped.append((path, str(error)))
    if not images:
        skipped.append((person, "no readable image of this identity"))
    return images


def _verification_path(folder, out, pairs, name):
    default = os.path.splitext(os.path.basename(pairs))[0] if pairs else os.path.basename(os.path.abspath(folder))
    name = name or default
    if os.path.basename(name) != name:
        raise InputError(f"--name {name}: expected a name without folders")
    return os.path.join(out, f"{name}.bin")


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


def _pairs_of_file(path, folder, size):
    """Encoded images and issame of the pairs in a file."""
    images, encoded, issame = [], {}, []
    for line, names, same in read_pairs(path, folder):
        for image in names:
            try:
                if image not in encoded:
                    with open(image, "rb") as file:
                        encoded[image] = fit_image(file.read(), size)
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


def _write_skipped(out, skipped):
    path = os.path.join(out, "skipped.txt")
    if skipped:
        _write_lines(path, [f"{name}\t{reason}" for name, reason in skipped])
    elif os.path.exists(path):  # of an earlier run
        os.remove(path)


def _write_lines(path, lines):
    # surrogateescape: names of files need not be UTF-8
    with atomic_path(path) as unfinished, open(unfinished, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(f"{line}\n" for line in lines)
