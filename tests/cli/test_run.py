import argparse

import pytest

from partial_fc.cli.run import run
from partial_fc.errors import InputError


def command(function):
    return argparse.Namespace(run=lambda args: function())


def fail(error):
    raise error


@pytest.mark.parametrize("returned, status", [(None, 0), (0, 0), (3, 3)])
def test_status_is_that_of_the_command(returned, status, capsys):
    assert run(command(lambda: returned)) == status
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error, status, line",
    [
        (InputError("a.rec: damaged"), 2, "error: a.rec: damaged\n"),
        (OSError(28, "No space left on device", "f.npy"), 75, "error: [Errno 28] No space left on device: 'f.npy'\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error, status, line, capsys):
    assert run(command(lambda: fail(error))) == status
    assert capsys.readouterr() == ("", line)


def test_errors_of_the_program_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(command(lambda: 1 // 0))
