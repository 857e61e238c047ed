"""The commands as they stand in README and docs."""

import re

import pytest

from partial_fc.cli.eval.main import parser

from helpers.documents import command_lines
from helpers.options import commands_of


def test_every_command_is_documented():
    documented = [re.search("partial-fc eval ([a-z]+)", line)[1] for line in command_lines("partial-fc eval [a-z]")]
    assert set(documented) == set(commands_of(parser))


def test_a_model_is_needed(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["verification", "--bin", "lfw.bin"])
    assert "the following arguments are required: --model" in capsys.readouterr().err
