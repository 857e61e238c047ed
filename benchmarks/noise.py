"""Wrong labels and conflicting classes: what sampling and filtering save of the accuracy.

    python -m benchmarks.noise --data DIR [--only DATA ...] [--json FILE] [--runs N] [--plot FILE]

DIR has the files of benchmarks.lfw and benchmarks.omniglot, in itself or in its folders. Training records get wrong
labels: a share of the images goes to classes drawn at random (`flipped`), or each class is split in two at random
(`split`), as if the same people had come from two data sets. The verification pairs stay as they are. 216 trainings of
one to two minutes on two cores; those that say most come first.
"""

import argparse
import itertools
import os
import shutil
import sys
import tempfile
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure

from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import write_records
from partial_fc.randomness import generator

from .measure import print_table
from .series import Case, add_arguments, mean_of, measured_training, run_series, shown
from .tasks import TASKS, Packed
from .training import folder_with

THRESHOLD = 0.4
DATA = {"omniglot": TASKS["Omniglot, r=1"], "lfw": TASKS["LFW, r=1"]}
# In place of the whole training; of two settings of a key the last counts.
SHORTER = {"omniglot": ["lr_steps=1500,1850", "max_update=2000", "verbose=2000"], "lfw": []}
# Kind, share of the images or classes, and whether it is of the first cases.
NOISES = [("none", 0.0, True), ("flipped", 0.4, True), ("split", 1.0, True), ("flipped", 0.2, False)]
BY_SHARE = sorted(NOISES, key=lambda noise: noise[1])  # as the table has them
SAMPLE_RATIOS, FILTERING, SEEDS = (1.0, 0.3, 0.1), ("off", "exact", "zero"), (0, 1, 2)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise", description="Train on wrong labels.")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder with the data sets")
    parser.add_argument("--only", nargs="+", choices=DATA, default=list(DATA), metavar="DATA", help="(omniglot lfw)")
    add_arguments(parser)
    args = parser.parse_args(argv)
    sources = {name: folder_with(args.data, DATA[name].files, parser) for name in args.only}
    with tempfile.TemporaryDirectory() as folder:
        records = NoisyRecords(folder, sources)
        cases = run_series(wanted_cases(args.only), lambda case: _measure(case, records, folder), args.json, args.runs)
    print_table(*table(cases))
    if args.plot:
        _plot(args.plot, cases)
    return 0


def wanted_cases(names: Sequence[str]) -> List[Case]:
    """All cases of some data sets, in the order in which they are measured: the last are 20 % and a ratio of 0.3."""
    grid = itertools.product(SEEDS, names, NOISES, SAMPLE_RATIOS, FILTERING)
    keys = "data", "noise", "share", "sample_ratio", "filtering", "seed"
    ranked = []
    for seed, name, (noise, share, first), ratio, filtering in grid:
        rank = 2 if not first or ratio == 0.3 else int(filtering == "zero")
        ranked.append((rank, dict(zip(keys, (name, noise, share, ratio, filtering, seed)))))
    return [case for _, case in sorted(ranked, key=lambda each: each[0])]


class NoisyRecords:
    """Records with wrong labels, made once for each data set, noise and seed.

    Args:
        folder: to make them in.
        sources: folder of the files of each data set, by name.
    """

    def __init__(self, folder: str, sources: Dict[str, str]) -> None:
        self._folder, self._packed = folder, Packed(folder, sources)

    def of(self, case: Case) -> str:
        """Folder with the `train.rec` and `heldout.bin` of a case."""
        clean = self._packed.of(DATA[case["data"]])
        if case["noise"] == "none":
            return clean
        out = os.path.join(self._folder, "{data}-{noise}-{share}-{seed}".format(**case))
        if not os.path.isdir(out):
            write_noisy(clean, out, case["noise"], case["share"], case["seed"])
        return out


def write_noisy(records: str, out: str, noise: str, share: float, seed: int) -> None:
    """Write the images of `records` to the folder `out`, with `noisy_labels`; its verification set is copied."""
    source = RecordFile(os.path.join(records, "train.rec"))
    labels = noisy_labels(source.labels(), noise, share, generator(seed, "noise"))
    order = np.argsort(labels, kind="stable")
    classes = np.split(source.keys[order], np.flatnonzero(np.diff(labels[order])) + 1)
    os.makedirs(out)
    write_records(os.path.join(out, "train.rec"), ([source.read(key)[0] for key in keys.tolist()] for keys in classes))
    shutil.copy(os.path.join(records, "heldout.bin"), out)


