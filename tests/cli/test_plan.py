import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

import mxnet as mx
import numpy as np
import pytest

from partial_fc.cli.main import main
from partial_fc.cli.plan_setting import quantity
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.data.batches import Batch
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import WRONG_INPUT, InputError
from partial_fc.planning import memory, plan
from partial_fc.training.build import build

GIB = 2**30
DEMO = "--network", "demo", "--precision", "float16"


def lines_of(capsys, *arguments):
    assert main(["plan", *DEMO, *arguments]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("text, number", [("10M", 10**7), ("360k", 360_000), ("85742", 85742), ("1.5M", 1_500_000)])
def test_quantity(text, number):
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "M", "0", "-1", "1.5", "ten", "nan", "infk"])
def test_no_quantity(text, capsys):
    with pytest.raises(SystemExit) as end:
        main(["plan", f"--identities={text}"])
    assert end.value.code == WRONG_INPUT and "--identities: expected a whole number" in capsys.readouterr().err


def test_text_and_json_have_the_same_figures(capsys, tmp_path):
    path = tmp_path / "plan.json"
    lines = lines_of(capsys, "--sample-ratio", "0.1", "--json", str(path))
    value = json.loads(path.read_text())
    assert lines[0].startswith("1,000,000 identities, demo, 64 images per rank, float16, sample ratio 0.1")
    assert any(re.match(rf"  all +{value['total_mib']:,.0f}   of 32,510: fits", line) for line in lines)
    assert any(line.startswith(f"{value['images_per_second']:,.0f} images per second, bound by") for line in lines)
    assert value["total_mib"] == pytest.approx(sum(value["memory_mib"].values()))
    assert value["seconds"] == pytest.approx(sum(part["exposed"] for part in value["parts"].values()))


def test_sweep_prints_and_draws(capsys, tmp_path):
    path = tmp_path / "sweep.png"
    lines = lines_of(capsys, "--sample-ratio", "0.1", "--sweep", "gpus=8..32", "--plot", str(path))
    table = [line for line in lines if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in table[2:]] == ["8", "16", "32"]
    assert len({row.count("|") for row in table}) == 1
    assert path.read_bytes().startswith(b"\x89PNG")
    assert any("With sampling, the" in line for line in lines)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--gpu", "h100"], "--gpu h100: one of"),
        (["--network", "r51"], "--network r51"),
        (["--precision", "bfloat16"], "--precision bfloat16"),
        (["--gpu", "cpu", "--precision", "float16"], "--precision float16"),
        (["--sample-ratio", "0"], "--sample-ratio 0"),
        (["--network-gbit", "0"], "--network-gbit 0"),
        (["--sweep", "batch=1..2"], "--sweep batch=1..2: expected gpus="),
        (["--sweep", "gpus=x..2"], "--sweep gpus=x..2: expected a whole number"),
        (["--sweep", "gpus=64..8"], "--sweep gpus=64..8: 64 is above 8"),
        (["--plot", "/nowhere/x.png"], "--plot /nowhere/x.png"),
        (["--plot", "x.png"], "--plot x.png: needs --sweep"),
        (["--identities", "100M"], "more than an MXNet array can hold"),
        (["--measure", "two"], "--measure two: expected a whole number"),
    ],
)
def test_wrong_arguments_are_one_error(arguments, message, capsys):
    assert main(["plan", *arguments]) == WRONG_INPUT
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and message in printed and printed.count("\n") == 1


def run_of(num_classes):
    arguments = "--dataset", "100w", "--network", "demo", "--set", f"num_classes={num_classes}", "--sample-ratio", "0.1"
    return Run(from_command_line([*arguments, "--batch-size", "8"]), "models", num_classes)


def peak_of_updates(num_classes):
    """Bytes that a run has taken at most after two updates, with all libraries; for a process of its own."""
    module = build(run_of(num_classes), Communicator(), mx.cpu())
    images, labels = np.zeros((8, 112, 112, 3), np.uint8), np.arange(8)
    for number in range(2):
        module.update(Batch(images, labels, labels), number, 0.1, 0.1)
    mx.nd.waitall()
    return memory.own_memory("VmHWM")


def test_the_largest_run_runs_and_one_step_more_is_refused_with_the_same_numbers(capsys, monkeypatch, tmp_path):
    free = GIB
    for module in (plan, memory):
        monkeypatch.setattr(module, "available_memory", lambda: free)
    monkeypatch.setattr(memory, "own_memory", lambda: 0)
    asked = "--gpu", "cpu", "--gpus", "1", "--batch-size", "8", "--sample-ratio", "0.1", "--precision", "float32"
    path = tmp_path / "fit.json"
    lines = lines_of(capsys, *asked, "--fit", "--json", str(path))
    found = json.loads(path.read_text())
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        assert process.submit(peak_of_updates, found["identities"]).result() < free
    with pytest.raises(InputError) as refused:
        build(run_of(found["next_identities"]), Communicator(), mx.cpu())
    (line,) = [line for line in lines if line.startswith("the next number")]
    need = re.search(r"1 rank needs [^)]*\)", line)[0]
    assert need in str(refused.value)
