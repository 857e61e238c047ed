"""Exit statuses: what a run ends with when an error of some rank ends all."""

import errno
import os

import pytest

from partial_fc.errors import CollectiveError, InputError, exit_status

from helpers.shards import Shards


def caused(number):
    """InputError that an OSError has caused."""
    try:
        raise InputError("x: cannot be read") from OSError(number, os.strerror(number))
    except InputError as error:
        return error


@pytest.mark.parametrize(
    "error, status",
    [
        (InputError("wrong"), 2),
        (OSError(errno.ENOSPC, "No space left on device", "file"), 75),
        (MemoryError(), 75),
        (CollectiveError("wrong"), 2),
        (CollectiveError("full", 75), 75),
        (caused(errno.ENOENT), 2),
        (caused(errno.EACCES), 2),
        (caused(errno.EIO), 75),
        (caused(errno.ENOSPC), 75),
        (caused(errno.ESTALE), 75),
    ],
)
def test_statuses(error, status):
    assert exit_status(error) == status


@pytest.mark.parametrize(
    "by_rank, status",
    [
        ({0: InputError("wrong")}, 2),
        ({2: InputError("wrong")}, 2),
        ({1: OSError(errno.ENOSPC, "full")}, 75),
        ({0: OSError(errno.ENOSPC, "full"), 1: caused(errno.EIO), 2: OSError(errno.EIO, "broken")}, 75),
        ({0: OSError(errno.ENOSPC, "full"), 2: InputError("wrong")}, 2),  # which would end the next start, too
        ({1: CollectiveError("full", 75)}, 75),
    ],
)
def test_ranks_agree_on_the_status_of_the_cause(by_rank, status):
    def work(comm):
        with pytest.raises(CollectiveError) as caught, comm.raise_on_all_ranks():
            if comm.rank in by_rank:
                raise by_rank[comm.rank]
        assert all(f"rank {rank}: {error}" in str(caught.value) for rank, error in by_rank.items())
        return caught.value.status

    assert Shards(3).run(work) == [status] * 3
