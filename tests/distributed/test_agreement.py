import zlib

import pytest
from easydict import EasyDict

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.data.records.record_file import RecordFile
from partial_fc.distributed.agreement import checksums, compare, settings
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError

from helpers.faces import write_faces


class Two(Communicator):
    """Rank 0 of two, of which the other has values of its own."""

    world_size = 2

    def __init__(self, other):
        self._other = other

    def all_gather_object(self, value):
        return [value, self._other if isinstance(value, dict) else value]


@pytest.mark.parametrize(
    "other, reported",
    [
        ({"numpy": "1.2", "horovod": "3"}, "the version of numpy is 1.1 here, 1.2 on rank 1"),
        ({"numpy": "1.1"}, "the version of horovod is 3 here, missing on rank 1"),
        ({"numpy": "1.1", "horovod": "3", "more": "4"}, "the version of more is missing here, 4 on rank 1"),
    ],
)
def test_compare_names_what_differs_and_where(other, reported):
    with pytest.raises(CollectiveError, match=reported):
        compare("the version", {"numpy": "1.1", "horovod": "3"}, Two(other))


def test_compare_is_silent_where_all_agree():
    compare("the version", {"numpy": "1.1"}, Two({"numpy": "1.1"}))


def test_paths_may_differ_between_hosts_and_nothing_else():
    first, second, third = (
        settings(
            from_command_line(
                f"--rec {path}/x.rec --models-root {path} --bank-dir {path} --seed {seed}".split()
            ).to_dict()
        )
        for path, seed in (("a", "0"), ("b", "0"), ("a", "5"))
    )
    assert first == second != third


def test_checksums_tell_data_apart(tmp_path):
    found = []
    for name, count in (("first", 8), ("again", 8), ("other", 9)):
        (tmp_path / name).mkdir()
        records = RecordFile(write_faces(tmp_path / name, images=count))
        found.append(checksums(EasyDict(val_targets=["val"]), records))
    first, again, other = found
    assert first == again and set(first) == {"train.idx", "val.bin"}
    assert first["train.idx"] != other["train.idx"] and first["val.bin"] == other["val.bin"]
    assert first["val.bin"] == f"{zlib.crc32((tmp_path / 'first' / 'val.bin').read_bytes()):08x}"
