"""The commands as they stand in README and docs."""

import os
import re
import shlex

import pytest

from partial_fc.cli.eval.main import parser

from helpers.options import commands_of
from helpers.paths import ROOT


def documented():
    for name in ("README.md", os.path.join("docs", "evaluation.md")):
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            text = file.read().replace("\\\n", " ")
        for line in re.findall(r"partial-fc eval ([a-z].*)$", text, re.MULTILINE):
            yield shlex.split(line.rstrip("'"), comments=True)


@pytest.mark.parametrize("arguments", documented(), ids=" ".join)
def test_documented_commands_can_be_parsed(arguments):
    args = parser().parse_args(arguments)
    assert args.eval_command == arguments[0] and callable(args.run)


def test_every_command_is_documented():
    assert {arguments[0] for arguments in documented()} == set(commands_of(parser))


def test_a_model_is_needed(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["verification", "--bin", "lfw.bin"])
    assert "the following arguments are required: --model" in capsys.readouterr().err
