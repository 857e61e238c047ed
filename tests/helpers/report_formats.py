"""What `partial-fc report` reads, for tests that damage it: files of a run, evaluations, conflicts, judged pairs."""

import json
import os
import pathlib

from partial_fc.report.page import page
from partial_fc.report.sources import read_sources

from helpers.report import conflicts_of, evaluation, write_mistakes, write_run


def run_seeds(folder):
    arguments = ["--set", "interclass_filtering=0.4", "--set", "sampling_correction=true"]
    best = dict(of="mean", update=600, accuracy=0.951, model="m", ended_training=False)
    for name, more in (("finished", dict(best_model=best)), ("going", dict(finished=False))):
        write_run(pathlib.Path(folder, name), arguments, updates=60, **more)
    return [files_below(os.path.join(folder, name)) for name in ("finished", "going")]


def files_below(folder, name="input"):
    """Content by path, `name` in place of the folder; event files have a name that is always the same."""
    found = {}
    for each in sorted(os.listdir(folder)):
        with open(os.path.join(folder, each), "rb") as file:
            found[f"{name}/{'events.out.tfevents.1' if 'tfevents' in each else each}"] = file.read()
    return found


def evaluation_seeds(folder):
    interval = {"1e-3": {"low": 0.5, "high": 0.7}}
    both = [evaluation(tar_interval=interval), evaluation("b/model", cosine_threshold={"1e-3": 0.31})]
    about = {"data": "IJBC", "model": "m", "settings": {"embeddings": "unit"}}
    ijb = {"protocol": "ijb", **about, "pairs": {"same": 6, "different": 9}, "auc": 0.9, "tar": {"1e-4": 0.9}}
    ifrt = {"protocol": "ifrt", "data": "IFRT", "model": "m", "ALL": {"1e-6": 0.5}, "ALL pairs": {"same": 3}}
    return [{"input.json": json.dumps(each).encode()} for each in (both, ijb, [ifrt, ijb])]


def conflicts_seeds(folder):
    return [{"input.json": json.dumps(conflicts_of()).encode()}]


def pairs_seeds(folder):
    write_mistakes(pathlib.Path(folder, "pairs"), 60, pictures=False)
    return [files_below(os.path.join(folder, "pairs"))]


def use_report(folder, tally):
    sources = tally.attempt(read_sources, [os.path.join(folder, name) for name in os.listdir(folder)])
    assert sources is None or "</html>" in page(sources)
