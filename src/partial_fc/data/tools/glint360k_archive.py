"""The archive of Glint360K as downloaded: a tar file, plain or compressed, in parts."""

import contextlib
import glob
import hashlib
import io
import logging
import os
import re
import shutil
import tarfile
import zlib
from typing import Dict, Iterator, List, Optional, Sequence

from ...errors import InputError
from ...files import open_named, refuse_pointer, sync
from ...lists.names import new_path
from ..progress import Advance, ByteProgress
from .glint360k_releases import Release

log = logging.getLogger("partial_fc")

_BLOCK = 2**22
_FOLDER = "glint360k"
_UNFINISHED = ".unpacking"  # ending of the temporary names
_GZIP = b"\x1f\x8b"
_NAMES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_LONGEST_NAMES = 2**20
# Images in records hardly shrink: files of more than _MOST_TIMES the size of the archive and _MORE bytes are an attack.
_MOST_TIMES, _MORE = 16, 2**30
_PART = re.compile(
    rf"(?P<name>{_FOLDER}(\.tgz|\.gz|\.tar(\.gz)?)?)(?P<mark>[._-]?(part)?[._-]?)(?P<number>[0-9]{{1,4}}|[a-z]{{2}})?"
)
_PUBLISHED = re.compile(f"{_FOLDER}_?[0-9]{{2}}")
_MEMBER = re.compile(rf"(\./)?({_FOLDER}/)?(train\.(rec|idx|lst)|property|[A-Za-z0-9_-]+\.bin)")
WHERE = (
    "InsightFace's page of recognition/partial_fc has the download links; or use "
    "magnet:?xt=urn:btih:E5F46EE502B9E76DA8CC3A0E4F7C17E4000C7B1E&dn=glint360k"
)


def find_parts(folder: str, count: int) -> List[str]:
    """Paths of the parts of the archive in order, whatever program has split it; empty if there is none.

    Args:
        folder: to search.
        count: number of parts that were published.

    Raises:
        InputError: a part is missing, or there are parts of several archives.
    """
    names = sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
    matches = [match for match in map(_PART.fullmatch, names) if match]
    names = [match.string for match in matches]
    if len({(match["name"], match["mark"], len(match["number"] or "")) for match in matches}) > 1:
        raise InputError(f"{folder}: {', '.join(names)} are parts of different archives: leave those of one there")
    if matches and matches[0]["number"]:
        numbers = [_number(match["number"]) for match in matches]
        published = bool(_PUBLISHED.fullmatch(names[0]))
        first = 0 if published or not names[0][-1].isdigit() else min(numbers[0], 1)
        missing = sorted(set(range(first, max(numbers[-1], count - 1 if published else 0) + 1)) - set(numbers))
        if missing:
            name = names[0][: matches[0].start("number")] + _text(missing[0], matches[0]["number"])
            raise InputError(f"{folder}: part {name} of the archive is missing: download it; {WHERE}")
    return [os.path.join(folder, name) for name in names]


@contextlib.contextmanager
def unpack_parts(
    folder: str, parts: Sequence[str], releases: Sequence[Release], progress: ByteProgress
) -> Iterator["Unpacked"]:
    """Context that unpacks the files of a data set under temporary names, and removes those not published in it.

    Parts are read as one stream, once, and not joined on the disk. Nothing is written outside of `folder`, and only
    members with the names of files of a data set are. Unfinished files of a run that was killed are removed first: the
    caller holds the lock of the folder.

    Args:
        folder: to unpack to.
        parts: paths of the parts in order.
        releases: known releases.
        progress: see `ByteProgress`.

    Raises:
        InputError: a part is damaged; a member would leave the folder or is not a file; there is too little space.
    """
    for path in parts:
        refuse_pointer(path)
    _remove_unfinished(folder)
    total = sum(map(os.path.getsize, parts))
    if shutil.disk_usage(folder).free < total:
        raise InputError(f"{folder}: the archive of {total / 1e9:.1f} GB needs at least as much free space")
    unpacked = Unpacked(folder)
    try:
        with progress(total, "unpacking") as advance, contextlib.closing(_Joined(parts, advance)) as raw:
            try:
                with _open_tar(parts, raw) as archive:
                    for member in _within(archive, _MOST_TIMES * total + _MORE):
                        unpacked.add(archive, member)
            except (tarfile.TarError, EOFError, zlib.error) as error:
                suspects = _suspects(parts, raw.sums, releases)
                raise InputError(f"{raw.at}: this part, or one before it, is damaged: {error}{suspects}") from error
            for _ in iter(lambda: raw.read(_BLOCK), b""):  # the rest, for the MD5 sums
                pass
            unpacked.suspects = _suspects(parts, raw.sums, releases)
        yield unpacked
    finally:
        unpacked.remove()


