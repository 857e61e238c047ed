"""run.sh and config.sh as a user starts them."""

import csv
import json
import re
import sys

import mxnet as mx
import numpy as np
import pytest
from safetensors.numpy import load_file

from partial_fc.cli.train_arguments import parser

from helpers.faces import write_faces
from helpers.options import options_of
from helpers.paths import ROOT
from helpers.ranks import horovodrun, mpirun, run, succeed

SMALL = ["--set", "val_targets=val", "--set", "image_size=32", "--set", "embedding_size=16", "--set", "max_update=6"]
SMALL += ["--batch-size", "8", "--sample-ratio", "0.4", "--set", "frequent=2", "--set", "lr_steps=4"]
SMALL += ["--dataset", "demo", "--network", "demo", "--loss", "cosface", "--set", "verbose=5"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data"))


def train(prefix, data, folder, *arguments):
    """Train with a launcher; returns what the run left: losses as text, parameters and centers by name."""
    command = [*prefix, *SMALL, "--set", f"rec={data}", "--models-root", str(folder), *arguments]
    output = succeed(run(command, cwd=folder))
    with open(folder / "losses.csv") as file:
        losses = [row["loss"] for row in csv.DictReader(file)]
    assert len(losses) == 6 and "update 6/6" in output and "Try next" in output
    arrays = {name: array.asnumpy() for name, array in mx.nd.load(str(folder / "model-0000.params")).items()}
    for file in folder.glob("checkpoints/update-000000006/*.safetensors"):
        arrays.update({file.name + name: array for name, array in load_file(file).items()})
    return losses, arrays


@pytest.mark.parametrize(
    "ranks, others",
    [(1, [horovodrun(1)]), (3, [horovodrun(3)]), (2, [mpirun(2), horovodrun(2), horovodrun(2, "--gloo")])],
)
def test_same_seed_and_ranks_same_bits(ranks, others, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    losses, arrays = train(mpirun(ranks), data, folder)
    for other in others:
        other_losses, other_arrays = train(other, data, tmp_path_factory.mktemp("other"))
        assert other_losses == losses and set(other_arrays) == set(arrays), other
        assert all(np.array_equal(other_arrays[name], array) for name, array in arrays.items()), other
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["ranks"] == ranks and summary["updates"] == 6 and summary["images_per_second"] > 0
    keys = ("accuracy_pixels", "accuracy_untrained", "accuracy", "accuracy_best", "best_update")
    assert summary["verification"] == {"val": {key: summary[key] for key in keys}}
    assert all(0.4 <= summary[key] <= 1 for key in keys[:-1])
    symbol, arg_params, _ = mx.model.load_checkpoint(summary["files"]["model"], 0)
    assert symbol.list_outputs() == ["fc1_output"] and arg_params["pre_fc1_weight"].shape[0] == 16


@pytest.mark.parametrize("where", ["--bank=host", "--bank-dir=bank"])
def test_bank_on_the_host_same_bits(where, data, tmp_path_factory):
    losses, arrays = train(mpirun(2), data, tmp_path_factory.mktemp("device"))
    host_losses, host_arrays = train(mpirun(2), data, tmp_path_factory.mktemp("host"), where)
    assert losses == host_losses and all(np.array_equal(host_arrays[name], array) for name, array in arrays.items())


def test_run_that_cannot_fit_is_refused(tmp_path):
    arguments = ["--dataset=10000w", "--sample-ratio=0.01", "--set=val_targets=", "--set=embedding_size=512"]
    errors = fails(mpirun(2), *arguments, cwd=tmp_path)
    assert len(errors) == 1 and re.search(r"2 ranks need \d+\.\d+ GiB on this host \(centers 190\.73, ", errors[0])


def test_another_seed_other_losses(data, tmp_path_factory):
    runs = [train(mpirun(1), data, tmp_path_factory.mktemp("run"), "--seed", seed)[0] for seed in "01"]
    assert runs[0][0] != runs[1][0]


def test_fine_tuning_starts_from_the_model_on_every_rank(data, tmp_path_factory):
    folders = [tmp_path_factory.mktemp("run") for _ in range(2)]
    train(mpirun(2), data, folders[0])
    train(mpirun(2), data, folders[1], "--pretrained", f"{folders[0]}/model,0")
    first, second = (json.loads((folder / "summary.json").read_text()) for folder in folders)
    assert second["accuracy_untrained"] == first["accuracy"]


def fails(prefix, *arguments, cwd):
    """Errors that the ranks tell; the last of them is the end of the output, too."""
    process = run([*prefix, *SMALL, *arguments], cwd=cwd)
    # After this line horovodrun prints a traceback of its own.
    ours, _, _ = process.stdout.partition("Terminating remaining workers")
    assert process.returncode != 0 and "Traceback" not in ours, process.stdout
    *errors, last = [line for line in process.stdout.splitlines() if "error:" in line]
    _, _, end = process.stdout.rpartition(last)
    assert errors[-1].endswith(last) and re.fullmatch(r"\n(  rank \d+: .*\n)*", end), process.stdout
    return errors


def test_wrong_label_stops_all_ranks_and_says_so_once(data, tmp_path):
    errors = fails(mpirun(3), "--set", f"rec={data}", "--set", "num_classes=13", cwd=tmp_path)
    assert len(errors) == 1 and "record " in errors[0] and "outside [0, 13)" in errors[0]


@pytest.mark.parametrize("launcher", [mpirun(2), horovodrun(2, "--gloo")])
def test_missing_file_is_named(launcher, tmp_path):
    errors = fails(launcher, "--set", "rec=nowhere/train.rec", cwd=tmp_path)
    assert len(errors) == 1 and "nowhere/train.rec: no such file" in errors[0]


@pytest.fixture
def damaged(tmp_path):
    """A record file with some records overwritten."""
    path = write_faces(tmp_path)
    content = bytearray(open(path, "rb").read())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    open(path, "wb").write(content)
    return path


@pytest.mark.parametrize("launcher", [mpirun(2), horovodrun(2, "--gloo")])
@pytest.mark.parametrize(
    "more, message",
    [
        ([], r"train.rec: record \d+"),
        (
            ["--set", "on_bad_record=skip"],
            r"train.rec: record \d+ .*more than the maximum share bad_record_share=0.001",
        ),
        (["--io-only"], r"train.rec: record \d+"),
    ],
)
def test_bad_records_stop_all_ranks_and_are_named(launcher, more, message, damaged, tmp_path):
    errors = fails(launcher, "--set", f"rec={damaged}", "--set", "max_update=30", *more, cwd=tmp_path)
    assert len(errors) == 1 and re.search(message, errors[0])


def test_bad_records_are_skipped(damaged, tmp_path):
    """In an epoch each rank meets some of them; the summary counts those of both."""
    skip = ["--set", "on_bad_record=skip", "--set", "bad_record_share=0.5"]
    command = [*mpirun(2), *SMALL, "--set", f"rec={damaged}", "--set", "max_update=10", *skip]
    output = succeed(run([*command, "--models-root", str(tmp_path)], cwd=tmp_path))
    named = re.findall(r"skipped: .*train.rec: record (\d+)", output)
    assert named and "update 10/10" in output
    with open(tmp_path / "summary.json") as file:
        assert json.load(file)["skipped_records"] == len(set(named))


def test_unknown_key_names_the_nearest(tmp_path):
    process = run([*mpirun(2), *SMALL, "--set", "max_updates=3"], cwd=tmp_path)
    (line,) = process.stdout.splitlines()
    assert process.returncode == 2 and line.startswith("error: ") and "did you mean max_update?" in line


@pytest.mark.parametrize("launcher", [mpirun(2), horovodrun(2, "--mpi"), horovodrun(2, "--gloo")])
def test_wrong_arguments_end_with_their_cause(launcher, tmp_path):
    process = run([*launcher, "--epochs", "10"], cwd=tmp_path)
    assert process.returncode == 2 and process.stdout.count("error: ") == 1
    expected = "error: --epochs: no such option; the nearest is --set max_epochs=VALUE"
    assert process.stdout.splitlines()[-1].endswith(expected)


def all_options():
    """Every option of the trainer, and some that are horovodrun's, with values that are hard to hand on."""
    words = ["--verbose", "-np", "3", "--set", "verbose=3", "--network=x", "--", "-H", ""]
    for names, valued, key in options_of(parser):
        for name in names:
            words += [name, f"{key}=a  'b' \"c\" $d * \\n"] if valued else [name]
    return words


@pytest.mark.parametrize("controller", ["--mpi", "--gloo"])
def test_horovodrun_hands_on_every_option(controller, tmp_path):
    (tmp_path / "show.py").write_text("import json, sys; print('argv' + json.dumps(sys.argv[1:]) + 'end')")
    command = ["horovodrun", controller, "-np", "2", "-H", "localhost:2", sys.executable, "show.py"]
    output = succeed(run([*command, *all_options()], cwd=tmp_path))
    assert [json.loads(said) for said in re.findall("argv(.*?)end", output)] == [all_options()] * 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-np", "two"], "-np two is not a number"),
        (["-np"], "-np needs a value"),
        (["--host"], "--host is not an"),
        (["--hostfile", "nowhere"], "nowhere: no such file"),
        (["--hostfile=nowhere"], "nowhere: no such file"),
        (["--restarts", "x"], "--restarts x is not"),
        (["--network", "r18"], "stand behind --: bash run.sh -- --network"),
    ],
)
def test_run_sh_refuses_wrong_arguments(arguments, message, tmp_path):
    process = run(["bash", f"{ROOT}/run.sh", *arguments], cwd=tmp_path)
    usage, error = process.stdout.splitlines()
    assert process.returncode == 2 and usage.startswith("usage: bash run.sh")
    assert error.startswith("error: ") and message in error


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_run_sh_help(option, tmp_path):
    printed = succeed(run(["bash", f"{ROOT}/run.sh", "-np", "2", option], cwd=tmp_path))
    assert printed.startswith("Train with mpirun:") and "--hostfile" in printed and "set -" not in printed


