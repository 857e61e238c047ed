"""Every command line in README and docs is accepted by its program; tests of `data` and `eval` run theirs."""

import importlib
import os
import re
import shlex

import pytest

from partial_fc.cli.centers import parser as centers
from partial_fc.cli.data.main import parser as data
from partial_fc.cli.doctor import parser as doctor
from partial_fc.cli.eval.main import parser as evaluate
from partial_fc.cli.export import export_parser
from partial_fc.cli.plan import parser as plan
from partial_fc.cli.report import parser as report
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.training.config_file import write_config

from helpers.documents import command_lines, documents
from helpers.options import options_of
from helpers.paths import ROOT

# Names for which readers put their own.
PLACEHOLDERS = {"K": "3", "N": "2", "F": "hosts", "S": "1", "I": "normal", "B": "true", "R": "0.1"}
PLACEHOLDERS.update(dict.fromkeys(("faces", "new-faces"), "webface"))  # presets that readers add
LINES = command_lines(r"^(bash|partial-fc|horovodrun|mpirun|python)\b")


def words_of(line):
    """Words of a command line with all that is optional in it, and with values for names like N."""
    line = re.sub(r"[\[\]]", "", line).partition(" & ")[0].partition(" && ")[0]
    words = [re.sub(r"(?<==)[A-Z]$", lambda found: PLACEHOLDERS[found[0]], word) for word in shlex.split(line)]
    return [PLACEHOLDERS.get(word, word) for word in words]


def launcher_accepts(words):
    """Its options are those of run.sh's usage."""
    with open(os.path.join(ROOT, "run.sh"), encoding="utf-8") as file:
        usage = re.search(r"usage: (.*?)\"", file.read())[1]
    for word in words:
        assert not word.startswith("-") or word in usage, f"run.sh does not have {word}"


@pytest.mark.parametrize("line", [line for line in LINES if re.search(r" (run|config)\.sh", line)])
def test_training(line, tmp_path):
    """The configuration is checked as at the start of a run; that of an earlier run is the demo's."""
    words = words_of(line)
    if "--config" in words:
        place = words.index("--config") + 1
        assert os.path.basename(words[place]) == "config.toml"
        words[place] = str(tmp_path / "config.toml")
        write_config(words[place], from_command_line([]), 1)
    script = next(index for index, word in enumerate(words) if word in ("run.sh", "config.sh"))
    arguments = words[script + 1 :]
    if words[script] == "run.sh":
        end = arguments.index("--") if "--" in arguments else len(arguments)
        launcher_accepts(arguments[:end])
        arguments = arguments[end + 1 :]
    if arguments not in (["ARGS"], ["--help"]):
        from_command_line(arguments)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("partial-fc")])
def test_commands(line):
    _, command, *arguments = words_of(line)
    if command == "train":
        from_command_line(
            [each if each != "./mobilenet" else "mobilefacenet" for each in arguments]
        )  # a file of readers
        return
    parsers = {"data": data, "eval": evaluate, "centers": centers, "doctor": doctor, "export": export_parser}
    parsers.update(report=report, plan=plan)
    parsers[command]().parse_args(arguments)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("python ")])
def test_programs(line, monkeypatch):
    """Programs exist, and those of the benchmarks have the options."""
    words = words_of(line)
    if words[1] != "-m":
        assert os.path.exists(os.path.join(ROOT, words[1]))
    elif words[2].startswith("benchmarks."):
        monkeypatch.syspath_prepend(ROOT)
        main = importlib.import_module(words[2]).main
        monkeypatch.setattr("sys.argv", words[2:])
        named = {name for names, _, _ in options_of(lambda: parsed(main)) for name in names}
        assert {word for word in words[3:] if word.startswith("--")} <= named
    else:
        assert importlib.util.find_spec(words[2])


class Parsed(Exception):
    """The command line has been read."""


def parsed(main):
    """Run a program until it has made its parser."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr("argparse.ArgumentParser.parse_args", stop)
        main()


def stop(*_):
    raise Parsed


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


def test_lines_of_all_programs_are_found():
    programs = {line.split()[0] for line in LINES}
    assert len(LINES) > 60 and {"bash", "partial-fc", "horovodrun", "mpirun", "python"} <= programs
