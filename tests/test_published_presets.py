"""A default.py of the published form, in place of ours or by --presets, does what it does in the published code."""

import glob
import os
import re

import pytest

from partial_fc import config as configuration
from partial_fc.cli.train_arguments import arguments, from_command_line, parser
from partial_fc.config import dataset_name, default_names, get_config, load_presets, own_records, published_precision
from partial_fc.config_keys import defaults
from partial_fc.errors import InputError
from partial_fc.training.network import network_name, network_symbol

from helpers.paths import ROOT

PUBLISHED = os.path.join(ROOT, "tests", "helpers", "published_default.py")
NOISE = ["--dataset", "noise", "--network", "r18"]


@pytest.fixture
def edited(tmp_path):
    """Function of (old, new): arguments that take a copy of the file in which a text is replaced."""

    def edit(old="", new=""):
        with open(PUBLISHED) as file:
            text = file.read()
        assert old in text
        path = tmp_path / "edited.py"
        path.write_text(text.replace(old, new))
        return ["--presets", str(path), *NOISE]

    return edit


@pytest.mark.parametrize("replaced", [True, False])
def test_every_published_key_has_its_meaning(replaced, monkeypatch):
    monkeypatch.setenv("FACES", "here/train.rec")
    monkeypatch.setenv("PARTIAL_FC_DATA", "/elsewhere")  # published paths are relative to the current folder
    if replaced:  # as default.py in the checkout
        monkeypatch.setattr(configuration, "PRESETS", PUBLISHED)
    option = [] if replaced else ["--presets", PUBLISHED]
    config = from_command_line([*option, "--dataset", "faces", "--network", "r18", "--loss", "arcface"])
    assert (config.loss_s, config.loss_m1, config.loss_m2, config.loss_m3) == (64.0, 1.0, 0.5, 0.0)
    assert (config.lr_steps, config.max_update, config.lr_factor) == ((4, 5), 6, 0.1)
    assert (config.source, config.rec) == ("records", os.path.abspath("here/train.rec"))
    assert (config.num_classes, config.val_targets, config.batch_size) == (20, ("val",), 8)
    assert (config.embedding_size, config.image_size, config.sample_ratio) == (16, 32, 1.0)
    assert (config.backbone_lr, config.memory_bank_lr, config.momentum, config.wd) == (0.1, 0.1, 0.9, 5e-4)
    assert (config.net_name, config.num_layers, network_name(config)) == ("resnet", 18, "r18")
    assert (config.precision, config.frequent, config.verbose, config.save_interval) == ("float32", 2, 1000, 10000)
    assert dataset_name(config) == "faces" and not own_records(config)


def test_the_published_defaults_of_the_command_line():
    names = {"loss": "cosface", "dataset": "emore", "network": "r100"}
    assert default_names(PUBLISHED) == names
    text = " ".join(parser(PUBLISHED).format_help().split())
    assert all(f"(default: {name})" in text for name in names.values())


def test_debug_is_synthetic_input():
    config = from_command_line(["--presets", PUBLISHED, *NOISE])
    assert (config.source, config.rec, config.val_targets, config.num_classes) == ("synthetic", "", (), 10000)
    assert (config.lr_steps, config.max_update) == ((100000, 160000), 180000)


def test_the_file_is_run_afresh_for_every_preset():
    first = from_command_line(["--presets", PUBLISHED, *NOISE])
    assert from_command_line(["--presets", PUBLISHED, "--dataset", "faces", "--network", "r18"]).source == "records"
    assert from_command_line(["--presets", PUBLISHED, *NOISE]) == first


