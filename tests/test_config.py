import dataclasses
import itertools
import os
import re

import pytest

from partial_fc import config as configuration
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.cli.train_help import page
from partial_fc.config import Run, get_config, load_presets, make_config, override
from partial_fc.config_keys import KEYS, SECTIONS, Config, defaults
from partial_fc.errors import InputError
from partial_fc.training.config_file import describe_changes

from helpers.cases import for_each

PRESETS = load_presets()
CHOICES = list(itertools.product(PRESETS.LOSSES, PRESETS.DATASETS, PRESETS.NETWORKS))


def demo():
    return get_config("cosface", "demo", "demo")


@for_each("loss, dataset, network", CHOICES)
def test_every_combination(loss, dataset, network):
    config = make_config(get_config(loss, dataset, network))
    assert (config.loss, config.dataset, config.network) == (loss, dataset, network)
    margin = {key: value for key, value in PRESETS.LOSSES[loss].items() if key not in PRESETS.DATASETS[dataset]}
    for key, value in {**margin, **PRESETS.DATASETS[dataset], **PRESETS.NETWORKS[network]}.items():
        assert config.to_dict()[key] == value


def test_presets_have_the_keys_without_default_and_get_the_others():
    for dataset in PRESETS.DATASETS:
        required = set(KEYS) - {"presets"} - set(defaults())
        assert required <= set(PRESETS.get_config("cosface", dataset, "r18"))
        assert set(get_config("cosface", dataset, "r18")) == set(KEYS) - {"presets"}


def test_defaults_are_values_of_their_keys_and_fresh_at_every_call():
    defaults()["freeze"].append("stage1.*")
    assert defaults()["freeze"] == [] and make_config({**get_config("cosface", "demo", "demo"), **defaults()})


def test_the_table_states_every_key():
    assert list(KEYS) == [field.name for field in dataclasses.fields(Config)] and set(SECTIONS.values()) <= set(KEYS)
    for entry in KEYS.values():
        assert entry.meaning and entry.values, entry.name


def test_the_documentation_is_what_the_table_prints():
    root = os.path.dirname(os.path.realpath(configuration.PRESETS))
    with open(os.path.join(root, "docs", "configuration.md")) as file:
        assert file.read() == page(), "write it: python -m partial_fc.cli.train_help > docs/configuration.md"


