import argparse

import pytest

from partial_fc.cli.run import run
from partial_fc.errors import FAILED, CollectiveError, InputError


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
        (PermissionError(13, "Permission denied", "f.npy"), 2, "error: [Errno 13] Permission denied: 'f.npy'\n"),
        (CollectiveError("full", FAILED), 75, "error: full\n"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error, status, line, capsys):
    assert run(command(lambda: fail(error))) == status
    assert capsys.readouterr() == ("", line)


def test_errors_of_the_program_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(command(lambda: 1 // 0))


def test_parameters_in_an_error_are_shown_as_the_options_of_the_command(capsys):
    args = argparse.Namespace(run=lambda args: fail(InputError("a: `batch_size` 3, `id` 4")), batch_size=3)
    assert run(args) == 2
    assert capsys.readouterr().err == "error: a: --batch-size 3, `id` 4\n"
