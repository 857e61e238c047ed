"""What a run starts from: which paths, models and centers are refused, and what the message says."""

import logging
import os
from types import SimpleNamespace

import mxnet as mx
import pytest

from partial_fc.checkpoint.center_files import save_centers
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run, StartOptions
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.symbol import get_symbol
from partial_fc.training import paths
from partial_fc.training.paths import check_paths, check_records
from partial_fc.training.pretrained import check_same_centers, load_pretrained, read_pretrained
from partial_fc.training.start import check_agreement

from helpers.shards import Shards

SIZE, EMBEDDING_SIZE = 112, 8


class Module:
    """Parameters of zeros, as of a FaceModule."""

    def __init__(self, network):
        symbol = get_symbol(network, EMBEDDING_SIZE)
        shapes, _, states = symbol.infer_shape(data=(1, 3, SIZE, SIZE))
        self.arg_params = dict(zip(symbol.list_arguments(), map(mx.nd.zeros, shapes)))
        del self.arg_params["data"]
        self.aux_params = dict(zip(symbol.list_auxiliary_states(), map(mx.nd.zeros, states)))

    def broadcast_parameters(self):
        pass


def config_of(network, *arguments, embedding_size=EMBEDDING_SIZE):
    return from_command_line(
        ["--network", network, *arguments, f"--set=embedding_size={embedding_size}", f"--set=image_size={SIZE}"]
    )


def run_of(*arguments, num_classes=6, **sizes):
    return Run(config_of(*arguments, **sizes), "models", num_classes)


def save(path, network, rename=lambda name: name, **more):
    """Parameters of ones under other names; None leaves one out."""
    module = Module(network)
    arrays = {}
    for kind, parameters in (("arg:", {**module.arg_params, **more}), ("aux:", module.aux_params)):
        arrays.update({kind + rename(name): array + 1 for name, array in parameters.items() if rename(name)})
    mx.nd.save(f"{path}-0000.params", arrays)


def start_from(path, network):
    module = Module(network)
    run = run_of(network, "--pretrained", str(path))
    load_pretrained(run, Communicator(), module, read_pretrained(run, rank=0))
    return module


def test_model_of_the_same_network(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="partial_fc")
    save(tmp_path / "m", "demo")
    module = start_from(tmp_path / "m", "demo")
    assert all((array.asnumpy() == 1).all() for array in {**module.arg_params, **module.aux_params}.values())
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["30 of the network's 30 parameters"]


def test_what_is_missing_and_surplus_is_listed(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="partial_fc")
    save(tmp_path / "m", "demo", lambda name: name if name[:4] != "fc1_" else None, fc7_weight=mx.nd.ones(3))
    module = start_from(tmp_path / "m", "demo")
    assert (module.arg_params["stage1_conv_weight"].asnumpy() == 1).all()
    assert not module.arg_params["fc1_beta"].asnumpy().any()
    (_, _, found), (_, level, missing), (_, _, surplus) = caplog.record_tuples
    assert "26 of the network's 30 parameters" in found
    assert level == logging.WARNING and missing.endswith(": fc1_gamma, fc1_beta, fc1_moving_mean, fc1_moving_var")
    assert surplus.endswith("skipping parameters that are not in this network: fc7_weight")


def test_a_model_of_a_network_with_options(tmp_path):
    symbol = get_symbol("r18", EMBEDDING_SIZE, net_se=1)
    shapes, _, _ = symbol.infer_shape(data=(1, 3, SIZE, SIZE))
    arrays = {f"arg:{name}": mx.nd.ones(shape) for name, shape in zip(symbol.list_arguments(), shapes)}
    mx.nd.save(f"{tmp_path / 'm'}-0000.params", arrays)
    start = ["--pretrained", str(tmp_path / "m")]
    loaded = read_pretrained(run_of("r18", *start, "--set", "net_se=1"), rank=0)
    assert "stage1_unit1_se_conv1_weight" in loaded
    named = ["--set", "net_name=resnet", "--set", "num_layers=18", "--set", "net_se=1"]  # as a published file names it
    assert set(read_pretrained(run_of("demo", *start, *named), rank=0)) == set(loaded)
    with pytest.raises(InputError, match="of --network r18 .*, not of --network r34"):
        read_pretrained(run_of("r34", *start, "--set", "net_se=1"), rank=0)