def test_a_configuration_is_frozen():
    config = from_command_line(["--set", "lr_steps=10,20"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.batch_size = 7
    with pytest.raises(AttributeError):
        config.lr_steps.append(7)
    copy = config.to_dict()
    copy["lr_steps"].append(7)
    assert config.lr_steps == (10, 20)


THREE = {"lfw", "cfp_fp", "agedb_30"}
SYNTHETIC = ([20000, 28000], 32000, set())


@pytest.mark.parametrize(
    "dataset, num_classes, lr_steps, max_update, val_targets",
    [
        ("webface", 10575, [20000, 28000], 32000, THREE),
        ("emore", 85742, [100000, 160000], 180000, THREE),
        (
            "glint360k_8GPU",
            360232,
            [200000, 400000, 500000, 550000],
            600000,
            THREE | {"calfw", "cfp_ff", "cplfw", "vgg2_fp"},
        ),
        ("glint360k_16GPU", 360232, [200000, 280000, 360000], 400000, THREE),
        ("100w", 10**6, *SYNTHETIC),
        ("1000w", 10**7, *SYNTHETIC),
        ("2000w", 2 * 10**7, *SYNTHETIC),
        ("3000w", 3 * 10**7, *SYNTHETIC),
        ("10000w", 10**8, *SYNTHETIC),
    ],
)
@for_each("network", ["r18", "r50", "r100"])
def test_presets_are_the_published_ones(network, dataset, num_classes, lr_steps, max_update, val_targets):
    for loss, margin in (("arcface", (64, 1, 0.5, 0)), ("cosface", (64, 1, 0, 0.4))):
        config = get_config(loss, dataset, network)
        assert (config.loss_s, config.loss_m1, config.loss_m2, config.loss_m3) == margin
        assert (config.num_classes, config.lr_steps, config.max_update) == (num_classes, lr_steps, max_update)
        assert set(config.val_targets) == val_targets and len(config.val_targets) == len(val_targets)
        assert (config.backbone_lr, config.memory_bank_lr, config.lr_factor) == (0.1, 0.1, 0.1)
        assert (config.momentum, config.wd, config.bias_decay, config.initializer) == (0.9, 5e-4, True, "normal")
        assert (config.batch_size, config.sample_ratio) == (64, 1.0)
        assert (config.embedding_size, config.image_size, config.net_output) == (512, 112, "FC")
        assert (config.frequent, config.verbose, config.save_interval, config.flip) == (20, 2000, 10000, True)


def test_presets_are_fresh_at_every_call():
    for presets in (PRESETS, configuration):
        before = dict(presets.get_config("cosface", "demo", "demo"))
        changed = presets.get_config("cosface", "demo", "demo")
        changed.lr_steps.append(7)
        changed.val_targets.clear()
        changed.batch_size += 1
        assert dict(presets.get_config("cosface", "demo", "demo")) == before != dict(changed)


def test_an_edited_preset_file_is_seen(tmp_path):
    with open(configuration.PRESETS) as file:
        text = file.read()
    path = tmp_path / "default.py"
    for value in (71, 72):
        path.write_text(re.sub(r"\bbatch_size=\d+", f"batch_size={value}", text))
        os.utime(path, (value, value))  # Python keeps what it compiled until the time or the size changes
        assert load_presets(str(path)).get_config("cosface", "demo", "demo").batch_size == value


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A preset file of the user's: function of how a line of the file is changed."""

    def edit(change):
        with open(configuration.PRESETS) as file:
            lines = [change(line) for line in file]
        (tmp_path / "default.py").write_text("".join(lines))
        monkeypatch.setattr(configuration, "PRESETS", str(tmp_path / "default.py"))

    return edit


@pytest.mark.parametrize("key", ["sample_ratio", "image_size", "rec"])
def test_a_preset_file_that_lacks_a_key_is_named(key, edited):
    edited(lambda line: "" if line.strip().startswith(key + "=") else line)
    with pytest.raises(InputError, match=f"default.py: lacks the key {key}, which this version needs"):
        from_command_line(["--dataset", "100w"])  # which has no rec of its own


def test_a_preset_file_with_a_key_of_its_own_is_named(edited):
    edited(lambda line: line.replace("batch_size=", "momentun=1, batch_size="))
    with pytest.raises(InputError, match="default.py: there is no key momentun; the nearest is momentum$"):
        from_command_line([])


@pytest.mark.parametrize(
    "old, new, message",
    [("batch_size=64", "batch_size=", "SyntaxError: "), ("batch_size=64", "batch_size=many", "NameError: name 'many'")],
)
def test_an_error_in_a_preset_file_is_named_with_its_line(old, new, message, edited):
    edited(lambda line: line.replace(old, new))
    with pytest.raises(InputError, match=rf"default.py, line [1-9]\d*: {message}"):
        from_command_line([])


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("batch_size=64", "batch_size=0", "batch_size=0: must be at least 1"),
        ("batch_size=64", "batch_size='64'", "batch_size='64': expected: whole number, at least 1"),
        ("net_output=", "net_output='Z' or ", "net_output='Z': must be one of FC, .*GDC"),
    ],
)
def test_a_wrong_value_in_a_preset_file_is_named_with_the_file(old, new, message, edited):
    edited(lambda line: line.replace(old, new))
    with pytest.raises(InputError, match=f"default.py: {message}$"):
        from_command_line([])
    if "batch" in old:
        assert from_command_line(["--batch-size", "8"]).batch_size == 8


@pytest.mark.parametrize(
    "names, option, known",
    [
        (("nothing", "demo", "demo"), "--loss nothing", "arcface, cosface, softmax"),
        (("cosface", "nothing", "demo"), "--dataset nothing", "demo"),
        (("cosface", "demo", "nothing"), "--network nothing", "demo, small, mobilefacenet, r18, r34"),
    ],
)
def test_unknown_names_come_with_the_choices(names, option, known):
    with pytest.raises(InputError, match=f"{option}: .*{known}"):
        get_config(*names)


