"""What `pack` has written so far, in `OUT/.pack`: a run that was killed goes on from there."""

import contextlib
import json
import os
import shutil
from typing import List, NamedTuple

from ...errors import InputError
from ...files import naming, open_named, parse_json
from ..records.record_writer import RecordWriter

_FOLDER, _JOURNAL, _MAY_REPLACE = ".pack", "journal", "may-replace"
_REC, _INDEX = "train.rec", "train.idx"
_LONGEST_LINE = 2**24


class Done(NamedTuple):
    """An identity that is finished: a line of the journal.

    `name` of its folder; `num_images` stored, 0 where it is left out; `position`, the length of train.rec with it;
    `index_length`, that of train.idx; lists [path, reason] of what was `skipped`.
    """

    name: str
    num_images: int
    position: int
    index_length: int
    skipped: List[List[str]]


_NOTHING = Done("", 0, 0, 0, [])


def may_replace(out):
    """Whether an unfinished run in `out` was allowed to replace files, or was about to give its own their names."""
    return os.path.exists(os.path.join(out, _FOLDER, _MAY_REPLACE))


class UnfinishedPack:
    """Record file and index under construction, with a journal of JSON lines: the arguments, then each identity.

    The data are handed to the system before the journal's line: they survive the end of the program at any point,
    though not that of the machine. The caller holds the lock of `out`. To be used in a `with` statement, which closes
    the files.

    Args:
        out: folder of the final files, which exists.
        arguments: dictionary of all that decides what is written, of types that JSON has.
        people: names of all identities' folders, in order.
        overwrite: whether to start anew and to replace final files.

    Attributes:
        folder: of the unfinished files.
        done: list of Done, of this run and those before.

    Raises:
        InputError: the run before had other arguments.
        OSError: naming the file, if one cannot be written.
    """

    def __init__(self, out, arguments, people, overwrite):
        self._out, self.done = out, []
        self.folder = os.path.join(out, _FOLDER)
        os.makedirs(self.folder, exist_ok=True)
        with contextlib.ExitStack() as files:
            self._journal = files.enter_context(open_named(self.path(_JOURNAL), "ab"))
            if overwrite:
                self._journal.truncate(0)
            else:
                self._take_back()
            os.truncate(self.path(_JOURNAL), self._replay(arguments, people))
            self._rec, self._index = (files.enter_context(open_named(self.path(name), "ab")) for name in (_REC, _INDEX))
            self._skip()
            if overwrite:
                with open(self.path(_MAY_REPLACE), "wb"):
                    pass
            if not os.path.getsize(self.path(_JOURNAL)):
                self._note(arguments)
            self._files = files.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self._files.__exit__(*error)

    def path(self, name):
        """Where a file is kept until it gets its final name."""
        return os.path.join(self.folder, name)

    def add(self, name, images, skipped):
        """Write the images (bytes) of the next identity, none if it is left out; `skipped` as in Done.

        Raises:
            OSError: naming the file, if one cannot be written.
        """
        if images:
            self._writer.write_identity(images)
        self._rec.flush()
        self._index.flush()
        self.done.append(Done(name, len(images), self._writer.position, self._index.tell(), skipped))
        self._note(self.done[-1])

    def finish(self):
        """Complete record file and index, still in their place, and bring them to the disk; returns their path."""
        self._writer.finish()
        for file in (self._rec, self._index):
            file.flush()
            with naming(file.name):
                os.fsync(file.fileno())
        return self.path(_REC)

    def publish(self, names):
        """Give record file, index and then other files, which lie beside them, their final names."""
        with open(self.path(_MAY_REPLACE), "wb"):  # if killed among these lines, the next run is to go on
            pass
        for name in (_REC, _INDEX, *names):
            os.replace(self.path(name), os.path.join(self._out, name))
        self.remove()

    def remove(self):
        """Remove all there is of it."""
        self._files.close()  # network file systems keep what is open
        shutil.rmtree(self.folder)

    def _take_back(self):
        """Undo what a run did that was killed while it gave files their names."""
        for name in (_REC, _INDEX):
            final = os.path.join(self._out, name)
            if may_replace(self._out) and os.path.exists(final) and not os.path.exists(self.path(name)):
                os.replace(final, self.path(name))

    def _replay(self, arguments, people):
        """Fill `done`; returns the length of the journal as far as it holds true."""
        lengths = [os.path.getsize(path) if os.path.exists(path) else 0 for path in map(self.path, (_REC, _INDEX))]
        with open(self.path(_JOURNAL), "rb") as journal:
            line = journal.readline(_LONGEST_LINE)
            noted, length = _parse(line), len(line)
            if noted is None:
                return 0
            if noted != arguments:
                raise InputError(
                    f"{self.folder} is of a run with other arguments that was broken off: start that one again, "
                    "or give --overwrite to start anew"
                )
            for person, line in zip(people, iter(lambda: journal.readline(_LONGEST_LINE), b"")):
                done = _done(_parse(line))
                before = self.done[-1] if self.done else _NOTHING
                if done is None or done.name != person or not _follows(done, before, lengths):
                    break
                self.done.append(done)
                length += len(line)
        return length

    def _skip(self):
        """Set the files to the end of what is done."""
        self._writer = RecordWriter(self._rec, self._index)
        for done in self.done:
            if done.num_images:
                self._writer.skip_identity(done.num_images, done.position)
        self._rec.truncate(self._writer.position)
        self._index.truncate(self.done[-1].index_length if self.done else 0)
        self._index.seek(0, os.SEEK_END)

    def _note(self, line):
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()


def _parse(line):
    """What a line of the journal says; None if it is torn."""
    try:
        return parse_json(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _done(noted):
    """The Done that `noted`, what a line says, is; None if it is another thing."""
    if not isinstance(noted, list) or [type(part) for part in noted] != [str, int, int, int, list]:
        return None
    pairs = all(isinstance(pair, list) and [type(part) for part in pair] == [str, str] for pair in noted[4])
    return Done(*noted) if pairs else None


def _follows(done, before, lengths):
    """Whether the files, of these lengths, can hold an identity behind the one before."""
    return (
        before.position <= done.position <= lengths[0]
        and before.index_length <= done.index_length <= lengths[1]
        and 0 <= done.num_images <= done.position - before.position  # an image takes more than a byte
    )
