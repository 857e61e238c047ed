"""Real faces, by the commands a user has: pack, train on two ranks, verify people who were not trained on.

    python -m benchmarks.lfw --data DIR [--sample-ratio R] [--json FILE]

DIR has `lfw-112x112.zip` (NAME/NAME_0001.jpg) and `split.tsv`, which divides the people of Labeled Faces in the Wild:
the 423 with five images or more are trained on at 56 x 56, 6,000 random pairs of the 1,257 with two to four verified.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDS, PAIRS_PER_KIND = 10, 300
TRAINING = (
    "image_size=56 embedding_size=128 loss_s=32 wd=1e-3 batch_size=64 lr_steps=700,1000 max_update=1150 "
    "val_targets=heldout verbose=1150 frequent=50"
).split()


def main(argv=None):
    """Measure and print; returns the exit status."""
    args = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        _extract(args.data, folder)
        _draw_pairs(f"{folder}/heldout", f"{folder}/heldout.txt")
        _run(sys.executable, "-m", "partial_fc.data", "pack", f"{folder}/train", f"{folder}/records", "--size=56")
        _run(
            sys.executable, "-m", "partial_fc.data", "pack", f"{folder}/heldout", f"{folder}/pairs", "--size=56",
            f"--pairs={folder}/heldout.txt",
        )
        os.rename(f"{folder}/pairs/heldout.bin", f"{folder}/records/heldout.bin")
        settings = [f"--set={each}" for each in TRAINING]
        _run(
            "bash", f"{ROOT}/run.sh", "-np", "2", "--", "--rec", f"{folder}/records/train.rec", *settings,
            "--sample-ratio", str(args.sample_ratio), "--seed", str(args.seed), "--models-root", f"{folder}/model",
        )
        with open(f"{folder}/model/summary.json") as file:
            result = _result(json.load(file))
    _print(result)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=2)
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lfw", description="Train and verify real faces.")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder with lfw-112x112.zip and split.tsv")
    parser.add_argument("--sample-ratio", type=float, default=1.0, metavar="R", help="of the class centers (1)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (0)")
    parser.add_argument("--json", metavar="FILE", help="write the result there, too")
    return parser


def _extract(data, folder):
    """Extract the images to FOLDER/train/NAME/ and FOLDER/heldout/NAME/."""
    with open(os.path.join(data, "split.tsv"), newline="") as file:
        split = {row["identity"]: row["split"] for row in csv.DictReader(file, delimiter="\t")}
    with zipfile.ZipFile(os.path.join(data, "lfw-112x112.zip")) as archive:
        for name in archive.namelist():
            person, image = name.split("/")[-2:]
            if image.endswith(".jpg") and split[person] in ("train", "heldout"):
                target = os.path.join(folder, split[person], person)
                os.makedirs(target, exist_ok=True)
                with open(os.path.join(target, image), "wb") as file:
                    file.write(archive.read(name))


def _draw_pairs(folder, path):
    """Write random pairs of the people in a folder, in the form of LFW's pairs.txt; each person is equally likely."""
    draw = random.Random(0)
    images = {name: range(1, 1 + len(os.listdir(os.path.join(folder, name)))) for name in sorted(os.listdir(folder))}
    lines = [f"{FOLDS}\t{PAIRS_PER_KIND}"]
    for _ in range(FOLDS):
        for name in draw.choices(list(images), k=PAIRS_PER_KIND):
            first, second = draw.sample(images[name], 2)
            lines.append(f"{name}\t{first}\t{second}")
        for _ in range(PAIRS_PER_KIND):
            first, second = draw.sample(list(images), 2)
            lines.append(f"{first}\t{draw.choice(images[first])}\t{second}\t{draw.choice(images[second])}")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def _run(*command):
    path = os.pathsep.join([os.path.join(ROOT, "src")] + os.environ.get("PYTHONPATH", "").split(os.pathsep))
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})


def _result(summary):
    keys = ("accuracy", "accuracy_untrained", "accuracy_pixels", "train_seconds", "images_per_second", "ranks")
    return {key: summary[key] for key in (*keys, "sample_ratio")}


def _print(result):
    print("| sample ratio | accuracy | untrained | raw pixels | training | images/s | ranks |")
    print("|---|---|---|---|---|---|---|")
    print(
        "| {sample_ratio:g} | {accuracy:.1%} | {accuracy_untrained:.1%} | {accuracy_pixels:.1%} "
        "| {train_seconds:.0f} s | {images_per_second:.0f} | {ranks} |".format(**result)
    )


if __name__ == "__main__":
    sys.exit(main())
