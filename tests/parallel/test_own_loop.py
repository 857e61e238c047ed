"""The README's loop around the head, as it is printed there."""

import os
import re

import pytest

from parallel.launch import ROOT, launch, succeed

BEFORE = """
import mxnet as mx
import numpy as np

num_classes, embedding_size = 50, 16
rank = int(__import__("os").environ.get("OMPI_COMM_WORLD_RANK", 0))
random = np.random.RandomState(rank)
mx.random.seed(rank)
net = mx.gluon.nn.Dense(embedding_size)
net.initialize()
net(mx.nd.zeros((8, 20)))
images = mx.nd.array(random.randn(8, 20))
batches = [(images, random.randint(0, num_classes, 8))] * 30
losses = []
"""
AFTER = """
weights = comm.all_gather(net.weight.data().reshape((1, -1)), name="check").asnumpy()
assert (weights == weights[0]).all(), "ranks have different networks"
assert losses[-1] < 0.75 * losses[0], losses
open(f"{__file__}-learned-{rank}", "w").close()
"""


@pytest.fixture
def script(tmp_path):
    with open(os.path.join(ROOT, "README.md")) as file:
        (block,) = [block for block in re.findall(r"```python\n(.*?)```", file.read(), re.S) if "PartialFC(" in block]
    assert len(block.splitlines()) <= 25
    path = tmp_path / "loop.py"
    path.write_text(BEFORE + block + "    losses.append(float(loss.asscalar()))\n" + AFTER)
    return path


@pytest.mark.parametrize("ranks", [1, 2])
def test_learns(script, ranks):
    succeed(launch("mpi", ranks, script))
    assert len(list(script.parent.glob("*-learned-*"))) == ranks
