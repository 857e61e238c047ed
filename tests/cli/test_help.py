"""`--help` of every command shows defaults, units and an example; options of one name are the same everywhere."""

import argparse
import re
import shlex

import pytest

from partial_fc.cli.centers import parser as centers
from partial_fc.cli.data.main import parser as data
from partial_fc.cli.data.unpack import main as unpack_glint360k
from partial_fc.cli.eval.main import parser as evaluation
from partial_fc.cli.export import export_parser, import_parser
from partial_fc.cli.main import main
from partial_fc.cli.main import parser as names
from partial_fc.cli.parser import HelpFormatter, Parser
from partial_fc.cli.plan import parser as plan
from partial_fc.cli.report import parser as report

UNITS = "pixels images identities people pairs threads ranks classes rows seed share network tenth"
FAMILIES = (data, evaluation, centers, report, export_parser, import_parser, plan)


def commands():
    """Every parser of the families, by what a user types."""
    left = [each() for each in FAMILIES]
    while left:
        each = left.pop()
        left += [command for action in each._actions for command in getattr(action, "_name_parser_map", {}).values()]
        yield each.prog, each


def options(command):
    return [action for action in command._actions if action.option_strings and action.dest != "help"]


def help_of(command, action):
    """The help text of an option as `--help` shows it."""
    return HelpFormatter("")._expand_help(action) if action.help else ""


def required(command, action):
    groups = [group for group in command._mutually_exclusive_groups if action in group._group_actions]
    return action.required or any(group.required for group in groups)


def test_every_option_has_a_help_text_with_its_default():
    """Of options without a value the default is that they are off."""
    wrong = []
    for name, command in commands():
        for action in options(command):
            text = help_of(command, action)
            if not text:
                wrong.append(f"{name} {action.option_strings[0]}: no help")
            elif action.nargs != 0 and not required(command, action) and "(default: " not in text:
                wrong.append(f"{name} {action.option_strings[0]}: no default in {text!r}")
            elif action.nargs == 0 and not isinstance(action, argparse._StoreTrueAction):
                wrong.append(f"{name} {action.option_strings[0]}: a kind of option that this test does not know")
    assert not wrong, "\n".join(wrong)


def test_every_number_has_a_unit():
    wrong = [
        f"{name} {action.option_strings[0]}: none of the words {UNITS} in {help_of(command, action)!r}"
        for name, command in commands()
        for action in options(command)
        if action.type is not None and not re.search(UNITS.replace(" ", "|"), help_of(command, action))
    ]
    assert not [each for each in wrong if "--scale" not in each], "\n".join(wrong)  # --scale: see --mean


def test_every_argument_has_a_help_text():
    wrong = [f"{name} {action.dest}" for name, command in commands() for action in command._actions if not action.help]
    assert not [each for each in wrong if not each.endswith("_command")], "\n".join(wrong)


def test_every_help_ends_with_an_example_that_can_be_parsed():
    wrong = []
    for name, command in commands():
        words = shlex.split((command.epilog or "").partition("example:")[2].replace("\\\n", " "))
        if words[: len(name.split())] != name.split():
            wrong.append(f"{name}: its help has no example of it, but {command.epilog!r}")
            continue
        family = next(each() for each in FAMILIES if each().prog == " ".join(words[:2]))
        try:
            family.parse_args(words[2:])
        except SystemExit:
            wrong.append(f"{name}: its example {command.epilog!r} cannot be parsed")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "arguments",
    ["", "train", "doctor", "plan", "data", "eval", "centers", "report", "export", "import", "data pack", "eval ijb"],
)
def test_help_is_printed(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main([*arguments.split(), "--help"])
    printed = capsys.readouterr()
    assert not end.value.code and printed.out.startswith(f"usage: partial-fc {arguments}".rstrip())
    assert not printed.err and max(map(len, printed.out.splitlines())) <= 100


def test_help_of_the_published_script(capsys):
    with pytest.raises(SystemExit):
        unpack_glint360k(["--help"])
    assert "example:\n\n  python unpack_glint360k.py --include" in capsys.readouterr().out


def test_options_of_one_name_are_the_same():
    """In default, type, metavar and number of values. Exceptions: sizes that are cut, aligned, made or checked; a set's
    pairs and name, which `data pack` makes on demand only; identities, which are files or a number; the one model of
    `embed`; the images that `export` compares on; and the threshold of `eval pair`, which may be calibrated."""
    different = {"--size", "--random-pairs", "--name", "--model", "--images", "--identities", "--threshold"}
    seen, wrong = {}, []
    for name, command in commands():
        for action in options(command):
            option = action.option_strings[0]
            found = (action.default, action.type, action.metavar, action.nargs, action.choices)
            first, expected = seen.setdefault(option, (name, found))
            if found != expected and option not in different:
                wrong.append(f"{option}: {found} of {name}, {expected} of {first}")
    assert {"--workers", "--json", "--overwrite", "--seed", "--batch-size", "--device"} <= set(seen)
    assert not wrong, "\n".join(wrong)


def test_names_of_commands_are_parsed_by_the_one_parser():
    assert isinstance(names(), Parser)
