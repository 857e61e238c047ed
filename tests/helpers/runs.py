"""Whole runs, started as users start them, and what they leave."""

import csv
import json
import re

import mxnet as mx
import numpy as np
from safetensors.numpy import load_file

# Every key of the training toolbox that others allow beside it.
TOOLBOX = ["--loss=adaface", "--set=margin_warmup=10", "--set=sub_centers=2"]
TOOLBOX += ["--set=optimizer=adamw", "--set=center_optimizer=adamw", "--set=backbone_lr=0.001"]
TOOLBOX += ["--set=memory_bank_lr=0.002", "--set=lr_schedule=cosine", "--set=warmup_updates=0.5e"]
TOOLBOX += ["--set=clip_gradient_norm=0.5", "--set=freeze=stage1.*", "--set=lr_mult=pre_fc1.*:0.5"]
TOOLBOX += ["--set=wd_mult=stage2.*:2", "--set=keep_best=val", "--set=keep_best_centers=true", "--set=memonger=true"]


def arrays_of_run(folder):
    """Arrays of the newest checkpoint and of the best model in a models root, by file and name."""
    places = [*sorted(folder.glob("checkpoints/update-*"))[-1:], *folder.glob("best/update-*"), folder]
    arrays = {}
    for place in places:
        name = place.relative_to(folder)
        for file in place.glob("*.params"):
            loaded = mx.nd.load(str(file))
            arrays.update({f"{name}/{file.name}/{key}": array.asnumpy() for key, array in loaded.items()})
        for file in place.glob("*.safetensors"):
            arrays.update({f"{name}/{file.name}/{key}": array for key, array in load_file(file).items()})
    return arrays


def losses_of_run(folder):
    """Rows of `losses.csv`."""
    with open(folder / "losses.csv", newline="") as file:
        return list(csv.reader(file))[1:]


def accuracies_of_run(folder):
    return json.loads((folder / "summary.json").read_text())["verification"]


def different(folder, other):
    """What differs in two runs: names of arrays, `losses`, `accuracies`."""
    arrays, others = arrays_of_run(folder), arrays_of_run(other)
    names = [name for name in {**arrays, **others} if not same(arrays.get(name), others.get(name))]
    for kind, function in (("losses", losses_of_run), ("accuracies", accuracies_of_run)):
        names += [kind] * (function(folder) != function(other))
    return names


def same(array, other):
    return array is not None and other is not None and np.array_equal(array, other)


def learning_rates(log):
    """Learning rates in the lines of a log, by update, as text."""
    return {int(update): lr for update, lr in re.findall(r"update (\d+)/\d+ .*  lr (\S+)", log)}