@pytest.mark.parametrize(
    "assignment, key, value",
    [
        ("batch_size=8", "batch_size", 8),
        ("seed=-3", "seed", -3),
        ("wd=1e-4", "wd", 1e-4),
        ("wd=0", "wd", 0.0),
        ("net_output=E", "net_output", "E"),
        ("models_root=a=b", "models_root", "a=b"),
        ("models_root=", "models_root", ""),
        ("lr_steps=10,20", "lr_steps", [10, 20]),
        ("lr_steps=[10, 20]", "lr_steps", [10, 20]),
        ("lr_steps=10", "lr_steps", [10]),
        ("lr_steps=", "lr_steps", []),
        ("lr_steps=3e,20.5e", "lr_steps", ["3e", "20.5e"]),
        ("warmup_updates=2e", "warmup_updates", "2e"),
        ("warmup_updates=200", "warmup_updates", 200),
        ("max_epochs=20", "max_epochs", 20),
        ("val_targets=lfw,agedb_30", "val_targets", ["lfw", "agedb_30"]),
        ("val_targets=", "val_targets", []),
    ],
)
def test_override_reads_the_type_of_the_key(assignment, key, value):
    config = demo()
    override(config, [assignment])
    assert config[key] == value and type(config[key]) is type(value)
    unchanged = demo()
    assert all(config[other] == unchanged[other] for other in unchanged if other != key)


@pytest.mark.parametrize("text, value", [("true", True), ("False", False)])
def test_override_of_a_boolean(text, value):
    config = demo()
    config["bias_decay"] = not value
    override(config, [f"bias_decay={text}"])
    assert config["bias_decay"] is value
    with pytest.raises(InputError, match="--set flip=1: expected true or false"):
        override(config, ["flip=1"])


def test_names_in_a_list_stay_names_though_one_looks_like_a_number():
    config = demo()
    override(config, ["val_targets=lfw,2019"])
    assert config.val_targets == ["lfw", "2019"]


def test_updates_take_the_place_of_epochs_given_before():
    config = demo()
    override(config, ["max_epochs=20"])
    assert (config.max_epochs, config.max_update) == (20, 800)
    override(config, ["max_update=7"])
    assert (config.max_epochs, config.max_update) == (0, 7)


def test_a_preset_may_give_its_length_in_epochs_only():
    preset = {**demo(), "max_update": 0, "max_epochs": 20}
    assert make_config(preset).max_epochs == 20
    with pytest.raises(InputError, match="default.py: max_update=0: must be at least 1, unless max_epochs"):
        make_config({**preset, "max_epochs": 0})


def test_the_last_override_counts():
    config = demo()
    override(config, ["batch_size=8", "batch_size=9"])
    assert config.batch_size == 9


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("batch_sise=8", "no such key; did you mean batch_size?"),
        ("Seed=8", "no such key; did you mean seed?"),
        ("=8", "no such key"),
        ("batch_size", "expected key=value"),
        ("batch_size=eight", "expected a whole number"),
        ("batch_size=8.0", "expected a whole number"),
        ("batch_size=", "expected a whole number"),
        ("wd=much", "expected a number"),
    ],
)
def test_what_cannot_be_overridden(assignment, message):
    config = demo()
    with pytest.raises(InputError) as error:
        override(config, [assignment])
    assert str(error.value).startswith(f"--set {assignment}: ") and message in str(error.value)
    assert config == demo()


def test_command_line():
    config = from_command_line([])
    assert (config.dataset, config.network, config.loss) == ("demo", "demo", "cosface")
    assert (config.models_root, config.resume) == ("", "no")
    config = from_command_line("--network r18 --loss arcface --sample-ratio 0.1 --batch-size 7 --seed 3".split())
    assert (config.network, config.loss, config.loss_m2) == ("r18", "arcface", 0.5)
    assert (config.sample_ratio, config.batch_size, config.seed) == (0.1, 7, 3)
    config = from_command_line("--models-root there --set wd=1 --set momentum=0.5 --batch-size 5".split())
    assert (config.models_root, config.wd, config.momentum, config.batch_size) == ("there", 1.0, 0.5, 5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--batch-size eight", "--batch-size eight: expected a whole number"),
        ("--batch-size 0", "--batch-size 0: must be at least 1"),
        ("--dataset none", "--dataset none: unknown"),
        ("--set nokey=1", "did you mean"),
    ],
)
def test_wrong_command_line(arguments, message):
    with pytest.raises(InputError, match=message):
        from_command_line(arguments.split())