@pytest.mark.parametrize(
    "old, new, key, value",
    [
        ("fp16 = False", "fp16 = True", "precision", "auto"),
        ("memonger = False", "memonger = 1", "memonger", True),
        ("bn_mom = 0.9", "bn_mom = 0.99", "bn_mom", 0.99),
        ("net_se = 0", "net_se = 1", "net_se", 1),
        ('"100000,160000"', "[10, 20]", "lr_steps", (10, 20)),
        ("workspace = 256", "workspace = 512", "workspace", 512),
        ("debug = 0", "momentum = 0.5", "momentum", 0.5),  # a key of ours
        ("debug = 0", "published_files = True", "published_files", True),
    ],
)
def test_edited_values(old, new, key, value, edited):
    assert getattr(from_command_line(edited(old, new)), key) == value


def test_fp16_is_named_where_it_has_chosen_the_precision(edited, monkeypatch):
    fp16 = edited("fp16 = False", "fp16 = True")
    assert published_precision(from_command_line(fp16)) == "fp16=True"
    assert published_precision(from_command_line([*fp16, "--precision", "bfloat16"])) == ""
    monkeypatch.setattr(configuration, "PRESETS", fp16[1])  # as default.py in the checkout
    assert published_precision(from_command_line(NOISE)) == "fp16=True"
    assert published_precision(from_command_line(edited("debug = 0", "precision = 'auto'"))) == ""
    monkeypatch.undo()
    assert published_precision(from_command_line(["--precision", "auto"])) == ""


@pytest.mark.parametrize(
    "old, new, node",
    [
        ("net_se = 0", "net_se = 1", "stage1_unit1_se_pool1"),
        ('net_act = "prelu"', 'net_act = "relu"', "relu0"),
        ("net_unit = 3", "net_unit = 1", "stage1_unit1_relu3"),
        ("net_input = 1", "net_input = 2", "bn_data"),
        ('net_output = "FC"', 'net_output = "GAP"', "pool1"),
    ],
)
def test_the_network_follows_its_keys(old, new, node, edited):
    changed, plain = (network_symbol(from_command_line(edited(*each))) for each in ((old, new), ()))
    assert f"{node}_output" in changed.get_internals().list_outputs()
    assert changed.tojson() != plain.tojson()


def test_numbers_of_layers_and_statistics_reach_the_network(edited):
    config = from_command_line([*edited("bn_mom = 0.9", "bn_mom = 0.75"), "--network", "rx50"])
    assert network_name(config) == "rx50" and '"momentum": "0.75"' in network_symbol(config).tojson()
    with pytest.raises(InputError, match="--network r18: unknown network 'r19': choose one of demo, "):
        network_symbol(from_command_line(edited("num_layers = 18", "num_layers = 19")))
    with pytest.raises(InputError, match="num_layers=34: is for net_name resnet or fresnext, not for r18"):
        network_symbol(from_command_line(["--network", "r18", "--set", "num_layers=34"]))


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"100000,160000"', '"soon"', r"edited.py: lr_steps='soon': expected updates, such as '100000,160000'"),
        ('"100000,160000"', '"20,10"', r"edited.py: lr_steps=\[20, 10\]: must ascend"),
        ("fp16 = False", "fp16 = 'yes'", "edited.py: fp16='yes': expected 0 or 1, False or True"),
        ("debug = 1", "debug = 2", "edited.py: debug=2: expected 0 or 1"),
        ("memonger = False", "memonger = 2", "edited.py: memonger=2: expected 0 or 1, False or True"),
        ("embedding_size = 16", "embedding_size = '16'", "edited.py: embedding_size='16': expected: whole number"),
        ("net_unit = 3", "net_unit = 4", r"edited.py: net_unit=4: must lie in \[1, 3\]"),
        ("net_se = 0", "net_sea = 0", "edited.py: lacks the key net_se"),
        ("net_se = 0", "net_se = 0; config.net_multiplier = 1", "edited.py: there is no key net_multiplier; the near"),
        ("config = EasyDict()", "config = edict()", r"edited.py, line 1\d: NameError: name 'edict'"),
        ("config.num_classes = 10000", "pass", "--dataset noise: generate_config of .* sets no config.num_classes"),
        ("config.num_layers = 18", "pass", "--network r18: generate_config of .* sets no config.num_layers"),
        ("config.debug = 1", "1 / 0", r"edited.py, line \d+: ZeroDivisionError"),
        ("config = EasyDict()", "config = EasyDict(); cfg = config", None),
        ("def generate_config", "def generate", "edited.py: has no get_config; a preset file has all that default.py"),
    ],
)
def test_errors_name_the_file_and_the_published_key(old, new, message, edited):
    argv = edited(old, new)
    if message is None:
        from_command_line(argv)
        return
    with pytest.raises(InputError, match=message):
        from_command_line(argv)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--dataset", "emore"], "--dataset emore: unknown; one of faces, noise, 1w$"),
        (
            ["--dataset", "noise", "--network", "r50"],
            "--network r50: unknown; one of r18, r100, rx50, or PREFIX of your own",
        ),
        ([*NOISE, "--loss", "softmax"], "--loss softmax: unknown; one of cosface, arcface$"),
        ([*NOISE, "--set", "fp16=true"], "--set fp16=true: no such key"),
        ([*NOISE, "--set", "presets=x"], "--set presets=x: presets depend on it; use --presets x"),
    ],
)
def test_unknown_names_come_with_those_of_the_file(argv, message):
    with pytest.raises(InputError, match=message):
        from_command_line(["--presets", PUBLISHED, *argv])


