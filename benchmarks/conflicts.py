"""Do `centers conflicts`, `data overlap` and `data clean` find mistakes that were planted?

    python -m benchmarks.conflicts --data DIR [--only PART ...] [--json FILE]

DIR has the files of benchmarks.lfw and benchmarks.omniglot, in itself or in its folders. The networks are trained by
the settings of these, all centers, seed 0. Everything is done by the commands that a user has.

- conflicts: each class is split in two, and the network is trained on the halves, so each class has another one that
  is the same person or character; they are compared by centers, and by the means of features. Then, by the same
  network, for people or characters that it was not trained on: two sets share a third of them, with half of the images
  on each side; and a set with the mistakes of `clean`, "unseen".
- clean: 5 % of the images of the training set get the label of another class, 5 % are copied with other pixels, and a
  tenth of the classes are joined in pairs; the network is trained on that.

Precision: the share of what is listed that was planted. Recall: the share of what was planted that is listed. About a
quarter of an hour on two cores.
"""

import argparse
import glob
import json
import os
import shutil
import sys
import tempfile
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from .measure import print_table, write_json
from .planted import Noise, add_noise, share_classes, split_classes
from .tasks import TASKS, Task
from .training import folder_with, pack, partial_fc, train

_TASKS = {"LFW": TASKS["LFW, r=1"], "Omniglot": TASKS["Omniglot, r=1"]}
_COSINES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_DEGREES = (65, 70, 75, 80, 85)
_COPIES = (0.9, 0.95, 0.97, 0.98, 0.99)
_APART = (0.1, 0.2, 0.3, 0.4, 0.5)
Case = Dict[str, Any]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.conflicts", description="Find planted mistakes.")
    arguments.add_argument("--data", required=True, metavar="DIR", help="folder with the data sets")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help="(all)")
    arguments.add_argument("--json", metavar="FILE", help="write the results to this file, too, after each training")
    args = arguments.parse_args(argv)
    folders = {name: folder_with(args.data, task.files, arguments) for name, task in _TASKS.items()}
    cases: List[Case] = []
    for part in args.only:
        for name, task in _TASKS.items():
            print(f"{part}, {name}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                task.extract(folders[name], folder)
                cases += [dict(task=name, **case) for case in PARTS[part](task, folder)]
            if args.json:
                write_json(args.json, cases)
    print_table(*table(cases))
    return 0


def table(cases: Sequence[Case]) -> Tuple[List[str], List[List[str]]]:
    """Header and rows of the results: a row for each task and kind of mistake, with a cell for each limit.

    Args:
        cases: `task`, `what`, `limit`, `planted`, `precision` (None if nothing is listed) and `recall`.
    """
    rows: Dict[Tuple[str, str], List[str]] = {}
    for case in cases:
        row = rows.setdefault((case["task"], case["what"]), [case["task"], case["what"], str(case["planted"])])
        precision = "-" if case["precision"] is None else f"{case['precision']:.0%}"
        row.append(f"{case['limit']:g}: {precision}, {case['recall']:.0%}")
    width = max(map(len, rows.values()))
    header = ["task", "planted", "number", "limit: precision, recall"]
    return header + [""] * (width - len(header)), [row + [""] * (width - len(row)) for row in rows.values()]


def measured(what: str, values: Dict[Any, float], planted: Set[Any], limits: Iterable[float]) -> List[Case]:
    """A case for each limit.

    Args:
        what: was planted.
        values: of all that a command can list, by what it is; those of at least a limit are listed.
        planted: what a command should list.
        limits: negative ones are the negatives of upper limits.
    """
    cases = []
    for limit in limits:
        listed = {each for each, value in values.items() if value >= limit}
        right = len(listed & planted)
        shares = dict(precision=right / len(listed) if listed else None, recall=right / len(planted))
        cases.append(dict(what=what, limit=abs(limit), planted=len(planted), listed=len(listed), **shares))
    return cases


def _conflicts(task: Task, folder: str) -> List[Case]:
    split_classes(f"{folder}/train")
    model, checkpoint = _trained(task, folder)
    records, features = f"{folder}/records", f"{folder}/features.npy"
    _embed(model, records, features)
    cases = found_halves("class split in two, by centers", checkpoint, records)
    cases += found_halves("class split in two, by means", features, records)
    return cases + _unseen(task, folder, model) + _overlap(task, folder, model)


def found_halves(what: str, source: str, records: str) -> List[Case]:
    """Cases of classes that `split_classes` has split, by a checkpoint or features of the records."""
    found = _run_json("centers", "conflicts", source, "--threshold", "0.1", "--most", "50")
    values = {frozenset((each["first"], each["second"])): each["cosine"] for each in found["pairs"]}
    halves: Dict[str, List[int]] = {}
    for label, name in enumerate(_names(records)):
        halves.setdefault(name.partition("@")[0], []).append(label)
    return measured(what, values, set(map(frozenset, halves.values())), _COSINES)


def _overlap(task: Task, folder: str, model: str) -> List[Case]:
    share_classes(f"{folder}/heldout", f"{folder}/a", f"{folder}/b")
    for name in "ab":
        partial_fc("data", "pack", f"{folder}/{name}", f"{folder}/{name}-records", f"--size={task.size}")
        _embed(model, f"{folder}/{name}-records", f"{folder}/{name}.npy")
    records = [f"{folder}/{name}-records" for name in "ab"]
    by = ["--by", f"{folder}/a.npy", f"{folder}/b.npy", "--threshold", "0.1", "--most", "50"]
    found = _run_json("data", "overlap", *records, *by)
    first, second = map(_names, records)
    values = {each["label"]: each["cosine"] for each in found["matches"]}
    wrong = {each["label"] for each in found["matches"] if first[each["nearest"]] != second[each["label"]]}
    # what is matched with the wrong identity counts as wrong, and as not found
    shown = {(label, label in wrong): value for label, value in values.items()}
    planted = {(label, False) for label, name in enumerate(second) if name in set(first)}
    return measured("identity in both sets", shown, planted, _COSINES)


def _unseen(task: Task, folder: str, model: str) -> List[Case]:
    shutil.copytree(f"{folder}/heldout", f"{folder}/unseen")
    planted = add_noise(f"{folder}/unseen")
    partial_fc("data", "pack", f"{folder}/unseen", f"{folder}/unseen-records", f"--size={task.size}")
    return found_noise(planted, model, f"{folder}/unseen-records", ", unseen")


def _clean(task: Task, folder: str) -> List[Case]:
    planted = add_noise(f"{folder}/train")
    model, _ = _trained(task, folder)
    return found_noise(planted, model, f"{folder}/records")


def found_noise(planted: Noise, model: str, records: str, which: str = "") -> List[Case]:
    """Cases of the mistakes that `add_noise` has planted into records, by a model; `which` ends their names."""
    features = f"{records}.npy"
    _embed(model, records, features)
    found = _run_json("data", "clean", records, features, "--angle", "1", "--duplicate", "1", "--apart", "1")
    assert found["images"] == planted.images
    one_person = [each for each in found["found"] if each["label"] not in planted.joined]
    far = {each["record"]: each["value"] for each in one_person if each["finding"] in ("far", "far pair")}
    cases = measured(f"image with another label{which}", far, planted.flipped, _DEGREES)
    for limit in _COPIES:
        found_copies = _run_json("data", "clean", records, features, "--duplicate", str(limit))["found"]
        pairs = [(each["record"], each["other"]) for each in found_copies if each["finding"] == "duplicate"]
        # of a copy and its original the later record is listed, whichever it is
        copies = {other if other in planted.copied else record: limit for record, other in pairs}
        cases += measured(f"copy of an image{which}", copies, planted.copied, [limit])
    apart = {each["label"]: -each["value"] for each in found["found"] if each["finding"] == "second group"}
    return cases + measured(f"two classes under one label{which}", apart, planted.joined, [-each for each in _APART])


PARTS: Dict[str, Callable[[Task, str], List[Case]]] = {"conflicts": _conflicts, "clean": _clean}


def _trained(task: Task, folder: str) -> Tuple[str, str]:
    """Train on FOLDER/train; returns the prefix of the model, and the last checkpoint."""
    records = pack(folder, task.size, task.draw_two)
    summary = train(records, f"{folder}/model", task.settings, 1.0, 0)
    print(f"accuracy {summary['accuracy']:.1%}", file=sys.stderr, flush=True)
    return f"{folder}/model/model", sorted(glob.glob(f"{folder}/model/checkpoints/update-*"))[-1]


def _embed(model: str, records: str, out: str) -> None:
    partial_fc("eval", "embed", out, "--rec", records, "--model", model, "--flip")


def _run_json(*command: str) -> Dict[str, Any]:
    """Run a command of partial-fc; returns the JSON that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "found.json")
        partial_fc(*command, "--json", path)
        with open(path) as file:
            return json.load(file)


def _names(records: str) -> List[str]:
    with open(f"{records}/identities.txt") as file:
        return file.read().splitlines()


if __name__ == "__main__":
    sys.exit(main())
