"""Glint360K as it is downloaded: which release it is, whether it is whole, its records out of the archive's parts."""

import contextlib
import hashlib
import io
import os
import re
import shutil
import tarfile
import zlib
from typing import NamedTuple, Tuple

from ..errors import InputError
from ..files import atomic_path

_BLOCK = 2**22
_NAME = re.compile(r"glint360k(_?[0-9]+|\.tar(\.gz)?)$")
_WHERE = (
    "the page of InsightFace's recognition/partial_fc tells where to download it, or "
    "magnet:?xt=urn:btih:E5F46EE502B9E76DA8CC3A0E4F7C17E4000C7B1E&dn=glint360k"
)


class Release(NamedTuple):
    """`name`; md5 sums of `train.rec`, of `train.idx` and of the archive's `parts` in order, as its page has them."""

    name: str
    rec: str
    index: str
    parts: Tuple[str, ...]


RELEASES = (
    Release(
        "first release (parts glint360k00 to 06, not compressed)",
        "2a74c71c4d20e770273f103eda97e878",
        "f7a3e98d3533ac481bdf3dc03a5416e8",
        (
            "8b469dabd959b51f5ae63f1113fa9a7e", "25449911e03766bf773b12abcc5789cd", "bbd236acb4b561def6071f94b423d85e",
            "bd392b1506dddc5cead1b9de1e7b6e52", "163aec95c3e258a79df7f1cb563fd5ef", "41bbf8314e24f98405ecbad8e9c89dfd",
            "dcc2f021aa2a9463ff1b2a8021ef87b6",
        ),
    ),
    Release(
        "second release (parts glint360k_00 to 06, gzip)",
        "8483be5af6f9906e19f85dee49132f8e",
        "5d9cd9f262ec87a5ca2eac5e703f7cdf",
        (
            "cf7433cbb915ac422230ba33176f4625", "589a5ea3ab59f283d2b5dd3242bc027a", "8d54fdd5b1e4cd55e1b9a714d76d1075",
            "cd7f008579dbed9c5af4d1275915d95e", "64666b324911b47334cc824f5f836d4c", "a318e4d32493dd5be6b94dd48f9943ac",
            "c3ae1dcbecea360d2ec2a43a7b6f1d94",
        ),
    ),
)


class Found(NamedTuple):
    """`folder` of train.rec and train.idx, and the `release` they are of."""

    folder: str
    release: Release


def prepare(folder, progress, releases=RELEASES):
    """Find train.rec and train.idx in `folder`, unpack them first from the archive's parts where need be, check them.

    Parts are read as one stream, once; nothing is joined on the disk. Files that are there in full are not written
    again. Nothing is written outside of `folder`, and only files and folders are.

    Args:
        folder: has train.rec and train.idx, itself or in its folder glint360k, or the parts `glint360k*`.
        progress: function of a number of bytes and what they are (str) to a context manager that gives a function, to
            be called with the number of bytes of each step.
        releases: that are known.

    Returns:
        Found.

    Raises:
        InputError: neither is there; a part is missing or damaged; a member of the archive that would leave the folder
            or is no file; too little space; md5 sums of no release.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder")
    found = _records(folder)
    if found is None:
        _unpack(folder, _parts(folder, releases), progress, releases)
        found = _records(folder)
        if found is None:
            raise InputError(f"{folder}: the archive holds no train.rec with train.idx")
    return Found(found, _release(found, progress, releases))


def _records(folder):
    for place in (folder, os.path.join(folder, "glint360k")):
        if all(os.path.isfile(os.path.join(place, name)) for name in ("train.rec", "train.idx")):
            return place
    return None


def _parts(folder, releases):
    """Paths of the archive's parts in order."""
    names = sorted(name for name in os.listdir(folder) if _NAME.match(name))
    if not names:
        raise InputError(f"{folder}: neither train.rec with train.idx nor parts glint360k* of the archive; {_WHERE}")
    if len({len(name) for name in names}) > 1:
        raise InputError(f"{folder}: {', '.join(names)} are parts of different archives: leave those of one there")
    if names[0][-1].isdigit():
        numbers = [int(re.search("[0-9]+$", name).group()) for name in names]
        missing = sorted(set(range(max([*numbers, len(releases[0].parts) - 1]) + 1)) - set(numbers))
        if missing:
            raise InputError(f"{folder}: part {missing[0]:02d} of the archive is missing: download it, too; {_WHERE}")
    return [os.path.join(folder, name) for name in names]


