"""What README and docs print: their command lines are run or parsed by tests, as they stand there."""

import glob
import os
import re
from functools import lru_cache

from helpers.paths import ROOT

# The kinds of command lines. Tests take the lines of a kind by `lines_of`; each line is of exactly one.
KINDS = {
    "entering": r"(\.|export|cp) ",  # before other lines of its block
    "training": r"(exec )?bash run\.sh|bash config\.sh|horovodrun .*bash config\.sh",
    "walk": r"partial-fc train ",  # through docs/deploy.md, which tests/cli/test_deploy.py runs as a whole
    "data": r"partial-fc data (?!glint360k)",
    "eval": r"(\w+ -np 2 bash -c .*)?partial-fc eval ",
    "centers": r"partial-fc centers ",
    "report": r"partial-fc report ",
    "export": r"partial-fc (export|import) ",
    "plan": r"partial-fc plan (?!--measure)",
    "doctor": r"partial-fc doctor(?! --gpu)",
    "programs": r"python (-m zipfile|-m partial_fc|unpack_glint360k\.py|landmarks\.py|loop\.py)",
    # These are only parsed: they take minutes or more, or need the files of Glint360K.
    "benchmarks": r"python -m benchmarks\.",
    "tests": r"(\w+=\w+ )?bash tests/run\.sh|python -m pytest|python tests/",
    "long": r"(\w+=\w+ )?partial-fc (plan --measure|data glint360k|doctor --gpu)",
    # These need another host, or change the environment.
    "setup": r"(bash )?setup-utils/install|pre-commit install|pip install|ssh",
}
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$|((?:^ {4}[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
_PROGRAMS = r"bash|exec|partial-fc|horovodrun|mpirun|python|pip|cp|export|pre-commit|ssh[-a-z]*|\.|setup-utils/\S+"
_PROGRAM = re.compile(rf"(\w+=\S* )*({_PROGRAMS}) ")


def documents():
    """(Path from the checkout, text) of README and every page of the docs, lines that end in a backslash joined."""
    pages = sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")) + glob.glob(os.path.join(ROOT, "*.md")))
    for page in (*pages, os.path.join(ROOT, "setup-utils", "README.md")):
        with open(page, encoding="utf-8") as file:
            yield os.path.relpath(page, ROOT), file.read().replace("\\\n", " ")


@lru_cache(maxsize=None)
def command_blocks():
    """The command lines of each block of code, without comments: in blocks of no language, those of a program."""
    blocks = []
    for _, text in documents():
        for language, fenced, indented in _BLOCK.findall(text):
            lines = [re.sub(r"(^|\s+)#.*", "", " ".join(line.split())) for line in (fenced or indented).splitlines()]
            if language in ("", "bash"):
                blocks.append([line for line in lines if line and (language or _PROGRAM.match(f"{line} "))])
    return blocks


def command_lines(pattern=""):
    """Command lines that match, each one once."""
    return list(dict.fromkeys(line for block in command_blocks() for line in block if re.search(pattern, line)))


def lines_of(kind):
    """Command lines of a kind."""
    return command_lines(f"^(?:{KINDS[kind]})")


def entered(line):
    """The lines that stand before a command line in its block, and enter what it needs."""
    (block, *_) = (block for block in command_blocks() if line in block)
    return [each for each in block[: block.index(line)] if re.match(KINDS["entering"], each)]


def named_commands():
    """Commands between backquotes in the text, which may lack arguments."""
    for page, text in documents():
        if page != "CHANGELOG.md":  # where there may be names of earlier versions
            for command in re.findall(r"`([^`]+)`", _BLOCK.sub("", text)):
                command = " ".join(command.split())
                if _PROGRAM.match(f"{command} "):
                    yield command