def _remove_unfinished(folder):
    for place in (folder, os.path.join(folder, _FOLDER)):
        for path in glob.glob(os.path.join(glob.escape(place), f".*{_UNFINISHED}")):
            os.remove(path)


def _open_tar(parts, raw):
    """The tar archive in a stream, plain or gzip; xz, which can need gigabytes of memory, is not supported."""
    start = b""
    for path in parts:
        with open(path, "rb") as file:
            start += file.read(len(_GZIP))
    mode = "r|gz" if start.startswith(_GZIP) else "r|"
    return tarfile.open(fileobj=io.BufferedReader(raw, _BLOCK), mode=mode, tarinfo=_Header)


class _Header(tarfile.TarInfo):
    """A header with a limit on the length of names, which tarfile does not have."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        """The header in a block; raises tarfile.TarError for names of more than `_LONGEST_NAMES` bytes."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or header.type in _NAMES and header.size > _LONGEST_NAMES:
            raise tarfile.TarError(f"a header is said to have {header.size:,} bytes")
        return header


def _within(archive, most):
    """Yield the members of an archive; raises TarError if they have more than `most` bytes in total."""
    total = 0
    for member in archive:
        total += max(member.size, 0)
        if total > most or member.size < 0:
            raise tarfile.TarError(f"its files are said to have more than {most / 1e9:.0f} GB")
        yield member


class Unpacked:
    """Files of the archive under temporary names.

    Attributes:
        sums: MD5 sums by final path.
        suspects: names the parts of the archive with a wrong MD5 sum, to end an error message; or empty.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self.suspects = folder, ""
        self.sums: Dict[str, str] = {}
        self._unfinished: Dict[str, str] = {}  # path by final path

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Write a member, if it belongs to a data set.

        Raises:
            InputError: it is not a file or folder, its path leads out of the folder, or there is too little space.
        """
        if not (member.isfile() or member.isdir()):
            raise InputError(f"{self._folder}: the archive's member {member.name!r} is not a plain file: not unpacked")
        target = os.path.normpath(new_path(self._folder, member.name))
        if member.isdir() or os.path.isfile(target) and os.path.getsize(target) == member.size:
            return
        if not _MEMBER.fullmatch(member.name):
            log.warning(
                "%s: skipping %r of the archive, which does not belong to a data set", self._folder, member.name
            )
            return
        if shutil.disk_usage(self._folder).free < member.size:
            raise InputError(f"{self._folder}: too little free space for {member.name}, {member.size / 1e9:.1f} GB")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        self._unfinished[target] = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}{_UNFINISHED}")
        content = archive.extractfile(member)
        assert content is not None  # as it is a file
        self.sums[target] = _copy(content, self._unfinished[target])

    def publish(self) -> None:
        """Give the files their final names."""
        for target, path in self._unfinished.items():
            os.replace(path, target)

    def remove(self) -> None:
        """Remove the files that have no final names."""
        for path in self._unfinished.values():
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


def _suspects(parts, sums, releases):
    """Text that names the parts with a wrong MD5 sum, by the release that most parts agree with."""
    agreeing = {release: [own == known for own, known in zip(sums, release.parts)] for release in releases}
    release = max(agreeing, key=lambda release: sum(agreeing[release]))
    if not any(agreeing[release]):  # split by someone else, who published no sums
        return ""
    wrong = [os.path.basename(path) for path, right in zip(parts, agreeing[release]) if not right]
    return f"; {', '.join(wrong)}: md5 not that of the {release.name}: download again" if wrong else ""


def _copy(source, path):
    """Write the content of a binary file to `path`; returns its MD5 sum."""
    digest = hashlib.md5()
    with open_named(path, "wb") as file:
        for block in iter(lambda: source.read(_BLOCK), b""):
            file.write(block)
            digest.update(block)
    sync(path)
    return digest.hexdigest()


def _number(text):
    """01 is 1, ab is 1."""
    return int(text) if text.isdigit() else 26 * (ord(text[0]) - ord("a")) + ord(text[1]) - ord("a")


def _text(number, like):
    """The inverse of `_number`, in the form of `like`."""
    return f"{number:0{len(like)}d}" if like.isdigit() else "".join(chr(ord("a") + each) for each in divmod(number, 26))


class _Joined(io.RawIOBase):
    """Files one after the other as one stream, with the MD5 sum of each that was read to its end."""

    def __init__(self, paths: Sequence[str], advance: Advance) -> None:
        self.paths, self._advance = paths, advance
        self._file: Optional[io.BufferedReader] = None
        self._digest = hashlib.md5()
        self.sums: List[str] = []

    def readable(self):
        return True

    @property
    def at(self) -> str:
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
            self._file.close()
            self._file = None
            self.sums.append(self._digest.hexdigest())
        return 0

    def close(self):
        if self._file is not None:
            self._file.close()
        super().close()
