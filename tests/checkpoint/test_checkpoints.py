import errno
import json
import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from partial_fc.checkpoint import checkpoints as checkpoint
from partial_fc.checkpoint.checkpoints import MANIFEST, Checkpoints, Damaged, verified_manifest
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError

from helpers.shards import Shards


def write(folder, comm, content="content"):
    name = f"part-{comm.rank}"
    with open(os.path.join(folder, name), "w") as file:
        file.write(f"{content} of {comm.rank}")
    return [name]


def save(folder, world_size=2, updates=(5,), keep=3):
    def run(comm):
        checkpoints = Checkpoints(str(folder), comm, keep)
        for num_update in updates:
            content = f"update {num_update}"
            checkpoints.save(num_update, lambda path, text=content: write(path, comm, text), {"about": comm.rank})

    Shards(world_size).run(run)


def all_parts(manifest):
    return list(manifest["files"])


def newest(folder, world_size=2, needs=all_parts):
    results = Shards(world_size).run(lambda comm: Checkpoints(str(folder), comm, 3).newest(needs))
    assert all(result == results[0] for result in results)
    return results[0]


def names(folder):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_checkpoint_has_the_files_of_all_ranks_and_the_manifest(world_size, tmp_path):
    save(tmp_path / "checkpoints", world_size)
    assert names(tmp_path / "checkpoints") == ["update-000000005"]
    path, manifest = newest(tmp_path / "checkpoints")
    assert path == str(tmp_path / "checkpoints" / "update-000000005")
    parts = [f"part-{rank}" for rank in range(world_size)]
    assert names(path) == [MANIFEST, *parts] and sorted(manifest["files"]) == parts
    assert (manifest["num_update"], manifest["world_size"], manifest["about"]) == (5, world_size, 0)


def test_checksums_are_those_of_sha256sum(tmp_path):
    save(tmp_path)
    path, manifest = newest(tmp_path)
    for name, (size, checksum) in manifest["files"].items():
        file = os.path.join(path, name)
        assert size == os.path.getsize(file)
        assert subprocess.run(["sha256sum", file], capture_output=True, text=True).stdout.split()[0] == checksum


def test_nothing_to_go_on_from(tmp_path):
    assert newest(tmp_path / "nowhere") is None
    (tmp_path / "update-12").mkdir()  # none of ours
    assert newest(tmp_path) is None


def test_the_last_ones_are_kept(tmp_path):
    save(tmp_path, updates=(1, 2, 30, 4000, 50000), keep=2)
    assert names(tmp_path) == ["update-000004000", "update-000050000"]
    assert newest(tmp_path)[1]["num_update"] == 50000


@pytest.mark.parametrize("world_size", [1, 3])
def test_folders_that_somebody_has_removed_are_made_again(world_size, tmp_path):
    root = tmp_path / "root"

    def run(comm):
        checkpoints = Checkpoints(str(root / "checkpoints"), comm, 3)
        for num_update in (1, 2, 3):
            checkpoints.save(num_update, lambda path: write(path, comm), {})
            comm.all_gather_object(None)
            if comm.rank == 0 and num_update < 3:
                shutil.rmtree(root if num_update == 1 else root / "checkpoints")
            comm.all_gather_object(None)

    Shards(world_size).run(run)
    assert names(root / "checkpoints") == ["update-000000003"]
    assert newest(root / "checkpoints", world_size)[1]["num_update"] == 3


@pytest.mark.parametrize("name", ["fsync", "dump"])
def test_a_full_disk_names_the_file_and_is_no_wrong_input(name, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint.json if name == "dump" else os, name, full)
    file = MANIFEST if name == "dump" else "part-[01]"
    with pytest.raises(
        CollectiveError, match=rf"No space left on device: '\S+/\.update-000000005\.tmp/{file}'"
    ) as caught:
        save(tmp_path)
    assert caught.value.status == 75 and names(tmp_path) == []


def test_run_that_goes_on_from_an_earlier_one_leaves_none_of_the_other_course(tmp_path):
    save(tmp_path, updates=(1, 2, 3), keep=3)
    save(tmp_path, updates=(2,), keep=3)
    assert names(tmp_path) == ["update-000000001", "update-000000002"]
    save(tmp_path, world_size=1, updates=(2,))
    assert newest(tmp_path)[1]["world_size"] == 1