def noisy_labels(labels: np.ndarray, noise: str, share: float, random: np.random.Generator) -> np.ndarray:
    """Labels with noise.

    Args:
        labels: (n,) int64, 0 to N - 1.
        noise: `flipped`: this share of the images, drawn at random, get the label of another class, each equally
            likely. `split`: the images of this share of the classes, drawn at random, are divided at random into two
            classes of equal size, up to one image.
        share: in [0, 1].
        random: NumPy generator.

    Returns:
        (n,) int64; there may be labels without an image.
    """
    count, order = int(labels.max()) + 1, random.permutation(len(labels))
    noisy = labels.copy()
    if noise == "flipped":
        chosen = order[: round(share * len(labels))]
        noisy[chosen] = (labels[chosen] + random.integers(1, count, len(chosen))) % count
        return noisy
    split = random.permutation(count)[: round(share * count)]
    order = order[np.argsort(labels[order], kind="stable")]  # by class, within each in random order
    second = order[1::2][np.isin(labels[order[1::2]], split)]
    noisy[second] += count
    return noisy


def _measure(case: Case, records: NoisyRecords, folder: str) -> Dict[str, Any]:
    name, filtering = case["data"], case["filtering"]
    settings = [*DATA[name].settings, *SHORTER[name]]
    if filtering != "off":
        settings += [f"interclass_filtering={THRESHOLD}", f"interclass_filtering_mode={filtering}"]
    run = settings, case["sample_ratio"], case["seed"]
    with tempfile.TemporaryDirectory(dir=folder) as models_root:
        return measured_training(records.of(case), models_root, *run)


def _title(noise: str, share: float) -> str:
    return {"none": "as they are", "split": "split in two"}.get(noise, f"{share:.0%} wrong")


def table(cases: Sequence[Case]) -> Tuple[List[str], List[List[str]]]:
    """Header and rows: accuracy by data set, noise and sample ratio, for each filtering; rows without cases are left
    out."""
    rows = []
    for name, (noise, share, _), ratio in itertools.product(DATA, BY_SHARE, SAMPLE_RATIOS):
        some = dict(data=name, noise=noise, share=share, sample_ratio=ratio)
        found = [_of(cases, some, filtering) for filtering in FILTERING]
        if any(found):
            rows.append([name, _title(noise, share), f"{ratio:g}", *map(shown, found)])
    return ["data", "labels", "sample ratio", *(f"filtering {each}" for each in FILTERING)], rows


def _of(cases: Sequence[Case], some: Case, filtering: str) -> List[Case]:
    return [case for case in cases if {**some, "filtering": filtering}.items() <= case.items()]


def _plot(path: str, cases: Sequence[Case]) -> None:
    """A panel for each data set: accuracy by noise, a color for each sample ratio and a marker for each filtering."""
    names = [name for name in DATA if any(case["data"] == name for case in cases)]
    figure = Figure(figsize=(6.5 * len(names), 4.5), layout="constrained")
    noises = [(_title(noise, share), dict(noise=noise, share=share)) for noise, share, _ in BY_SHARE]
    for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        panel.set(title=name, ylabel="accuracy, %")
        panel.set_xticks(range(len(noises)), [title for title, _ in noises])
        series = itertools.product(enumerate(SAMPLE_RATIOS), zip("osd", FILTERING))
        for number, ((color, ratio), (marker, filtering)) in enumerate(series):
            found = [_of(cases, dict(data=name, sample_ratio=ratio, **noise), filtering) for _, noise in noises]
            points = [(x + 0.08 * (number - 4), 100 * (mean_of(each) or 0)) for x, each in enumerate(found) if each]
            if points:
                panel.plot(*zip(*points), f"C{color}{marker}", label=f"r = {ratio:g}, filtering {filtering}")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small", ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    figure.savefig(path, format="png")


if __name__ == "__main__":
    sys.exit(main())