def _release(folder, progress, releases):
    """The Release of the files in a folder, by their md5 sums; the small one is looked at first."""
    index, rec = os.path.join(folder, "train.idx"), os.path.join(folder, "train.rec")
    index_sum = _md5(index, progress)
    release = next((release for release in releases if release.index == index_sum), None)
    if release is None:
        known = ", ".join(f"{release.index} ({release.name})" for release in releases)
        raise InputError(f"{index}: md5 {index_sum} is of no release, {known}: damaged, or another data set")
    rec_sum = _md5(rec, progress)
    if rec_sum != release.rec:
        raise InputError(
            f"{rec}: md5 {rec_sum}, but train.idx is that of the {release.name}, whose train.rec has {release.rec}: "
            "damaged; remove it and unpack or download it again"
        )
    return release


def _md5(path, progress):
    digest = hashlib.md5()
    with open(path, "rb") as file, progress(os.path.getsize(path), f"checking {os.path.basename(path)}") as advance:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


class _Joined(io.RawIOBase):
    """Files one after the other as one stream, with the md5 sum of each that was read to its end."""

    def __init__(self, paths, advance):
        self.paths, self._advance = paths, advance
        self._file, self._digest = None, None
        self.sums = []

    def readable(self):
        return True

    @property
    def at(self):
        """Path of the file that is being read."""
        return self.paths[min(len(self.sums), len(self.paths) - 1)]

    def readinto(self, buffer):
        while len(self.sums) < len(self.paths):
            if self._file is None:
                self._file, self._digest = open(self.at, "rb"), hashlib.md5()
            count = self._file.readinto(buffer)
            if count:
                self._digest.update(memoryview(buffer)[:count])
                self._advance(count)
                return count
            self._next()
        return 0

    def _next(self):
        self._file.close()
        self._file = None
        self.sums.append(self._digest.hexdigest())

    def close(self):
        if self._file is not None:
            self._file.close()
        super().close()


def _unpack(folder, paths, progress, releases):
    total = sum(map(os.path.getsize, paths))
    if shutil.disk_usage(folder).free < total:
        raise InputError(f"{folder}: the archive of {total / 1e9:.1f} GB needs at least as much free space")
    with progress(total, "unpacking") as advance, contextlib.closing(_Joined(paths, advance)) as raw:
        try:
            with tarfile.open(fileobj=io.BufferedReader(raw, _BLOCK), mode="r|*") as archive:
                for member in archive:
                    _extract(archive, member, folder)
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise InputError(f"{raw.at}: damaged in or before this part: {error}{_suspects(raw, releases)}") from error
        for _ in iter(lambda: raw.read(_BLOCK), b""):  # to the end, for the sums
            pass
        suspects = _suspects(raw, releases)
        if suspects:
            raise InputError(f"{folder}: unpacked, but{suspects[1:]}")


def _suspects(raw, releases):
    """What to say of parts whose md5 sum is not that of their release; of the release that most parts agree with."""
    if len(raw.sums) < 2 and len(raw.paths) < 2:
        return ""  # one file, of which no sum was published
    release = max(releases, key=lambda release: sum(own == known for own, known in zip(raw.sums, release.parts)))
    wrong = [
        os.path.basename(path)
        for path, own, known in zip(raw.paths, raw.sums, release.parts)
        if own != known
    ]
    return f"; {', '.join(wrong)}: md5 not that of the {release.name}: download again" if wrong else ""


def _extract(archive, member, folder):
    """Write one member, if it is a file, below `folder`."""
    target = os.path.normpath(os.path.join(folder, member.name))
    inside = os.path.realpath(folder)
    if (
        not (member.isfile() or member.isdir())
        or os.path.isabs(member.name)
        or ".." in member.name.split("/")
        or os.path.commonpath([inside, os.path.realpath(target)]) != inside
    ):
        raise InputError(f"{folder}: the archive's member {member.name!r} is no plain file in the folder: not unpacked")
    if member.isdir():
        os.makedirs(target, exist_ok=True)
        return
    if os.path.isfile(target) and os.path.getsize(target) == member.size:
        return
    if shutil.disk_usage(folder).free < member.size:
        raise InputError(f"{folder}: too little free space for {member.name}, {member.size / 1e9:.1f} GB")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with atomic_path(target) as unfinished, open(unfinished, "wb") as file:
        shutil.copyfileobj(archive.extractfile(member), file, _BLOCK)