def damage(path):
    """Flip a byte."""
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm, name, message",
    [
        (damage, "part-1", "part-1: not the 13 bytes that were saved"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "part-1", "part-1: not the 13 bytes that were saved"),
        (os.remove, "part-0", "part-0: no such file"),
        (damage, MANIFEST, "manifest.json: not"),
        (os.remove, MANIFEST, "manifest.json: cannot be read"),
        (
            lambda path: path.write_text(path.read_text().replace('"num_update": 2', '"num_update": 7')),
            MANIFEST,
            "manifest.json: changed since it was saved",
        ),
        (lambda path: path.write_text("[]"), MANIFEST, "manifest.json: not a manifest"),
        (lambda path: path.write_bytes(b"\xff\xfe"), MANIFEST, "manifest.json: not JSON"),
    ],
)
def test_damaged_checkpoint_is_named_and_the_one_before_is_used(harm, name, message, tmp_path, caplog):
    save(tmp_path, updates=(1, 2))
    harm(tmp_path / "update-000000002" / name)
    path, manifest = newest(tmp_path)
    assert path.endswith("update-000000001") and manifest["num_update"] == 1
    assert f"skipping incomplete checkpoint: {tmp_path}/update-000000002/{message}" in caplog.text


def test_no_whole_one_is_an_error(tmp_path):
    save(tmp_path, updates=(1, 2))
    for number in (1, 2):
        damage(tmp_path / f"update-00000000{number}" / "part-0")
    with pytest.raises(CollectiveError, match="none of 2 checkpoints is complete"):
        newest(tmp_path)


def test_files_that_a_rank_does_not_need_may_be_elsewhere(tmp_path):
    def on_own_host(comm):
        folder = tmp_path / f"host-{comm.rank}"
        shutil.copytree(tmp_path / "shared", folder)
        os.remove(folder / "update-000000005" / f"part-{1 - comm.rank}")
        return Checkpoints(str(folder), comm, 3).newest(lambda manifest: [f"part-{comm.rank}"])

    save(tmp_path / "shared")
    results = Shards(2).run(on_own_host)
    assert [os.path.dirname(path) for path, _ in results] == [str(tmp_path / f"host-{rank}") for rank in range(2)]


def test_hosts_without_a_shared_file_system(tmp_path):
    def on_own_host(comm):
        checkpoints = Checkpoints(str(tmp_path / f"host-{comm.rank // 2}"), comm, 1)
        for num_update in (1, 2):
            checkpoints.save(num_update, lambda path: write(path, comm), {})
        return checkpoints.newest(lambda manifest: [f"part-{comm.rank}"])[1]

    manifests = Shards(3).run(on_own_host)
    assert all(manifest == manifests[0] for manifest in manifests) and len(manifests[0]["files"]) == 3
    assert names(tmp_path / "host-0") == names(tmp_path / "host-1") == ["update-000000002"]
    assert names(tmp_path / "host-0" / "update-000000002") == [MANIFEST, "part-0", "part-1"]
    assert names(tmp_path / "host-1" / "update-000000002") == [MANIFEST, "part-2"]
    # What one of the hosts lacks is used by none.
    shutil.copytree(tmp_path / "host-0" / "update-000000002", tmp_path / "host-0" / "update-000000003")
    found = Shards(3).run(
        lambda comm: Checkpoints(str(tmp_path / f"host-{comm.rank // 2}"), comm, 1).newest(
            lambda manifest: [f"part-{comm.rank}"]
        )
    )
    assert {manifest["num_update"] for _, manifest in found} == {2}


def test_what_is_refused_ends_it_on_every_rank(tmp_path):
    def needs(manifest):
        raise InputError("of another network")

    save(tmp_path, updates=(1, 2))
    with pytest.raises(CollectiveError, match="of another network"):
        newest(tmp_path, needs=needs)


def test_manifest_of_another_version_is_refused(tmp_path):
    save(tmp_path)
    path = tmp_path / "update-000000005" / MANIFEST
    path.write_text(json.dumps(dict(json.loads(path.read_text()), format=2)))
    with pytest.raises(CollectiveError, match="has format 2"):
        newest(tmp_path)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_rank_that_cannot_write_leaves_the_checkpoints_before(rank, tmp_path):
    def fail(path, comm):
        files = write(path, comm)
        if comm.rank == rank:
            raise OSError("disk full")
        return files

    save(tmp_path, 3, updates=(1,))
    before = newest(tmp_path, 3)
    with pytest.raises(CollectiveError, match=f"rank {rank}: disk full"):
        Shards(3).run(lambda comm: Checkpoints(str(tmp_path), comm, 1).save(2, lambda path: fail(path, comm), {}))
    assert newest(tmp_path, 3) == before and names(tmp_path) == ["update-000000001"]
    save(tmp_path, 3, updates=(2,))
    assert newest(tmp_path, 3)[1]["num_update"] == 2


