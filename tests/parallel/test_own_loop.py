"""The README's loop around the head, as it is printed there, and as other people write it."""

import os
import re

import pytest

from helpers.checkout import link_checkout
from helpers.documents import named_commands
from helpers.paths import ROOT
from helpers.ranks import LAUNCHERS, launch, run, succeed

AFTER = """
weights = mx.nd.concat(*[param.data().reshape((1, -1)) for param in params.values() if param.grad_req != "null"], dim=1)
weights = comm.all_gather(weights, name="check").asnumpy()
assert (weights == weights[0]).all(), "ranks have different networks"
assert num_update == 19
open(f"{__file__}-done-{comm.rank}", "w").close()
"""


def printed():
    with open(os.path.join(ROOT, "README.md")) as file:
        (block,) = [block for block in re.findall(r"```python\n(.*?)```", file.read(), re.S) if "PartialFC(" in block]
    return block


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_runs_as_printed_and_ends_in_silence(launcher, ranks, tmp_path):
    assert len(printed().splitlines()) <= 42
    (tmp_path / "loop.py").write_text(printed())
    output = succeed(launch(launcher, ranks, tmp_path / "loop.py"))
    assert re.search(r"\b19 \d+\.\d+", output) and "Traceback" not in output and "shut down" not in output, output


def test_the_printed_command_starts_it(tmp_path):
    (command,) = (each for each in named_commands() if "loop.py" in each)
    link_checkout(tmp_path)
    (tmp_path / "loop.py").write_text(printed())
    output = succeed(run(["bash", "-c", command], cwd=tmp_path, PYTHONPATH=""))
    output = re.sub(r"\[1,\d\]<std\w+>:", "", output)  # Open MPI's, which may stand within a line
    assert len(re.findall(r"\b19 \d+\.\d+", output)) == 1, output


@pytest.mark.parametrize(
    "old, new",
    [
        ("", ""),
        ("net(images[:1])", "net.hybridize()\nnet(images[:1])"),
        ("head.choose(labels,", "head.choose(labels.astype('float32'),"),
        ("head.choose(labels,", "head.choose(list(labels.asnumpy()),"),
        ('"discard")', '"discard", num_workers=1)'),
    ],
)
def test_every_rank_has_the_same_network_then(old, new, tmp_path):
    assert old in printed()
    (tmp_path / "loop.py").write_text(printed().replace(old, new) + AFTER)
    succeed(launch("mpi", 2, tmp_path / "loop.py"))
    assert len(list(tmp_path.glob("*-done-*"))) == 2


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_sums_that_nothing_waits_for_are_made_before_the_end(launcher, tmp_path):
    (tmp_path / "end.py").write_text("""if True:
        import mxnet as mx
        from partial_fc.distributed.collectives import connect

        comm, arrays = connect(), {str(i): mx.nd.ones((1000, 1000)) for i in range(40)}
        for _ in range(4):
            comm.all_reduce(arrays)
    """)
    assert "Traceback" not in succeed(launch(launcher, 3, tmp_path / "end.py"))


WRONG = {
    "a smaller batch": (
        "head.choose(labels,",
        "head.choose(labels[comm.rank:],",
        "rank 1 has a batch of 15 samples, rank 0 of 16: ranks must have batches of one size",
    ),
    "a missing gradient": (
        'if param.grad_req != "null"',
        'if param.grad_req != "null" and not (comm.rank and "bias" in name)',
        "rank 1: the array by the name of conv0_bias is missing here, float32 ",
    ),
    "another shape": (
        "nn.Conv2D(16,",
        "nn.Conv2D(16 + comm.rank,",
        "the array by the name of batchnorm0_beta is float32 (17,) here, float32 (16,) on rank 0",
    ),
    "another order": (
        "comm.broadcast({name: param.data() for name, param in params.items()})",
        "comm.broadcast({name: params[name].data() for name in sorted(params, reverse=bool(comm.rank))})",
        "rank 1: the name of array 0 is dense0_weight here, batchnorm0_beta on rank 0",
    ),
    "no dictionary": (
        "comm.broadcast({name: param.data() for name, param in params.items()})",
        "comm.broadcast(list(params))",
        "InputError: arrays must be a dictionary of NDArrays by name, not a list",
    ),
    "parameters": (
        "comm.broadcast({name: param.data() for name, param in params.items()})",
        "comm.broadcast(params)",
        "conv0_weight is a Parameter: pass its data() or grad()",
    ),
    "a label of one rank": (
        "head.choose(labels,",
        "head.choose(labels.astype('float32') + 0.5 * comm.rank,",
        "rank 1: sample 0 of the batch has label ",
    ),
    "no first forward pass": ("net(images[:1])", "#", "Please pass one batch of data through the network"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence_for_what_is_wrong(case, tmp_path):
    old, new, reported = WRONG[case]
    assert old in printed()
    (tmp_path / "loop.py").write_text(printed().replace(old, new))
    process = launch("mpi", 2, tmp_path / "loop.py")
    assert process.returncode and reported in process.stdout, process.stdout
