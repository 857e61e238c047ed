"""One rank of benchmarks.faithful."""

from typing import Any, Dict, List, Tuple

import mxnet as mx
import numpy as np

from partial_fc.data.open import open_data
from partial_fc.distributed.collectives import connect
from partial_fc.distributed.communicator import Communicator
from partial_fc.eval.protocols.verification import verify
from partial_fc.eval.protocols.verification_sets import open_verification_set
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.optimizer import CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.symbol import get_symbol
from partial_fc.training.backbone_update import UpdateRule
from partial_fc.training.module import FaceModule
from partial_fc.training.schedules import multi_step

from .measure import progress, work
from .published import PublishedHead
from .published_model import PublishedModel

NUDGE = 2.0**-23  # of the weights: half a unit in the last place of float32, on average


class Setting:
    """The settings of a run, as `benchmarks.faithful` gives them, and the start and batches that follow from them."""

    def __init__(self, comm: Communicator, case: Dict[str, Any]) -> None:
        self.comm, self.case, self.seed = comm, case, case["seed"]
        reading = {key: case[key] for key in ("image_size", "batch_size", "seed")}
        self.reader = open_data("records", case["rec"], comm, num_classes=0, **reading)
        self.margin = MarginSoftmax(**case["margin"])
        self.symbol = get_symbol(case["network"], case["embedding_size"])

    def ours(self) -> FaceModule:
        """Our module, at its start."""
        case, wd = self.case, self.case["wd"]
        assert self.reader.num_classes
        bank = MemoryBank(self.reader.num_classes, case["embedding_size"], self.comm, seed=self.seed)
        head = PartialFC(bank, self.margin, CenterSGD(wd=wd), self.comm)
        size = case["batch_size"], case["image_size"]
        return FaceModule(self.symbol, head, self.comm, mx.cpu(), *size, seed=self.seed, rule=UpdateRule(wd=wd))

    def published(self) -> PublishedModel:
        """The published model, at the start of ours."""
        ours, case = self.ours(), self.case
        head = PublishedHead(ours.head.bank.weight, ours.head.bank.partition.class_start, 1.0, self.margin, self.comm)
        head.wd = case["wd"]
        size, start = (case["batch_size"], case["image_size"]), {**ours.arg_params, **ours.aux_params}
        return PublishedModel(self.symbol, head, self.comm, *size, case["wd"], start)


def train(setting: Setting, name: str) -> Tuple[List[float], FaceModule]:
    """Losses of a training: of `ours`, of the `published` model, or of ours with a `nudged` start; and its end."""
    case, comm = setting.case, setting.comm
    module = setting.ours()
    published = setting.published() if name == "published" else None
    if name == "nudged":
        random = np.random.default_rng(0)
        for array in module.arg_params.values():
            array *= mx.nd.array(1 + NUDGE * random.choice([-1, 1], array.shape))
    losses = []
    for num_update, batch in zip(range(case["updates"]), setting.reader.batches()):
        lr = case["lr"] * multi_step(num_update, case["lr_steps"], 0.1)
        if published:
            losses.append(published.update(batch.images, batch.labels, lr))
        else:
            losses.append(module.update(batch, num_update, lr, lr))
        if (num_update + 1) % 100 == 0:
            progress(comm, f"{name}: update {num_update + 1} of {case['updates']}, loss {losses[-1]:.3f}")
    if published:
        for theirs, own in ((published.arg_params, module.arg_params), (published.aux_params, module.aux_params)):
            for key, array in own.items():
                theirs[key].copyto(array)
    return losses, module


def measure(comm: Communicator, arguments: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    """Losses of the trainings that `names` lists, by name, and their accuracy on the set `val`, if there is one."""
    result: Dict[str, Dict[str, Any]] = {}
    for name in arguments["names"]:
        setting = Setting(comm, arguments["case"])
        losses, module = train(setting, name)
        result[name] = dict(losses=losses)
        if arguments["val"]:
            module.average_statistics()
            images, issame = open_verification_set(arguments["val"], arguments["case"]["image_size"])
            result[name]["accuracy"] = verify(module.embed, images, issame).accuracy
    return result


if __name__ == "__main__":
    work(connect(), measure)
