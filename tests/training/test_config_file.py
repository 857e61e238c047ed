import json
import os

import pytest

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config_keys import KEYS
from partial_fc.errors import InputError
from partial_fc.training.config_file import read_config, write_config

from helpers.paths import ROOT

PUBLISHED = os.path.join(ROOT, "tests", "helpers", "published_default.py")

ODD = 'a "b" \\ \n \t \x7f 顔 ' + os.fsdecode(b"\xff") + " # = [x]"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--dataset", "emore", "--network", "r50", "--loss", "arcface", "--sample-ratio", "0.1"],
        ["--rec", ODD, "--pretrained", ODD, "--set", "val_targets=a,b c", "--set", "wd=1e-7", "--set", "flip=false"],
        ["--dataset", "100w", "--set", "lr_steps=1e,2.5e", "--set", "max_epochs=3", "--set", "warmup_updates=10"],
    ],
)
def test_a_file_gives_the_configuration_that_wrote_it(arguments, tmp_path):
    path = str(tmp_path / "config.toml")
    config = from_command_line(arguments)
    write_config(path, config, 3)
    assert set(read_config(path)) == set(KEYS) - {"models_root", "resume"}
    assert from_command_line(["--config", path]) == config


def test_paths_of_one_start_are_not_repeated(tmp_path):
    write_config(str(tmp_path / "c.toml"), from_command_line(["--models-root", "there", "--resume", "auto"]), 1)
    config = from_command_line(["--config", str(tmp_path / "c.toml")])
    assert (config.models_root, config.resume) == ("", "no")


def written(folder, text):
    (folder / "run.toml").write_text(text)
    return ["--config", str(folder / "run.toml")]


def test_keys_and_names_of_presets_are_read(tmp_path):
    arguments = written(
        tmp_path, 'loss = "arcface"\nnetwork = "r18"\nlr_steps = [10, 20]\nwd = 1\nrec = "my/train.rec"'
    )
    config = from_command_line(arguments)
    assert (config.loss, config.network, config.dataset, config.loss_m2) == ("arcface", "r18", "demo", 0.5)
    assert (config.lr_steps, config.wd, config.rec, config.source) == ((10, 20), 1.0, "my/train.rec", "records")


def test_the_command_line_overrides_the_file(tmp_path):
    arguments = written(tmp_path, 'batch_size = 7\nseed = 3\nwd = 0.5\nsource = "demo"\nmax_epochs = 2')
    config = from_command_line([*arguments, "--batch-size", "8", "--set", "wd=0.25", "--set", "max_update=9"])
    assert (config.batch_size, config.seed, config.wd) == (8, 3, 0.25)
    assert (config.max_epochs, config.max_update) == (0, 9)


def test_another_preset_on_the_command_line_brings_its_own_values(tmp_path):
    path = str(tmp_path / "config.toml")
    write_config(path, from_command_line(["--seed", "3", "--set", "max_update=9"]), 1)
    config = from_command_line(["--config", path, "--loss", "arcface"])
    expected = from_command_line(["--loss", "arcface", "--seed", "3", "--set", "max_update=9"])
    assert config == expected and config.loss_m2 == 0.5
    config = from_command_line(["--config", path, "--dataset", "emore"])
    assert config == from_command_line(["--dataset", "emore", "--seed", "3"])


def test_the_file_of_presets_is_recorded_and_may_be_another(tmp_path):
    path, names = str(tmp_path / "config.toml"), ["--dataset", "noise", "--network", "r18"]
    config = from_command_line(["--presets", PUBLISHED, *names, "--seed", "3"])
    write_config(path, config, 1)
    assert read_config(path)["presets"] == PUBLISHED and from_command_line(["--config", path]) == config
    (tmp_path / "edited.py").write_text(open(PUBLISHED).read().replace("embedding_size = 16", "embedding_size = 24"))
    edited = ["--presets", str(tmp_path / "edited.py")]
    assert from_command_line(["--config", path, *edited]) == from_command_line([*edited, *names, "--seed", "3"])


def test_names_that_the_file_lacks_are_of_the_command_line_or_the_presets(tmp_path):
    arguments = written(tmp_path, f'presets = {json.dumps(PUBLISHED)}\nlr_steps = [7]\nnetwork = "r18"')
    config = from_command_line([*arguments, "--dataset", "noise"])
    assert (config.dataset, config.network, config.loss, config.lr_steps) == ("noise", "r18", "cosface", (7,))
    with pytest.raises(InputError, match="--dataset emore: unknown; one of faces, noise"):  # the published default
        from_command_line(arguments)


@pytest.mark.parametrize(
    "text, message",
    [
        ("batch_sise = 8", "batch_sise: no such key; did you mean batch_size?"),
        ("batch_size = 0", "batch_size = 0: must be at least 1"),
        ('batch_size = "8"', 'batch_size = "8": expected: whole number'),
        ("batch_size = 8.0", "batch_size = 8.0: expected: whole number"),
        ("lr_steps = [-20, 10]", "lr_steps = [-20, 10]: must not be negative"),
        (f"wd = 1{400 * '0'}", "expected: number, at least 0"),
        (f"wd = 1{5000 * '0'}", "run.toml: "),  # more digits than Python reads
        ("lr_steps = [20, 10]", "lr_steps = [20, 10]: must ascend"),
        ("wd = nan", "wd = nan: expected: number"),
        ("wd = 1979-05-27", "wd = datetime.date(1979, 5, 27): expected: number"),
        ("loss = 3", "loss = 3: expected the name of a preset, in quotes"),
        ('loss = "none"', "unknown; one of arcface"),
        ("presets = 3", "presets = 3: expected the name of a file, in quotes"),
        ('presets = "none.py"', "--presets none.py: no such file"),
        ("[run]\nseed = 3", "[run]: expected lines KEY = VALUE without sections"),
        ("seed = 3\nseed = 4", "Cannot overwrite a value"),
        ("seed: 3", "line 1"),
        ('val_targets = ["../x"]', "val_targets"),
        ("flip = 1", "flip = 1: expected: true or false"),
    ],
)
def test_errors_name_file_and_key(text, message, tmp_path):
    with pytest.raises(InputError) as error:
        from_command_line(written(tmp_path, text))
    assert str(error.value).startswith(f"--config {tmp_path / 'run.toml'}") and message in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    for path, message in ((tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"^--config {path}: {message}"):
            from_command_line(["--config", str(path)])
    (tmp_path / "deep.toml").write_text("x = " + "[" * 100000)
    with pytest.raises(InputError, match="^--config .*deep.toml"):
        from_command_line(["--config", str(tmp_path / "deep.toml")])
