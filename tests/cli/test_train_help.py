"""`partial-fc train --help` shows every key, with default, unit and values, and examples that work."""

import re
import shlex

import pytest

from partial_fc.cli.train_arguments import from_command_line, parser, read_command_line
from partial_fc.cli.train_help import page
from partial_fc.config import NAMES, StartOptions, load_presets
from partial_fc.config_keys import KEYS, defaults


def help_text():
    return " ".join(parser().format_help().split())


def test_help_has_every_key_with_meaning_unit_values_and_default():
    text = help_text()
    common = {**defaults(), **load_presets().common()}
    for key, entry in KEYS.items():
        of_preset = key in (*NAMES, "presets")
        assert (entry.flag if entry.option or of_preset else key) in text, key
        if not of_preset:
            shown = text[text.index(f" {entry.meaning} (") + len(entry.meaning) + 2 :]
            details = shown[: re.search(r"default: [^;]*?\)", shown).end()]
            assert entry.unit in details and (entry.values in details or entry.values == "text"), key
            if common.get(key) not in (None, "", []):
                assert f"default: {str(common[key]).lower()}" in details.lower(), key


def test_the_examples_of_the_help_are_command_lines_of_the_trainer():
    lines = parser().format_help().split("examples:")[1].splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("  ") and not line.startswith("      ")]
    assert len(commands) >= 3
    for words in commands:
        from_command_line(words[2:] if words[0] == "partial-fc" else words[words.index("--") + 1 :])


def test_the_page_has_a_row_for_every_key():
    rows = re.findall(r"^\| (?:`--[a-z-]+`, )?`([a-z_0-9-]+)` \|", page(), re.MULTILINE)
    assert [row.lstrip("-") for row in rows] == list(KEYS)


@pytest.mark.parametrize("option", StartOptions._fields)
def test_options_of_a_start_are_no_keys(option):
    config, options = read_command_line(["--" + option.replace("_", "-")])
    assert options == StartOptions(**{option: True}) and option not in config.to_dict()
    assert read_command_line([])[1] == StartOptions()