def test_hundreds_of_names_are_shortened(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="partial_fc")
    save(tmp_path / "m", "demo", **{f"other{number}_gamma": mx.nd.ones(1) for number in range(300)})
    start_from(tmp_path / "m", "demo")
    message = caplog.messages[-1]
    assert "other0_gamma, other1_gamma, " in message and message.endswith(" ... and 270 more")


@pytest.mark.parametrize(
    "written, network, message",
    [
        (dict(network="r34"), "r18", r"of --network r34 \(0 names .* differ\), not of --network r18 \(120 differ\)"),
        (dict(network="r18"), "r34", r"of --network r18 \(0 names .*, not of --network r34 \(120 differ\)"),
        (dict(network="r18"), "demo", "of --network r18"),
        (
            dict(network="demo", rename=lambda name: "module." + name),
            "demo",
            r"none of the weights of --network demo: the file holds 30 parameters \(module\.stage1_conv_weight, .*, "
            r"the network has 30 \(stage1_conv_weight, .*: the file's names begin with 'module\.'; save .* without it",
        ),
        (dict(network="r18", rename=lambda name: "resnetv1_" + name), "r18", "the file's names begin with 'resnetv1_'"),
        (dict(network="demo", rename=lambda name: name[::-1]), "demo", "the file holds 30 .*the network has 30"),
        (
            dict(network="demo", rename=lambda name: None if name.endswith("_weight") else name),
            "demo",
            "none of the weights of --network demo, only 25 parameters of batch norms and biases: the file holds 25 ",
        ),
        (
            dict(network="r18", rename=lambda name: "net_" + name if name.endswith("_weight") else name),
            "r18",
            "none of the weights of --network r18, only .* parameters of batch norms and biases: the file holds",
        ),
    ],
)
def test_model_with_nothing_in_common_is_refused(written, network, message, tmp_path):
    save(tmp_path / "m", **written)
    with pytest.raises(InputError, match=f"^--pretrained .*/m: .*{message}"):
        start_from(tmp_path / "m", network)


def test_centers_of_other_classes_begin_with_their_option(tmp_path):
    save_centers(str(tmp_path), MemoryBank(5, EMBEDDING_SIZE, Communicator()), 1)
    run = run_of("demo", "--centers", str(tmp_path), num_classes=6)
    with pytest.raises(InputError, match="^--centers .*: centers of 5 classes of size 8, this run has 6 of size 8"):
        read_pretrained(run, rank=0)


def test_hosts_must_have_the_same_centers(tmp_path):
    def save_on(host, seed, ranks):
        os.makedirs(tmp_path / host)
        for comm in (SimpleNamespace(rank=rank, world_size=2) for rank in ranks):
            save_centers(str(tmp_path / host), MemoryBank(6, EMBEDDING_SIZE, comm, seed=seed), 2)

    for host, seed, ranks in (("a", 0, [0, 1]), ("same", 0, [0, 1]), ("part", 0, [1]), ("b", 1, [1])):
        save_on(host, seed, ranks)

    def check(comm, other):
        check_same_centers(str(tmp_path / ["a", other][comm.rank]), comm)

    for other in ("same", "part"):
        Shards(2).run(lambda comm, other=other: check(comm, other))
    expected = "checksum of --centers centers-00001-of-00002.safetensors is .* here, .* on rank 0"
    with pytest.raises(CollectiveError, match=expected):
        Shards(2).run(lambda comm: check(comm, "b"))
    (tmp_path / "same" / "manifest.json").write_text("of another checkpoint")
    (tmp_path / "a" / "manifest.json").write_text("of this checkpoint")
    with pytest.raises(CollectiveError, match="checksum of --centers manifest.json is"):
        Shards(2).run(lambda comm: check(comm, "same"))


def test_model_of_other_shapes_is_refused(tmp_path):
    save(tmp_path / "m", "demo")
    run = run_of("demo", "--pretrained", str(tmp_path / "m"), embedding_size=EMBEDDING_SIZE + 1)
    with pytest.raises(InputError, match=r"pre_fc1_weight has shape \(8, .*, this network's has \(9, "):
        read_pretrained(run, rank=0)
    assert read_pretrained(run, rank=1) == {}  # rank 0 reads for all


