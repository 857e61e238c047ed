"""What `pack` has written so far, in `OUT/.pack`: a run that was killed continues from there."""

import contextlib
import os
import shutil
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ...errors import InputError
from ...files import naming, open_named
from ..journal import Journal, read_journal
from ..records.record_writer import RecordWriter

_FOLDER, _JOURNAL, _MAY_REPLACE = ".pack", "journal", "may-replace"
_REC, _INDEX = "train.rec", "train.idx"


class Done(NamedTuple):
    """An identity that is finished: an entry of the journal.

    Attributes:
        name: of its folder.
        num_images: stored, 0 where it is left out.
        position: length of train.rec with it, in bytes.
        index_length: length of train.idx with it, in bytes.
        skipped: [path, reason] of each file that was skipped.
    """

    name: str
    num_images: int
    position: int
    index_length: int
    skipped: List[List[str]]


_NOTHING = Done("", 0, 0, 0, [])


def may_replace(out: str) -> bool:
    """Whether an unfinished run in `out` was allowed to replace files, or had begun to give its own their names."""
    return os.path.exists(os.path.join(out, _FOLDER, _MAY_REPLACE))


class UnfinishedPack:
    """Record file and index under construction, with a journal: the arguments, then each identity.

    The data are handed to the system before the journal's entry: they survive the end of the program at any point,
    though not that of the machine. The caller holds the lock of `out`. To be used in a `with` statement, which closes
    the files.

    Args:
        out: folder of the final files, which exists.
        arguments: all that decides what is written, of types that JSON has.
        people: names of all identities' folders, in order.
        overwrite: whether to start anew and to replace final files.

    Attributes:
        folder: of the unfinished files.
        done: identities finished by this run and by those that it continues.

    Raises:
        InputError: the unfinished run had other arguments.
        OSError: naming the file, if one cannot be written.
    """

    def __init__(self, out: str, arguments: Dict[str, Any], people: Sequence[str], overwrite: bool) -> None:
        self._out = out
        self.done: List[Done] = []
        self.folder = os.path.join(out, _FOLDER)
        os.makedirs(self.folder, exist_ok=True)
        if not overwrite:
            self._take_back()
        end = 0 if overwrite else self._replay(arguments, people)
        with contextlib.ExitStack() as files:
            self._journal = files.enter_context(contextlib.closing(Journal(self.path(_JOURNAL), end)))
            self._rec, self._index = (files.enter_context(open_named(self.path(name), "ab")) for name in (_REC, _INDEX))
            self._skip()
            if overwrite:
                self._mark_may_replace()
            if not end:
                self._journal.add(arguments)
            self._files = files.pop_all()

    def __enter__(self) -> "UnfinishedPack":
        return self

    def __exit__(self, *error: Any) -> Optional[bool]:
        return self._files.__exit__(*error)

    def path(self, name: str) -> str:
        """Where a file is kept until it gets its final name."""
        return os.path.join(self.folder, name)

    def add(self, name: str, images: Sequence[bytes], skipped: List[List[str]]) -> None:
        """Write the encoded images of the next identity, none if it is left out; `skipped` as in Done.

        Raises:
            OSError: naming the file, if one cannot be written.
        """
        if images:
            self._writer.write_identity(images)
        self._rec.flush()
        self._index.flush()
        self.done.append(Done(name, len(images), self._writer.position, self._index.tell(), skipped))
        self._journal.add(self.done[-1])

    def finish(self) -> str:
        """Complete record file and index, and sync them to the disk, still in their folder; returns the path."""
        self._writer.finish()
        for file in (self._rec, self._index):
            file.flush()
            with naming(file.name):
                os.fsync(file.fileno())
        return self.path(_REC)

    def publish(self, names: Sequence[str]) -> None:
        """Give record file, index and then the files `names` of the same folder their final names."""
        self._mark_may_replace()  # if the run is killed from here on, the next may continue
        for name in (_REC, _INDEX, *names):
            os.replace(self.path(name), os.path.join(self._out, name))
        self.remove()

    def remove(self) -> None:
        """Remove the folder of the unfinished files."""
        self._files.close()  # network file systems keep what is open
        shutil.rmtree(self.folder)

    def _mark_may_replace(self):
        with open(self.path(_MAY_REPLACE), "wb"):
            pass

    def _take_back(self):
        """Undo what a run did that was killed while it gave files their names."""
        for name in (_REC, _INDEX):
            final = os.path.join(self._out, name)
            if may_replace(self._out) and os.path.exists(final) and not os.path.exists(self.path(name)):
                os.replace(final, self.path(name))

    def _replay(self, arguments, people):
        """Fill `done`; returns the position after the last entry of the journal that the files agree with."""
        lengths = [os.path.getsize(path) if os.path.exists(path) else 0 for path in map(self.path, (_REC, _INDEX))]
        entries = read_journal(self.path(_JOURNAL))
        noted, end = next(entries, (None, 0))
        if end and noted != arguments:
            raise InputError(
                f"{self.folder} holds an unfinished run with other arguments: start it again with those, or give "
                "--overwrite to start anew"
            )
        for person, (entry, position) in zip(people, entries):
            done, before = _done(entry), self.done[-1] if self.done else _NOTHING
            if done is None or done.name != person or not _follows(done, before, lengths):
                break
            self.done.append(done)
            end = position
        return end

    def _skip(self):
        """Set the files to the end of what is done."""
        self._writer = RecordWriter(self._rec, self._index)
        for done in self.done:
            if done.num_images:
                self._writer.skip_identity(done.num_images, done.position)
        self._rec.truncate(self._writer.position)
        self._index.truncate(self.done[-1].index_length if self.done else 0)
        self._index.seek(0, os.SEEK_END)


def _done(entry):
    """The Done of an entry of the journal; None if it is not one."""
    if not isinstance(entry, list) or [type(part) for part in entry] != [str, int, int, int, list]:
        return None
    pairs = all(isinstance(pair, list) and [type(part) for part in pair] == [str, str] for pair in entry[4])
    return Done(*entry) if pairs else None


def _follows(done, before, lengths):
    """Whether the files, of these lengths, can hold an identity behind the one before."""
    return (
        before.position <= done.position <= lengths[0]
        and before.index_length <= done.index_length <= lengths[1]
        and 0 <= done.num_images <= done.position - before.position  # an image takes more than a byte
    )