def test_a_file_that_is_missing():
    with pytest.raises(InputError, match="^--presets none.py: no such file$"):
        from_command_line(["--presets", "none.py"])


@pytest.mark.parametrize("length", range(1, 12))
def test_published_arguments_may_be_abbreviated(length):
    argv = []
    for option, value in (("dataset", "noise"), ("network", "r18"), ("loss", "arcface"), ("models-root", "there")):
        argv += ["--" + option[:length], value]
    config = from_command_line(["--presets", PUBLISHED, *argv])
    assert (config.dataset, config.network, config.loss, config.models_root) == ("noise", "r18", "arcface", "there")


def test_a_command_that_repeats_the_run_names_the_file():
    config = from_command_line(["--presets", PUBLISHED, *NOISE])
    assert arguments(config) == f"--presets {PUBLISHED} --dataset noise --network r18"
    assert arguments(from_command_line([])) == ""


def test_what_published_files_do_not_say_has_the_default():
    said = load_presets(PUBLISHED).common()
    values = get_config("arcface", "noise", "r18", PUBLISHED)
    unsaid = {key: value for key, value in defaults().items() if key not in said}
    assert {"momentum", "seed", "freeze"} < set(unsaid) and unsaid.items() <= values.items()


def test_the_help_lists_the_names_of_the_file():
    text = " ".join(parser(PUBLISHED).format_help().split())
    assert "faces, noise, 1w (default: emore)" in text and "key" in text


with open(os.path.join(ROOT, "docs", "from-the-published-code.md"), encoding="utf-8") as file:
    PAGE = file.read()


def test_the_documentation_has_every_published_key():
    module = load_presets(PUBLISHED)._module
    module.generate_config("arcface", "faces", "r18")
    section = PAGE.split("## Keys of `default.py`")[1].split("\n## ")[0]
    listed = {word for cell in re.findall(r"^\| (.*?) \|", section, re.M) for word in re.findall(r"`(\w+)", cell)}
    assert set(module.config) == listed


def test_the_tests_that_the_documentation_names_exist():
    names = set(re.findall(r"\b(test_\w+)`", PAGE)) | set(re.findall(r"tests/[\w/]+\.py", PAGE))
    files = glob.glob(os.path.join(ROOT, "tests", "**", "test_*.py"), recursive=True)
    text = "".join(open(path).read() for path in files)
    assert len(names) > 25
    for name in names:
        assert os.path.exists(os.path.join(ROOT, name)) if "/" in name else f"def {name}(" in text, name
