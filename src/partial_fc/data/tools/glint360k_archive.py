"""The archive of Glint360K as it is downloaded: a tar file, plain or compressed, in parts."""

import contextlib
import hashlib
import io
import logging
import os
import re
import shutil
import tarfile
import zlib

from ...errors import InputError
from ...files import open_named, refuse_pointer, sync
from ...lists.names import new_path

log = logging.getLogger("partial_fc")

_BLOCK = 2**22
_FOLDER = "glint360k"
_GZIP = b"\x1f\x8b"
_NAMES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_LONGEST_NAMES = 2**20
# Images in records hardly shrink; an archive whose files are larger than this fills the disk for nothing.
_MOST_TIMES, _MORE = 16, 2**30
_PART = re.compile(
    rf"(?P<name>{_FOLDER}(\.tgz|\.gz|\.tar(\.gz)?)?)(?P<mark>[._-]?(part)?[._-]?)(?P<number>[0-9]{{1,4}}|[a-z]{{2}})?"
)
_PUBLISHED = re.compile(f"{_FOLDER}_?[0-9]{{2}}")
_MEMBER = re.compile(rf"(\./)?({_FOLDER}/)?(train\.(rec|idx|lst)|property|[A-Za-z0-9_-]+\.bin)")
WHERE = (
    "the page of InsightFace's recognition/partial_fc tells where to download it, or "
    "magnet:?xt=urn:btih:E5F46EE502B9E76DA8CC3A0E4F7C17E4000C7B1E&dn=glint360k"
)


def find_parts(folder, count):
    """Paths of the archive's parts in order, whatever program has cut it; empty if there is none.

    Args:
        folder: to look in.
        count: of the parts that were published.

    Raises:
        InputError: one is missing, or parts of several archives.
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
            raise InputError(f"{folder}: part {name} of the archive is missing: download it, too; {WHERE}")
    return [os.path.join(folder, name) for name in names]


@contextlib.contextmanager
def unpack_parts(folder, parts, releases, progress):
    """Unpack the records and what belongs to them under names for the time being; gives Unpacked for the block.

    Parts are read as one stream, once; nothing is joined on the disk. Nothing is written outside of `folder`, and of
    members only those whose names a data set has. What has no name of its own by the end of the block is removed.

    Args:
        folder: to unpack to.
        parts: paths.
        releases: of which `name` and the md5 sums of the `parts` are known.
        progress: see `glint360k.prepare`.

    Raises:
        InputError: a damaged part; a member that would leave the folder or is no file; too little space.
    """
    for path in parts:
        refuse_pointer(path)
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
                raise InputError(f"{raw.at}: damaged in or before this part: {error}{suspects}") from error
            for _ in iter(lambda: raw.read(_BLOCK), b""):  # to the end, for the sums
                pass
            unpacked.suspects = _suspects(parts, raw.sums, releases)
        yield unpacked
    finally:
        unpacked.remove()


def _open_tar(parts, raw):
    """The tar archive in a stream, plain or by gzip; xz can ask for gigabytes of memory, and is not read."""
    start = b""
    for path in parts:
        with open(path, "rb") as file:
            start += file.read(len(_GZIP))
    mode = "r|gz" if start.startswith(_GZIP) else "r|"
    return tarfile.open(fileobj=io.BufferedReader(raw, _BLOCK), mode=mode, tarinfo=_Header)


class _Header(tarfile.TarInfo):
    """A header whose names may not fill the memory: tarfile reads them at any length."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        """The header in a block; raises tarfile.TarError for one of more than `_LONGEST_NAMES`."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or header.type in _NAMES and header.size > _LONGEST_NAMES:
            raise tarfile.TarError(f"a header is said to have {header.size:,} bytes")
        return header


def _within(archive, most):
    """Yield the members of an archive; raises TarError where they have more than `most` bytes in all."""
    total = 0
    for member in archive:
        total += max(member.size, 0)
        if total > most or member.size < 0:
            raise tarfile.TarError(f"its files are said to have more than {most / 1e9:.0f} GB")
        yield member


class Unpacked:
    """Files of the archive that have no final names yet.

    Attributes:
        sums: md5 sums by final path.
        suspects: what to say, if they are wrong, of parts of the archive whose md5 sum is.
    """

    def __init__(self, folder):
        self._folder, self.sums, self.suspects = folder, {}, ""
        self._unfinished = {}  # path by final path

    def add(self, archive, member):
        """Write one member, if it belongs to a data set; raises InputError if it is no file or folder in the folder."""
        if not (member.isfile() or member.isdir()):
            raise InputError(f"{self._folder}: the archive's member {member.name!r} is no plain file: not unpacked")
        target = os.path.normpath(new_path(self._folder, member.name))
        if member.isdir() or os.path.isfile(target) and os.path.getsize(target) == member.size:
            return
        if not _MEMBER.fullmatch(member.name):
            log.warning("%s: %r of the archive does not belong to a data set: left out", self._folder, member.name)
            return
        if shutil.disk_usage(self._folder).free < member.size:
            raise InputError(f"{self._folder}: too little free space for {member.name}, {member.size / 1e9:.1f} GB")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        self._unfinished[target] = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.unpacking")
        self.sums[target] = _copy(archive.extractfile(member), self._unfinished[target])

    def publish(self):
        """Give the files their names."""
        for target, path in self._unfinished.items():
            os.replace(path, target)

    def remove(self):
        """Remove what has no final name."""
        for path in self._unfinished.values():
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


def _suspects(parts, sums, releases):
    """What to say of parts whose md5 sum is not that of the release that most agree with."""
    agreeing = {release: [own == known for own, known in zip(sums, release.parts)] for release in releases}
    release = max(agreeing, key=lambda release: sum(agreeing[release]))
    if not any(agreeing[release]):  # cut by someone else, who published no sums
        return ""
    wrong = [os.path.basename(path) for path, right in zip(parts, agreeing[release]) if not right]
    return f"; {', '.join(wrong)}: md5 not that of the {release.name}: download again" if wrong else ""


def _copy(source, path):
    """Write what is left of a binary file to `path`; returns its md5 sum."""
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
