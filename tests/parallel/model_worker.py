"""One rank of test_model_on_ranks.py: two updates of a whole model."""

import os
import sys

import mxnet as mx
import numpy as np

from partial_fc.checkpoint.center_files import save_centers
from partial_fc.data.batches import Batch
from partial_fc.distributed.collectives import connect
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterAdamW, CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.training.backbone_update import UpdateRule
from partial_fc.training.module import FaceModule

from helpers.models import network_without_statistics

NUM_CLASSES, GLOBAL_BATCH_SIZE = 101, 12


RULE = UpdateRule("adamw", clip_gradient_norm=5.0, freeze=("relu0_.*",), lr_mult=("fc1.*:0.5",), wd_mult=("conv0.*:2",))


LARS = UpdateRule("lars", clip_gradient_norm=5.0)


def train(
    comm,
    folder,
    ctx=None,
    global_batch_size=GLOBAL_BATCH_SIZE,
    optimizer=CenterSGD,
    rule=None,
    lr=(0.1, 0.2),
    accumulate=1,
):
    """Two updates on this rank's share of fixed global batches; parameters, centers and losses go to ``folder``."""
    bank = MemoryBank(NUM_CLASSES, 16, comm, ctx=ctx, states=optimizer.states)
    head = PartialFC(bank, MarginSoftmax(32, m2=0.3), optimizer(), comm)
    batch_size = global_batch_size // comm.world_size
    symbol = network_without_statistics()
    size = batch_size // accumulate
    module = FaceModule(symbol, head, comm, ctx or mx.cpu(), size, 16, rule=rule, accumulate=accumulate)
    random = np.random.RandomState(0)
    losses, norms = [], []
    for num_update in range(2):
        images = random.randint(0, 256, (global_batch_size, 16, 16, 3)).astype(np.uint8)
        labels = random.randint(0, NUM_CLASSES, global_batch_size)
        own = slice(comm.rank * batch_size, (comm.rank + 1) * batch_size)
        losses.append(module.update(Batch(images[own], labels[own], labels[own]), num_update, *lr))
        norms.append(module._optimizer.grad_norm)
    embeddings = module.embed(random.randint(0, 256, (7, 16, 16, 3)).astype(np.uint8))
    arrays = {name: array.asnumpy() for name, array in module.arg_params.items()}
    if rule:
        arrays["norms"] = np.array(norms)
    np.savez(os.path.join(folder, f"model-{comm.rank}.npz"), losses=losses, embeddings=embeddings, **arrays)
    save_centers(folder, bank, comm.world_size)


if __name__ == "__main__":
    comm, folder = connect(), sys.argv[1]
    train(comm, folder)
    other = os.path.join(folder, "adamw")
    os.makedirs(other, exist_ok=True)
    train(comm, other, optimizer=CenterAdamW, rule=RULE, lr=(0.001, 0.002))
    other = os.path.join(folder, "micro-batches")
    os.makedirs(other, exist_ok=True)
    train(comm, other, rule=LARS, lr=(5.0, 0.2), accumulate=2)
