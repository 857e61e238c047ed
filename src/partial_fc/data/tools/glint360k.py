"""Glint360K as downloaded: which release it is, whether it is complete, and unpacking its archive."""

import hashlib
import os
from typing import NamedTuple, Sequence

from ...distributed.lock import LOCK, Lock
from ...errors import InputError
from ...files import file_digest, refuse_pointer
from ..progress import ByteProgress
from .glint360k_archive import WHERE, find_parts, unpack_parts
from .glint360k_releases import RELEASES, Release

_REC, _INDEX = "train.rec", "train.idx"


class Found(NamedTuple):
    """Folder with train.rec and train.idx, and the release that they belong to."""

    folder: str
    release: Release


def prepare(folder: str, progress: ByteProgress, releases: Sequence[Release] = RELEASES) -> Found:
    """Find train.rec and train.idx in `folder`, or unpack them from the parts of the archive, and check them.

    Unpacked files get their names only if their MD5 sums are those of a release. Files that exist with the right size
    are not written again.

    Args:
        folder: has train.rec and train.idx, itself or in its folder glint360k, or the parts `glint360k*`.
        progress: see `ByteProgress`.
        releases: known releases.

    Raises:
        InputError: there are neither; a part is missing or damaged; a member of the archive would leave the folder or
            is not a file; there is too little space; MD5 sums belong to no release; another program is working there.
    """
    folder = os.path.normpath(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder")
    found = _records(folder)
    if found is not None:
        return Found(found, _release(found, progress, releases))
    parts = find_parts(folder, len(releases[0].parts))
    if not parts:
        raise InputError(f"{folder}: neither train.rec with train.idx nor parts glint360k* of the archive; {WHERE}")
    with Lock(os.path.join(folder, LOCK)), unpack_parts(folder, parts, releases, progress) as unpacked:
        found = _records(folder, unpacked.sums)
        if found is None:
            raise InputError(f"{folder}: the archive holds no train.rec with train.idx")
        try:
            release = _release(found, progress, releases, unpacked.sums)
        except InputError as error:
            raise InputError(f"{error}{unpacked.suspects}") from error
        unpacked.publish()
    return Found(found, release)


def _records(folder, unpacked=()):
    """The folder of train.rec and train.idx, existing or among the paths `unpacked`; None if there is none."""
    for place in (folder, os.path.join(folder, "glint360k")):
        paths = [os.path.join(place, name) for name in (_REC, _INDEX)]
        if all(path in unpacked or os.path.isfile(path) for path in paths):
            return place
    return None


def _release(folder, progress, releases, sums=()):
    """The release of the files in a folder, by their MD5 sums, of which `sums` holds known ones by path."""
    index, rec = os.path.join(folder, _INDEX), os.path.join(folder, _REC)
    index_sum = sums[index] if index in sums else _md5(index, progress)
    release = next((release for release in releases if release.idx == index_sum), None)
    if release is None:
        known = ", ".join(f"{release.idx} ({release.name})" for release in releases)
        raise InputError(f"{index}: md5 {index_sum} is not that of a release, {known}: damaged, or another data set")
    rec_sum = sums[rec] if rec in sums else _md5(rec, progress)
    if rec_sum != release.rec:
        raise InputError(
            f"{rec}: md5 {rec_sum}, but train.idx is from the {release.name}, whose train.rec has {release.rec}: "
            "damaged: unpack or download it again"
        )
    return release


def _md5(path, progress):
    refuse_pointer(path)
    with progress(os.path.getsize(path), f"checking {os.path.basename(path)}") as advance:
        return file_digest(path, hashlib.md5(), advance)