@pytest.mark.parametrize(
    "key, value",
    [
        ("embedding_size", 0),
        ("image_size", 0),
        ("batch_size", -1),
        ("max_update", 0),
        ("frequent", 0),
        ("verbose", 0),
        ("num_workers", 0),
        ("sample_ratio", 0.0),
        ("sample_ratio", 1.1),
        ("sample_ratio", float("nan")),
        ("sample_ratio", -0.5),
        ("device", "tpu"),
        ("lr_steps", [20, 10]),
        ("lr_steps", ["20e", "3e"]),
        ("lr_steps", ["1e", 20]),
        ("lr_steps", ["1"]),
        ("warmup_updates", -1),
        ("warmup_updates", 1.0),
        ("warmup_updates", "1"),
        ("lr_schedule", "linear"),
        ("lr_power", 0.0),
        ("max_epochs", -1),
        ("lr_steps", [10.0, 20.0]),
        ("lr_steps", 10),
        ("lr_steps", [-10, 20]),
        ("wd", 10**400),
        ("val_targets", "lfw"),
        ("batch_size", "64"),
        ("batch_size", 64.0),
        ("batch_size", True),
        ("flip", 1),
        ("wd", float("inf")),
        ("wd", None),
        ("rec", None),
    ],
)
def test_values_that_no_run_can_start_with(key, value):
    config = demo()
    make_config(config)
    config[key] = value
    with pytest.raises(InputError, match=f"default.py: {key}="):
        make_config(config)


@pytest.mark.parametrize(
    "assignment",
    [
        "warmup_updates=2.5",
        "lr_steps=soon",
        "lr_steps=10,soon",
        "network=r19",
        "net_output=Z",
        "num_classes=-1",
        "loss_s=0",
    ],
)
def test_other_values_that_no_run_can_start_with(assignment):
    key = assignment.split("=")[0]
    with pytest.raises(InputError, match=key):
        from_command_line(["--set", assignment])


@pytest.mark.parametrize(
    "key, value",
    [
        ("sample_ratio", 1.0),
        ("sample_ratio", 1e-6),
        ("device", "cpu"),
        ("device", "gpu"),
        ("lr_steps", [10, 10, 20]),
        ("lr_steps", ["3e", "20e"]),
        ("warmup_updates", 0),
        ("warmup_updates", "0.5e"),
        ("batch_size", 1),
    ],
)
def test_values_at_the_edge(key, value):
    config = demo()
    config[key] = value
    make_config(config)


def test_describe_shows_what_differs_from_the_preset():
    assert describe_changes(from_command_line([])) == ""
    changes = ["--batch-size", "77", "--set", "lr_steps=10,20", "--set", "val_targets="]
    assert describe_changes(from_command_line(changes)).splitlines() == [
        "",
        "  batch_size  77 (preset: 64)",
        "  lr_steps    [10, 20] (preset: [480, 680])",
        "  val_targets empty (preset: ['demo'])",
    ]


@pytest.mark.parametrize(
    "changes, line",
    [
        (["lr_power=3"], "lr_power 3.0 (preset: 1.0; no effect: lr_schedule is multistep)"),
        (["lr_power=3", "lr_schedule=poly"], "lr_power    3.0 (preset: 1.0)"),
        (
            ["lr_steps=1", "lr_schedule=cosine"],
            "lr_steps    [1] (preset: [480, 680]; no effect: lr_schedule is cosine)",
        ),
        (["sampling_correction=true"], "sampling_correction True (preset: False; no effect: sample_ratio is 1.0)"),
        (["sampling_correction=true", "sample_ratio=0.5"], "sampling_correction True (preset: False)"),
        (["interclass_filtering_mode=zero"], "zero (preset: exact; no effect: interclass_filtering is 0.0)"),
        (["adaface_h=0.3"], "adaface_h 0.3 (preset: 0.333; no effect: adaface_m is 0.0)"),
        (
            ["memory_bank_lr=1", "freeze_centers=true"],
            "memory_bank_lr 1.0 (preset: 0.1; no effect: freeze_centers is True)",
        ),
        (["margin_warmup=9"], "margin_warmup 9 (preset: 0)"),
        (["margin_warmup=9", "loss_m3=0"], "margin_warmup 9 (preset: 0; no effect: the loss has no margin)"),
        (["margin_warmup=9", "loss_m3=0", "adaface_m=0.4"], "margin_warmup 9 (preset: 0)"),
        *(
            (["source=synthetic", f"{key}={value}"], "no effect: source is synthetic)")
            for key, value in dict(
                num_workers=3,
                last_batch="pad",
                on_bad_record="skip",
                bad_record_share=0.1,
                flip="false",
                color_jitter=0.1,
                low_resolution=0.1,
                jpeg_compression=0.1,
                cutout=3,
            ).items()
        ),
    ],
)
def test_log_says_which_changed_keys_have_no_effect(changes, line):
    text = describe_changes(from_command_line([each for change in changes for each in ("--set", change)]))
    assert any(each.endswith(line) for each in text.splitlines()), text


