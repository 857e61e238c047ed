"""The argument parser of every command: wrong arguments are answered in one line, and `--help` shows the defaults."""

import argparse
import difflib
import sys
from typing import IO, Any, Callable, List, NoReturn, Optional, Sequence, Tuple, TypeVar

from .. import config_entry
from ..errors import WRONG_INPUT
from ..output.printable import print_lines, print_message

Number = TypeVar("Number", int, float)


class HelpFormatter(argparse.HelpFormatter):
    """Keeps the paragraphs of a description, and indented lines as they are; adds `(default: ...)` to options."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (
            part if part.startswith("  ") else super(HelpFormatter, self)._fill_text(part, width, indent)
            for part in text.strip("\n").split("\n\n")
        )
        return "\n\n".join(paragraphs)

    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        text = action.help or ""
        if action.option_strings and action.nargs != 0 and action.default not in (None, [], argparse.SUPPRESS):
            text += "" if "(default: " in text else " (default: %(default)s)"
        return text


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports an error in one line, without the usage.

    For an unknown option it names the nearest one there is. The types `int` and `float` say what they expect.
    Sub-parsers are of the same class.

    Args:
        example: a command line, shown at the end of `--help`.
        *args, **kwargs: of ArgumentParser.
    """

    def __init__(self, *args: Any, example: str = "", **kwargs: Any):
        kwargs.setdefault("formatter_class", HelpFormatter)
        if example:
            kwargs["epilog"] = f"example:\n\n  {example}"
        super().__init__(*args, **kwargs)
        self.register("type", int, whole_number)
        self.register("type", float, number)

    def parse_known_args(  # type: ignore[override]
        self, args: Optional[Sequence[str]] = None, namespace: Optional[argparse.Namespace] = None
    ) -> Tuple[argparse.Namespace, List[str]]:
        """As argparse's, but arguments that no option takes are an error. Sub-parsers are called through it, too."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self.explain(unknown[0]))
        return parsed, unknown

    def explain(self, word: str) -> str:
        """The error for an argument that no option takes, with the option that the user may have meant."""
        if not word.startswith("-"):
            return f"{word}: not expected here (see --help)"
        option = word.partition("=")[0]
        near = difflib.get_close_matches(option, self._option_string_actions, n=1)
        return f"{option}: no such option; " + (f"the nearest is {near[0]}" if near else "--help lists them")

    def print_help(self, file: Optional[IO[str]] = None) -> None:
        """Print the help. Unlike argparse's, it does not hide that nobody reads the pipe, see `quiet_pipe`."""
        print_lines(self.format_help().splitlines(), file)

    def error(self, message: str) -> NoReturn:
        """Print the message as one line and exit with WRONG_INPUT."""
        print_message(f"error: {plain(message)}")
        sys.exit(WRONG_INPUT)


def plain(message: str) -> str:
    """An error message of argparse without its first word: `--size: ...` for `argument --size: ...`."""
    return message[len("argument ") :] if message.startswith("argument ") else message


def whole_number(text: str) -> int:
    """Type of arguments that are whole numbers."""
    return _argument(config_entry.whole_number, text)


def number(text: str) -> float:
    """Type of arguments that are finite numbers."""
    return _argument(config_entry.number, text)


def positive(text: str) -> int:
    """Type of arguments that are whole numbers from 1 on."""
    value = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def share(text: str) -> float:
    """Type of arguments that are numbers from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, not {text}")
    return value


def _argument(convert: Callable[[str], Number], text: str) -> Number:
    try:
        return convert(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
