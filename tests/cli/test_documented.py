"""No command line of README and docs escapes the tests; those that tests cannot run are accepted by their programs."""

import glob
import os
import re
import shlex

import pytest

from partial_fc.cli.data.main import parser as data
from partial_fc.cli.doctor import parser as doctor
from partial_fc.cli.main import parser as commands
from partial_fc.cli.plan import parser as plan

from helpers.documents import KINDS, command_blocks, command_lines, documents, lines_of, named_commands
from helpers.options import commands_of
from helpers.paths import ROOT


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def test_each_line_is_of_one_kind():
    of_kinds = [line for kind in KINDS for line in lines_of(kind)]
    assert sorted(of_kinds) == sorted(command_lines())


def test_each_kind_has_lines_and_a_test():
    paths = glob.glob(os.path.join(ROOT, "tests", "**", "test_*.py"), recursive=True)
    tests = "".join(map(text_of, paths))
    assert all(lines_of(kind) for kind in KINDS)
    assert [kind for kind in KINDS if f'lines_of("{kind}")' not in tests] == ["entering", "walk"]


def test_lines_of_other_blocks_are_found():
    """Without a language, after a variable, of a script: wherever a reader would type one."""
    lines = command_lines()
    for begin in (
        "PARTIAL_FC_KILL_TRIALS=",
        "setup-utils/install.sh",
        ". setup-utils",
        "exec bash",
        "partial-fc import",
    ):
        assert any(line.startswith(begin) for line in lines), begin
    assert not any("#" in line or "`" in line for line in lines)


def test_programs_in_blocks_are_in_lines():
    """A program's name in a block of code that is not Python's or a list of files is part of a command line."""
    found = "\n".join(line for block in command_blocks() for line in block)
    for page, text in documents():
        for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines() if language in ("", "bash") else ():
                if re.search(r"partial-fc [a-z]|python -m|(run|config)\.sh (-|ARGS)", line.partition(" # ")[0]):
                    command = " ".join(re.sub(r"\s+#.*", "", line).split())
                    assert command in found or page == "README.md" and "what every rank runs" in line, f"{page}: {line}"


@pytest.mark.parametrize("line", lines_of("long"))
def test_long_commands_are_accepted(line):
    words = shlex.split(line)
    _, command, *arguments = words[words.index("partial-fc") :]
    dict(data=data, doctor=doctor, plan=plan)[command]().parse_args(arguments)


@pytest.mark.parametrize("line", lines_of("tests"))
def test_commands_that_run_tests_name_files_and_variables(line):
    paths = re.findall(r"\btests\S*", line)
    assert paths and all(os.path.exists(os.path.join(ROOT, path)) for path in paths)
    variable = re.match(r"(\w+)=", line)
    assert not variable or variable[1] in text_of(paths[-1])


@pytest.mark.parametrize("line", lines_of("setup"))
def test_commands_that_install_have_the_options(line):
    if "install.sh" in line:
        words = line.partition("install.sh")[2].split()
        assert all(word in text_of("setup-utils", "install.sh") for word in words)
    elif line.startswith("pre-commit"):
        assert "repos:" in text_of(".pre-commit-config.yaml")


@pytest.mark.parametrize("command", sorted(set(named_commands())))
def test_commands_that_the_text_names_exist(command):
    program, *words = command.replace(" && ", " ").split()
    if program == "partial-fc" and words:
        names = [word for word in words if re.fullmatch(r"[a-z_0-9]+", word)]
        assert words[0] in commands_of(commands), command
        families = dict(data=data)
        assert words[0] not in families or set(names[1:2]) <= set(commands_of(families[words[0]]))
    for module in re.findall(r"python -m (benchmarks\.[a-z_]+|partial_fc\.\S+)", command):
        path = os.path.join(ROOT, "" if module.startswith("benchmarks") else "src", *module.split("."))
        assert os.path.isfile(f"{path}.py"), command
    for path in re.findall(r"(?<!\S)(?:setup-utils|tests|\.ci)/\S+", command):
        assert os.path.exists(os.path.join(ROOT, path)), command


def test_links_lead_to_a_page_and_a_heading():
    for page, text in documents():
        folder = os.path.dirname(os.path.join(ROOT, page))
        for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", text):
            path, _, heading = target.partition("#")
            path = os.path.join(folder, path) if path else os.path.join(ROOT, page)
            assert os.path.exists(path), f"{page}: {target}"
            if heading:
                with open(path, encoding="utf-8") as file:
                    headings = re.findall(r"^#+ (.*)$", file.read(), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
                assert heading in anchors, f"{page}: {target}"
