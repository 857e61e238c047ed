"""The preset `lfw`: an error says how to make its records, and what it says works."""

import re
import shlex

import pytest

from partial_fc.cli.data import main as commands
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import load_presets
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_file import RecordFile
from partial_fc.errors import InputError
from partial_fc.training.paths import check_paths

from helpers.faces import face

PEOPLE, IMAGES = 25, 21  # a fifth of the people has 1,000 pairs


def missing(config):
    with pytest.raises(InputError) as error:
        check_paths(config, "models", rank=0)
    return str(error.value)


def test_the_commands_of_the_error_make_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTIAL_FC_DATA", str(tmp_path / "my data"))
    monkeypatch.chdir(tmp_path)
    config = from_command_line(["--dataset", "lfw", "--network", "mobilefacenet"])
    message = missing(config)
    assert message.startswith(
        f"--dataset lfw: no file {tmp_path}/my data/lfw/train.rec: nothing is downloaded: get the"
    )
    for person in range(PEOPLE):
        (tmp_path / "IMAGES" / f"Name_{person}").mkdir(parents=True)
        for image in range(IMAGES):
            encoded = encode_jpeg(face(person, image, 112))
            (tmp_path / "IMAGES" / f"Name_{person}" / f"Name_{person}_{image:04d}.jpg").write_bytes(encoded)
    lines = re.findall("`partial-fc data (.*?)`", message)
    assert [commands.main(shlex.split(line)) for line in lines] == [0, 0]
    check_paths(config, "models", rank=0)
    assert RecordFile(config.rec).num_identities == PEOPLE - PEOPLE // 5


def test_other_data_sets_have_no_such_words():
    assert set(load_presets().RECORDS) <= set(load_presets().DATASETS)
    assert "set $PARTIAL_FC_DATA to the folder" in missing(from_command_line(["--dataset", "emore"]))


def test_a_file_of_presets_that_has_no_such_words(tmp_path):
    with open(load_presets().__file__) as file:
        (tmp_path / "mine.py").write_text(re.sub(r"(?s)\nRECORDS = .*?\n}\n", "\n", file.read()))
    config = from_command_line(["--presets", str(tmp_path / "mine.py"), "--dataset", "lfw"])
    assert "set $PARTIAL_FC_DATA to the folder" in missing(config)