def test_settings_in_force_have_what_the_run_has_found():
    config = from_command_line(["--batch-size", "7"])
    settings = Run(config, "models/demo", 350).settings()
    assert (config.num_classes, config.models_root) == (0, "")
    assert settings == {**config.to_dict(), "num_classes": 350, "models_root": "models/demo"}


def test_where_the_records_are(monkeypatch):
    monkeypatch.delenv("PARTIAL_FC_DATA", raising=False)
    emore = ["--dataset", "emore"]
    assert from_command_line(emore).rec == os.path.join("data", "faces_emore", "train.rec")
    monkeypatch.setenv("PARTIAL_FC_DATA", "/faces")
    assert from_command_line(emore).rec == "/faces/faces_emore/train.rec"
    assert from_command_line([*emore, "--rec", "own/train.rec"]).rec == "own/train.rec"


@pytest.mark.parametrize("option", [["--rec", "own/train.rec"], ["--set", "rec=own/train.rec"]])
def test_records_of_ones_own_take_the_place_of_those_the_demo_draws(option):
    assert from_command_line([]).source == "demo"
    config = from_command_line(option)
    assert (config.source, config.rec) == ("records", "own/train.rec")


def test_published_schedules():
    def schedule(dataset):
        config = get_config("cosface", dataset, "r100")
        return config.num_classes, config.lr_steps, config.max_update

    assert schedule("glint360k_8GPU") == (360232, [200000, 400000, 500000, 550000], 600000)
    assert schedule("glint360k_16GPU") == (360232, [200000, 280000, 360000], 400000)
    assert schedule("emore")[0] == 85742 and schedule("webface")[0] == 10575
    for n in (100, 1000, 2000, 3000, 10000):
        assert schedule(f"{n}w")[0] == n * 10000 and get_config("softmax", f"{n}w", "r18").source == "synthetic"
    config = get_config("arcface", "emore", "r50")
    assert config.backbone_lr == config.memory_bank_lr == config.lr_factor == 0.1
    assert (config.momentum, config.wd) == (0.9, 5e-4)
    assert (config.embedding_size, config.batch_size, config.loss_s, config.loss_m2) == (512, 64, 64, 0.5)


@pytest.mark.parametrize(
    "arguments", [["--loss=adaface", "--set=loss_m2=0.5"], ["--loss=arcface", "--set=adaface_m=0.4"]]
)
def test_two_margins_at_once_are_refused(arguments):
    with pytest.raises(
        InputError, match=f"^--set {arguments[1][6:]}: adaface_m=0.4 and loss_m2=0.5 exclude each other"
    ):
        from_command_line(arguments)
    from_command_line([*arguments, "--set=adaface_m=0"])


@pytest.mark.parametrize(
    "wrong", ["margin_warmup=-1", "adaface_m=-0.1", "adaface_h=0", "adaface_t_alpha=0", "adaface_t_alpha=2"]
)
def test_margins_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=f"^--set {wrong}: must "):
        from_command_line(["--loss=adaface", "--set", wrong])


def test_published_files_with_sub_centers_are_refused():
    with pytest.raises(InputError, match="^--set published_files=true: the published files hold one center per class"):
        from_command_line(["--set", "published_files=true", "--set", "sub_centers=3"])
    for wrong in ("sub_centers=0", "sub_centers=256", "sub_centers=1.5"):
        with pytest.raises(InputError, match=f"^--set {wrong}: "):
            from_command_line(["--set", wrong])


@pytest.mark.parametrize(
    "text, items",
    [
        ("stage[12].*,conv[0-9]", ["stage[12].*", "conv[0-9]"]),
        ("[a-c].*", ["[a-c].*"]),
        ("a{1,3},(b|c,d):0.1", ["a{1,3}", "(b|c,d):0.1"]),
        ("[stage1.*, conv0]", ["stage1.*", "conv0"]),
        ("[]", []),
        ("", []),
    ],
)
def test_brackets_of_patterns_stay(text, items):
    config = demo()
    override(config, [f"freeze={text}"])
    assert config.freeze == items
