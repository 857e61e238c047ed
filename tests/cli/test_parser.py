"""What every command answers to wrong arguments: one line, which names what would be right."""

import pytest

from partial_fc.cli.centers import parser as centers
from partial_fc.cli.data.main import parser as data
from partial_fc.cli.doctor import parser as doctor
from partial_fc.cli.eval.main import parser as evaluation
from partial_fc.cli.parser import Parser
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.errors import InputError

from helpers.options import commands_of


@pytest.mark.parametrize(
    "parser, arguments, line",
    [
        (data, "pack --sise 3 a b", "--sise: no such option; the nearest is --size"),
        (data, "pack a b --sise=3", "--sise: no such option; the nearest is --size"),
        (data, "pack a b c", "c: not expected here (see --help)"),
        (data, "pack a b --min-images x", "--min-images: expected a whole number, not 'x'"),
        (data, "pack a b --min-images 0", "--min-images: must be at least 1, not 0"),
        (data, "pack a b --seed 1.5", "--seed: expected a whole number, not '1.5'"),
        (data, "split a b c --share nan", "--share: expected a number, not 'nan'"),
        (data, "merge a b --bad-record-share 2", "--bad-record-share: must lie between 0 and 1, not 2"),
        (data, "pack", "the following arguments are required: FOLDER, OUT"),
        (evaluation, "verification --model m --bim f", "--bim: no such option; the nearest is --bin"),
        (centers, "export a b --ranks few", "--ranks: expected a whole number, not 'few'"),
        (doctor, "--recc a", "--recc: no such option; the nearest is --rec"),
        (doctor, "--zzz", "--zzz: no such option; --help lists them"),
    ],
)
def test_wrong_arguments_are_one_line(parser, arguments, line, capsys):
    with pytest.raises(SystemExit) as exit:
        parser().parse_args(arguments.split())
    assert exit.value.code == 2
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize("parser", [centers, data, doctor, evaluation])
def test_every_command_has_the_one_parser(parser):
    assert all(isinstance(each, Parser) for each in [parser(), *commands_of(parser).values()])


@pytest.mark.parametrize(
    "arguments, line",
    [
        ("--epochs 10", "--epochs: no such option; the nearest is --set max_epochs=VALUE"),
        ("--max-update=10", "--max-update: no such option; the nearest is --set max_update=VALUE"),
        ("--batchsize 8", "--batchsize: no such option; the nearest is --batch-size"),
        ("--lr 0.1", "--lr: no such option; the nearest is --set backbone_lr=VALUE"),
        ("--io-onyl", "--io-onyl: no such option; the nearest is --io-only"),
        ("--zzz", "--zzz: no such option; --help lists them"),
        ("--set seed=1 wd=2", "wd=2: --set takes one KEY=VALUE, repeat it: --set wd=2"),
        ("-np 2", "-np: an option of the launcher, before --: bash run.sh -np ... -- ARGS"),
        ("more", "more: not expected here (see --help)"),
        ("--rec", "--rec: expected one argument"),
    ],
)
def test_arguments_that_the_trainer_does_not_have(arguments, line):
    with pytest.raises(InputError) as error:
        from_command_line(arguments.split())
    assert str(error.value) == line


@pytest.mark.parametrize(
    "arguments, line",
    [
        ("--batch-size many", "--batch-size many: expected a whole number"),
        ("--batch-size=many", "--batch-size many: expected a whole number"),
        ("--set batch_size=many", "--set batch_size=many: expected a whole number"),
        ("--batch-size 0", "--batch-size 0: must be at least 1"),
        ("--set batch_size=0", "--set batch_size=0: must be at least 1"),
        ("--batch-size 8 --set batch_size=0", "--set batch_size=0: must be at least 1"),
        ("--sample-ratio 2", "--sample-ratio 2: must lie in (0, 1]"),
        ("--bank gpu", "--bank gpu: must be one of device, host"),
        ("--set lr_steps=20,10", "--set lr_steps=20,10: must ascend"),
        ("--set wd=nan", "--set wd=nan: expected a number"),
        ("--set momentum=-1", "--set momentum=-1: must not be negative"),
    ],
)
def test_values_are_named_as_they_were_typed(arguments, line):
    with pytest.raises(InputError) as error:
        from_command_line(arguments.split())
    assert str(error.value).startswith(line)
