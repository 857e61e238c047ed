"""The argument parser of every command: wrong arguments give one line, which says what would be right."""

import argparse
import difflib
import sys

from .. import config
from ..output.printable import print_message


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without pages of usage: an unknown option is answered with the nearest one there is.

    Sub-parsers are of the same class. The types `int` and `float` say what they expect.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register("type", int, whole_number)
        self.register("type", float, number)

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's, but nothing may be left over. Sub-parsers are called through it, too."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self.explain(unknown[0]))
        return namespace, unknown

    def explain(self, word: str) -> str:
        """What is wrong with an argument that no option takes, and what the user may have meant."""
        if not word.startswith("-"):
            return f"{word}: not expected here (see --help)"
        option = word.partition("=")[0]
        near = difflib.get_close_matches(option, self._option_string_actions, n=1)
        return f"{option}: no such option; " + (f"the nearest is {near[0]}" if near else "--help lists them")

    def error(self, message):
        """Print the message as one line and exit with status 2."""
        print_message(f"error: {plain(message)}")
        sys.exit(2)


def plain(message: str) -> str:
    """An error message of argparse without its first word: `--size: ...` for `argument --size: ...`."""
    return message[len("argument ") :] if message.startswith("argument ") else message


def whole_number(text: str) -> int:
    """Type of arguments that are whole numbers."""
    return _argument(config.whole_number, text)


def number(text: str) -> float:
    """Type of arguments that are finite numbers."""
    return _argument(config.number, text)


def _argument(convert, text):
    try:
        return convert(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
