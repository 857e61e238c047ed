"""The options and commands of a command line, in terms of what argparse documents."""

import argparse

import pytest


def actions_of(build):
    """Every argparse.Action that is made while `build()` makes a parser, those of its sub-commands included."""
    made, initialize = [], argparse.Action.__init__

    def record(action, *args, **kwargs):
        initialize(action, *args, **kwargs)
        made.append(action)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.Action, "__init__", record)
        build()
    return made


def options_of(build):
    """(Names, whether a value follows, name in the Namespace) of every option of the parser that `build()` makes."""
    named = [action for action in actions_of(build) if action.option_strings]
    return [(action.option_strings, action.nargs != 0, action.dest) for action in named]


def commands_of(build):
    """Parsers of the sub-commands by name, for the parser that `build()` makes; those of their sub-commands too."""
    choices = [action.choices for action in actions_of(build) if isinstance(action.choices, dict)]
    return {name: parser for each in choices for name, parser in each.items()}
