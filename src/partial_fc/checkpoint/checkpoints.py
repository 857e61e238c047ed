"""Checkpoints: folders that hold all a run needs to go on, and that exist only when all of it is on the disk.

Every rank writes its own files into a folder under a temporary name. When all have succeeded, the manifest, with size
and checksum of each file, is added and the folder renamed. Hosts need not share a file system: on each, one rank makes
and renames the folder, and the manifest is the same everywhere.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil

from ..errors import CollectiveError, InputError
from ..files import naming, read_json, sha256, sync

log = logging.getLogger("partial_fc")

MANIFEST = "manifest.json"
MAX_RANKS = 99_999  # as many as the names of their files can count
MAX_UPDATES = 10**15
_FORMAT = 1
_NAME = re.compile(r"update-(\d{9,})$")


class Damaged(InputError):
    """A checkpoint that lacks a file, or has one of other content than was saved."""


class Checkpoints:
    """The checkpoints of a run. Every method is called by all ranks at the same time.

    Args:
        folder: of the checkpoints `update-NNNNNNNNN`; made when the first is saved.
        comm: communicator.
        keep: checkpoints to keep; older ones are removed when a new one is whole.
    """

    def __init__(self, folder, comm, keep):
        self.folder, self._comm, self._keep = folder, comm, keep
        self._leads = None

    def save(self, num_update, write, about):
        """Make a checkpoint of update `num_update`.

        Args:
            write: function of a folder, writes this rank's files into it and returns their names. No collectives.
            about: what else the manifest says, of types that JSON has; that of rank 0 counts.

        Raises:
            CollectiveError: on every rank, if any could not write; the checkpoints before are as they were.
        """
        unfinished = os.path.join(self.folder, f".update-{num_update:09d}.tmp")
        try:
            self._elect()
            self._lead(self._make_room, unfinished)
            files = {}
            with self._comm.raise_on_all_ranks():
                for name in write(unfinished):
                    files[name] = _seal(os.path.join(unfinished, name))
            manifest = dict(self._comm.all_gather_object(about)[0], num_update=num_update)
            manifest.update(world_size=self._comm.world_size, files={})
            for part in self._comm.all_gather_object(files):
                manifest["files"].update(part)
            self._lead(self._finish, unfinished, num_update, manifest)
        except CollectiveError:
            if self._leads:
                shutil.rmtree(unfinished, ignore_errors=True)
            raise
        self._lead(self._remove_others, num_update)

    def newest(self, needs):
        """The newest checkpoint of which no rank lacks anything.

        Args:
            needs: function of a manifest; gives the names of the files that this rank will read, or raises InputError
                if the run cannot go on from such a checkpoint at all.

        Returns:
            path and manifest; None if there are no checkpoints.

        Raises:
            CollectiveError: on every rank, if there are some and none is whole, or `needs` refuses.
        """
        own = _numbers(self.folder)
        everywhere = {number for numbers in self._comm.all_gather_object(own) for number in numbers}
        for number in sorted(everywhere, reverse=True):
            path = self.path(number)
            manifest, problem = self._inspect(path, needs)
            problems = self._comm.all_gather_object(problem)
            if not any(problems):
                return path, manifest
            if self._comm.rank == 0:
                rank = next(rank for rank, problem in enumerate(problems) if problem)
                log.warning("not used, not whole: %s (rank %d)", problems[rank], rank)
        if everywhere:
            self._comm.agree(f"{self.folder}: none of {len(everywhere)} checkpoints is whole; --resume no starts anew")
        return None

    def path(self, num_update):
        """Folder of one checkpoint."""
        return os.path.join(self.folder, f"update-{num_update:09d}")

    def _inspect(self, path, needs):
        """Manifest of a checkpoint, and what of it is damaged or None."""
        manifest = damage = None
        with self._comm.raise_on_all_ranks():  # what `needs` refuses, it refuses on every rank
            try:
                manifest = verified_manifest(path, needs)
            except Damaged as error:
                damage = str(error)
        return manifest, damage

    def _elect(self):
        """Find the rank of each file system that makes and renames folders: its first."""
        if self._leads is not None:
            return
        probes = [os.path.join(self.folder, f".rank-{rank}") for rank in range(self._comm.rank + 1)]
        try:
            with self._comm.raise_on_all_ranks():
                os.makedirs(self.folder, exist_ok=True)
                with open(probes[-1], "w"):
                    pass
            leads = not any(map(os.path.exists, probes[:-1]))
            with self._comm.raise_on_all_ranks():
                pass  # all have looked
        finally:
            with contextlib.suppress(OSError):
                os.remove(probes[-1])
        self._leads = leads

    def _lead(self, function, *arguments):
        """Call a function on the leading ranks only; its errors are those of all."""
        with self._comm.raise_on_all_ranks():
            if self._leads:
                function(*arguments)

    def _make_room(self, unfinished):
        """Remove what saving left unfinished, and make the new folder, also where all was removed meanwhile."""
        os.makedirs(self.folder, exist_ok=True)
        for name in os.listdir(self.folder):
            if re.match(r"\.update-", name):
                shutil.rmtree(os.path.join(self.folder, name))
        os.mkdir(unfinished)

    def _finish(self, unfinished, num_update, manifest):
        """Give a folder with all its files the manifest and its name."""
        path = os.path.join(unfinished, MANIFEST)
        with naming(path), open(path, "w") as file:
            json.dump(dict(manifest, format=_FORMAT, checksum=_checksum(manifest)), file, indent=1)
        for each in (path, unfinished):
            sync(each)
        # One of this update is there if the run was taken up at an earlier one.
        old = self._set_aside(num_update) if os.path.exists(self.path(num_update)) else None
        os.rename(unfinished, self.path(num_update))
        sync(self.folder)
        if old:
            shutil.rmtree(old)

    def _remove_others(self, num_update):
        """Remove the oldest ones, and those of later updates: the run took another course from before them."""
        numbers = _numbers(self.folder)
        kept = [number for number in numbers if number <= num_update][-self._keep :]
        for number in set(numbers) - set(kept):
            shutil.rmtree(self._set_aside(number))

    def _set_aside(self, num_update):
        """Rename a checkpoint, so that one that is half removed is never taken for one."""
        path = os.path.join(self.folder, f".update-{num_update:09d}.old")
        os.rename(self.path(num_update), path)
        return path


def verified_manifest(path, needs):
    """Manifest of the checkpoint in a folder, after the files that are needed were compared with it.

    Args:
        needs: see `Checkpoints.newest`.

    Raises:
        Damaged: no manifest, a missing file, one of another size or checksum.
        InputError: what `needs` raises.
    """
    manifest = _read_manifest(os.path.join(path, MANIFEST))
    try:
        names = needs(manifest)
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from error
    for name in names:
        file = os.path.join(path, name)
        if name not in manifest["files"] or not os.path.exists(file):
            raise Damaged(f"{file}: no such file (without a shared file system a host has those of its own ranks)")
        size, checksum = manifest["files"][name]
        if os.path.getsize(file) != size or sha256(file) != checksum:
            raise Damaged(f"{file}: not the {size} bytes that were saved, sha256 {checksum}")
    return manifest


def _read_manifest(path):
    try:
        manifest = read_json(path)
        checksum, version = manifest.pop("checksum"), manifest.pop("format")
        whole = checksum == _checksum(manifest)
    except InputError as error:
        raise Damaged(str(error)) from error
    except (KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Damaged(f"{path}: not a manifest") from error
    if version != _FORMAT:
        raise InputError(
            f"{path}: of format {str(version):.80}, this version reads {_FORMAT}: use the version that saved it"
        )
    if not whole:
        raise Damaged(f"{path}: not what was saved")
    _check_manifest(path, manifest)
    return manifest


def _check_manifest(path, manifest):
    """Raise Damaged unless what every manifest has is of its type and within bounds; a checksum anyone can make."""
    num_update, world_size, files = (manifest.get(name) for name in ("num_update", "world_size", "files"))
    for name, value, low, high in (
        ("num_update", num_update, 0, MAX_UPDATES),
        ("world_size", world_size, 1, MAX_RANKS),
    ):
        if type(value) is not int or not low <= value <= high:
            raise Damaged(f"{path}: {name} is {value!r:.80}, expected a whole number from {low} to {high:,}")
    if not isinstance(files, dict):
        raise Damaged(f"{path}: files is no object")
    for name, sealed in files.items():
        whole = isinstance(sealed, list) and [type(part) for part in sealed] == [int, str] and sealed[0] >= 0
        if not whole or os.path.basename(name) != name or not name.strip("."):
            raise Damaged(f"{path}: files has {name!r:.80}, expected names without folders, each with size and sha256")


def _checksum(manifest):
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _seal(path):
    """Have a file on the disk; returns its size and checksum."""
    sync(path)
    return [os.path.getsize(path), sha256(path)]


def _numbers(folder):
    """Updates of the checkpoints in a folder, ascending; none if there is no such folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(match[1]) for match in map(_NAME.match, names) if match)