@pytest.fixture
def hosts(tmp_path):
    """A host file as an editor of Windows leaves it."""
    (tmp_path / "hosts").write_bytes(b"\xef\xbb\xbflocalhost slots=2\r\n\r\n")
    return str(tmp_path / "hosts")


def test_host_files_of_every_editor(hosts, tmp_path):
    show = ["sh", "-c", "echo rank"]
    for launcher in (["horovodrun", "--mpi", "-np", "2"], ["horovodrun", "--gloo", "-np", "2"]):
        assert succeed(run([*launcher, "--hostfile", hosts, *show], cwd=tmp_path)).count("rank") == 2
    command = ["bash", f"{ROOT}/run.sh", "--hostfile", hosts, "--", "--set", "rec=/nowhere/train.rec"]
    last_line = run(command, cwd=tmp_path).stdout.splitlines()[-1]
    assert last_line.startswith("error: --rec /nowhere/train.rec: no such file")


def on_a_host_named(name, command, folder):
    """Run a command where this host has another name, which does not resolve."""
    rename = "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"
    return run(["unshare", "-u", sys.executable, "-c", rename, name, *command], cwd=folder)


@pytest.mark.skipif(
    run(["bash", "-c", "unshare -u true"]).returncode != 0, reason="another name of this host needs `unshare -u`"
)
@pytest.mark.parametrize("name", ["no-such.invalid", "no_such_host"])
def test_names_that_do_not_resolve(name, tmp_path):
    script = "from partial_fc.distributed.collectives import connect\n"
    script += "print(f'rank {connect().all_gather_object(1)}', flush=True)"
    (tmp_path / "two.py").write_text(script)
    program = ["bash", "-c", f". {ROOT}/config.sh; python two.py"]
    for launcher in (["mpirun", "--oversubscribe", "-np", "2"], ["horovodrun", "--mpi", "-np", "2"]):
        enter = ["bash", "-c", f'. {ROOT}/setup-utils/env.sh; "$@"', "_", *launcher]
        assert succeed(on_a_host_named(name, [*enter, *program], tmp_path)).count("[1, 1]") == 2
    # the launcher says it; and so does a rank of a host that the launcher does not know
    start = ["horovodrun", "--gloo", "-np", "2"]
    process = on_a_host_named(name, [*start, *program], tmp_path)
    (line,) = process.stdout.splitlines()
    assert process.returncode == 2 and line.startswith(f"error: the host's name {name} does not resolve")
    process = on_a_host_named(name, [f"{sys.prefix}/bin/horovodrun", *start[1:], *program], tmp_path)
    assert process.returncode and f"InputError: the host's name {name} does not resolve" in process.stdout
    assert "Segmentation fault" not in process.stdout