@pytest.mark.parametrize("option", StartOptions._fields)
def test_ranks_must_start_with_the_same_options(option):
    def start(comm):
        check_agreement(config_of("demo"), StartOptions(**{option: comm.rank == 0}), comm)

    with pytest.raises(CollectiveError, match=f"rank 1: the setting of {option} is False here, True on rank 0"):
        Shards(2).run(start)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Current folder with a file, a models root and centers of the published system."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARTIAL_FC_DATA", raising=False)
    (tmp_path / "file").write_text("")
    checkpoint = tmp_path / "root" / "checkpoints" / "update-000000007"
    checkpoint.mkdir(parents=True)
    (checkpoint / "centers-00000-of-00001.safetensors").write_text("")
    (checkpoint / "manifest.json").write_text("{}")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "0_centers.param").write_text("")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "train.rec").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--resume nope", "--resume nope: no such folder"),
        ("--set resume=nope", "--resume nope: no such folder"),
        ("--resume old", "--resume old: not a checkpoint, it has no manifest.json"),
        (
            "--resume root",
            "--resume root: has several checkpoints; name one, such as root/checkpoints/update-000000007",
        ),
        (
            "--resume root/checkpoints",
            "--resume root/checkpoints: has several checkpoints; name one, such as root/check",
        ),
        ("--pretrained nope", "--pretrained nope: no file nope-0000.params: PREFIX[,EPOCH] stands for"),
        ("--pretrained nope,3", "--pretrained nope,3: no file nope-0003.params"),
        (
            "--pretrained a-b-0012.params",
            "--pretrained a-b-0012.params: no file a-b-0012.params-0000.params; for that file "
            "write a-b,12: PREFIX[,EPOCH] stands for",
        ),
        ("--pretrained root/x,²", "--pretrained root/x,²: no file root/x,²-0000.params"),
        ("--centers nope", "--centers nope: no such folder"),
        ("--centers faces", "--centers faces: has no centers"),
        (
            "--centers root",
            "--centers root: has the centers of several checkpoints: name one of them, such as root/checkp",
        ),
        (
            "--centers old",
            "--centers old: has centers of the published system: convert them with `partial-fc centers imp",
        ),
        ("--bank-dir file", "--bank-dir file: "),
        ("--bank-dir file/below", "--bank-dir file/below: "),
        ("--models-root file", "--models-root file: "),
        ("--models-root file/below", "--models-root file/below: "),
        ("--rec nope", "--rec nope: no such file"),
        ("--rec root", "--rec root: a folder without train.rec"),
        ("--rec faces", "--rec faces: a folder; name the file faces/train.rec"),
        (
            "--dataset emore",
            "--dataset emore: no file data/faces_emore/train.rec: set $PARTIAL_FC_DATA to the folder that "
            "has faces_emore/, or name the file: --rec PATH/train.rec",
        ),
    ],
)
def test_wrong_paths_begin_with_their_option(arguments, message, folder):
    config = from_command_line(arguments.split())
    before = sorted(os.listdir(folder))
    with pytest.raises(InputError) as error:
        check_paths(config, config.models_root or "models", rank=0)
    assert str(error.value).startswith(message) and sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("option", ["--bank-dir", "--models-root"])
def test_folders_that_cannot_be_written_to(option, folder, monkeypatch):
    monkeypatch.setattr(paths.os, "access", lambda *_: False)  # root may write everywhere
    config = from_command_line([option, "new/below", "--rec", "faces/train.rec"])
    with pytest.raises(InputError, match=f"{option} new/below: no permission to write to {folder}$"):
        check_paths(config, config.models_root or "models", rank=0)


@pytest.mark.parametrize(
    "arguments",
    [
        "--resume auto",
        "--resume root/checkpoints/update-000000007",
        "--rec faces/train.rec",
        "--dataset 100w",
        "--bank-dir new/bank --models-root new/root",
    ],
)
def test_right_paths(arguments, folder):
    config = from_command_line(arguments.split())
    check_paths(config, config.models_root or "models", rank=0)


def test_reading_images_only_needs_the_records_alone(folder):
    config = from_command_line("--io-only --resume nope --dataset demo".split())
    check_records(config)
    with pytest.raises(InputError, match="--resume nope"):
        check_paths(config, "models", rank=0)


@pytest.mark.parametrize("start", ["--pretrained=nope", "--centers=nope"])
def test_a_run_that_continues_does_not_need_what_it_began_with(start, tmp_path):
    config = config_of("demo", start, "--models-root", str(tmp_path / "root"), "--resume", "auto")
    with pytest.raises(InputError, match=start[:8]):
        check_paths(config, config.models_root, rank=0)
    (tmp_path / "root" / "checkpoints" / "update-000000003").mkdir(parents=True)
    check_paths(config, config.models_root, rank=0)