@pytest.fixture
def kept_open(monkeypatch):
    """Folders whose names contain a text cannot be removed: as on NFS while a program has a file in them open."""
    kept, remove = [], shutil.rmtree

    def fail(path, **named):
        if not any(text in os.path.basename(path) for text in kept):
            remove(path, **named)
        elif not named.get("ignore_errors"):
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)

    monkeypatch.setattr(shutil, "rmtree", fail)
    return kept


def test_an_old_checkpoint_that_cannot_be_removed_is_logged(kept_open, tmp_path, caplog):
    kept_open.append("000000001")
    save(tmp_path, updates=(1, 2), keep=1)
    assert "could not remove" in caplog.text and "Directory not empty" in caplog.text
    assert newest(tmp_path)[1]["num_update"] == 2
    save(tmp_path, updates=(1,), keep=1)  # as a run that was resumed from before it: there will be two to remove
    kept_open.append("000000002")
    save(tmp_path, updates=(2, 3), keep=1)
    assert newest(tmp_path)[1]["num_update"] == 3
    kept_open.clear()
    save(tmp_path, updates=(4,), keep=1)
    assert names(tmp_path) == ["update-000000004"]


def test_a_checkpoint_of_the_same_update_that_cannot_be_removed(kept_open, tmp_path, caplog):
    save(tmp_path, updates=(1,))
    kept_open.append(".old")
    for _ in range(2):
        caplog.clear()
        save(tmp_path, updates=(1,))
        assert "could not remove" in caplog.text and newest(tmp_path)[1]["num_update"] == 1


def test_an_unfinished_checkpoint_in_the_way_is_an_error(kept_open, tmp_path):
    save(tmp_path, updates=(1,))
    (tmp_path / ".update-000000002.tmp").mkdir()
    (tmp_path / ".update-000000002.tmp" / "part-0").write_text("")
    kept_open.append("000000002.tmp")
    with pytest.raises(CollectiveError, match="Directory not empty"):
        save(tmp_path, updates=(2,))
    assert newest(tmp_path)[1]["num_update"] == 1


class Crash(BaseException):
    """The end of the process at some point."""


@pytest.mark.parametrize("function", ["_seal", "sync", "os.rename", "shutil.rmtree"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_crash_at_any_point_leaves_a_whole_checkpoint(function, nth, tmp_path, monkeypatch, caplog):
    save(tmp_path, 1, updates=(1,))
    calls = []

    def crash(*arguments, **named):
        calls.append(arguments)
        if len(calls) == nth:
            if function == "shutil.rmtree":
                os.remove(os.path.join(arguments[0], "part-0"))
            raise Crash
        return original(*arguments, **named)

    alone = Checkpoints(str(tmp_path), Communicator(), 1)
    module, _, name = function.rpartition(".")
    owner = getattr(checkpoint, module) if module else checkpoint
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, crash)
    try:
        for num_update in (2, 3):
            alone.save(num_update, lambda path: write(path, SimpleNamespace(rank=0)), {})
    except Crash:
        pass
    monkeypatch.undo()
    path, manifest = Checkpoints(str(tmp_path), Communicator(), 1).newest(all_parts)
    assert manifest["num_update"] in (1, 2, 3) and not caplog.text
    for name in names(tmp_path):  # half of one never looks like one
        assert name.startswith(".") or verified_manifest(str(tmp_path / name), all_parts)
    Checkpoints(str(tmp_path), Communicator(), 1).save(4, lambda path: write(path, SimpleNamespace(rank=0)), {})
    assert names(tmp_path) == ["update-000000004"]


def test_one_checkpoint_by_its_path(tmp_path):
    save(tmp_path)
    path = tmp_path / "update-000000005"
    assert verified_manifest(str(path), all_parts)["num_update"] == 5
    damage(path / "part-1")
    with pytest.raises(Damaged, match="part-1"):
        verified_manifest(str(path), all_parts)
    with pytest.raises(Damaged, match="manifest.json: cannot be read"):
        verified_manifest(str(tmp_path), all_parts)


def test_tiny_file_system(tmp_path):
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)]).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        save(tmp_path, updates=(1,))

        def fill(path, comm):
            with open(os.path.join(path, f"large-{comm.rank}"), "wb") as file:
                file.write(bytes(600000))
            return [f"large-{comm.rank}"]

        with pytest.raises(CollectiveError, match="No space left on device"):
            Shards(2).run(lambda comm: Checkpoints(str(tmp_path), comm, 2).save(2, lambda path: fill(path, comm), {}))
        assert names(tmp_path) == ["update-000000001"] and newest(tmp_path)[1]["num_update"] == 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
