"""Does sampling the class centers cost accuracy? Handwritten characters, with all centers and with a tenth of them.

    python -m benchmarks.omniglot --data DIR [--loss NAME] [--precision float32|bfloat16] [--set KEY=VALUE ...]
        [--json FILE]

DIR has `images_background.zip` and `images_evaluation.zip` of Omniglot (Lake et al. 2015): 20 images of each
character, by 20 writers. The 964 characters of the former in four rotations are 3,856 classes to train on, at 32 x
32, cut to the strokes as faces are aligned. The models are verified on 6,000 pairs of the latter's 659 characters,
which are of other alphabets; the two characters of a different pair are always of one alphabet. Three seeds each;
about 13 minutes on two cores.
"""

import itertools
import random
import statistics
import sys
import tempfile
import zipfile
from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

from .measure import print_table, write_json
from .training import figures, pack, parser, save_image, train

SIZE, SAMPLE_RATIOS, SEEDS = 32, (1.0, 0.1), (0, 1, 2)
MAX_DIFFERENCE = 1.0  # points of accuracy
TRAINING = (
    f"image_size={SIZE} embedding_size=128 loss_s=32 wd=5e-4 batch_size=64 lr_steps=3000,3700 "
    "max_update=4000 verbose=4000 frequent=200"
).split()
FILES = _TRAIN, _HELD_OUT = "images_background.zip", "images_evaluation.zip"


_DEGREES = (0, 90, 180, 270)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status, 1 if the means differ by more than a point."""
    args = parser("omniglot", "Train with all and with a tenth of the centers.", FILES, trains=True).parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        extract(args.data, folder)
        records = pack(folder, SIZE, two_of_one_alphabet)
        runs = itertools.product(SEEDS, SAMPLE_RATIOS)
        cases = [_measure(records, f"{folder}/model", *run, args) for run in runs]
    means = _print(cases)
    if args.json:
        write_json(args.json, cases)
    difference = 100 * (means[0] - means[1])
    side = "lower" if difference > 0 else "higher"
    print(f"\nWith a tenth of the centers the mean is {abs(difference):.1f} points {side}.")
    if abs(difference) <= MAX_DIFFERENCE:
        return 0
    print(f"error: the means differ by more than {MAX_DIFFERENCE:g} point", file=sys.stderr)
    return 1


def _measure(records, models_root, seed, sample_ratio, args):
    print(f"training with seed {seed}, r={sample_ratio:g}, {args.precision}", flush=True)
    settings, kind = [*TRAINING, *args.set], dict(precision=args.precision, loss=args.loss)
    return dict(figures(train(records, models_root, settings, sample_ratio, seed, **kind), "seed"), **kind)


def _print(cases):
    """Print the table; returns the mean accuracy by sample ratio."""
    rows, means = [], []
    for sample_ratio in SAMPLE_RATIOS:
        chosen = [case for case in cases if case["sample_ratio"] == sample_ratio]
        accuracies = [case["accuracy"] for case in chosen]
        means.append(statistics.mean(accuracies))
        shown = [f"{value:.1%}" for value in (*accuracies, means[-1], statistics.stdev(accuracies))]
        for key in ("train_seconds", "images_per_second"):
            shown.append(f"{statistics.mean(case[key] for case in chosen):.0f}")
        rows.append([f"{sample_ratio:g}", *shown])
    seeds = (f"seed {seed}" for seed in SEEDS)
    print_table(["sample ratio", *seeds, "mean", "standard deviation", "training s", "images/s"], rows)
    untrained, pixels = cases[0]["accuracy_untrained"], cases[0]["accuracy_pixels"]
    print(f"\nUntrained: {untrained:.1%}; raw pixels: {pixels:.1%}.")
    return means


def extract(data: str, folder: str) -> None:
    """Extract the images to FOLDER/train/CHARACTER/, in four rotations, and FOLDER/heldout/CHARACTER/."""
    _extract_archive(f"{data}/{_TRAIN}", f"{folder}/train", _DEGREES)
    _extract_archive(f"{data}/{_HELD_OUT}", f"{folder}/heldout", _DEGREES[:1])


def _extract_archive(archive, folder, rotations):
    """Write FOLDER/ALPHABET.CHARACTER.DEGREES/ALPHABET.CHARACTER.DEGREES_0001.png, 0001 being the writer."""
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            if not name.endswith(".png"):
                continue
            alphabet, character, image = name.split("/")[-3:]  # character01, 0709_01.png
            pixels = cv2.imdecode(np.frombuffer(file.read(name), np.uint8), cv2.IMREAD_GRAYSCALE)
            writer = int(image[: -len(".png")].rpartition("_")[2])
            for degrees in rotations:
                identity = f"{alphabet}.{character}.{degrees}"
                _, encoded = cv2.imencode(".png", np.rot90(cut_to_strokes(pixels), degrees // 90))
                save_image(folder, identity, f"{identity}_{writer:04d}.png", encoded.tobytes())


def cut_to_strokes(pixels: np.ndarray) -> np.ndarray:
    """Square around the dark pixels of a white image (H, W), a twentieth of it for the margin on each side."""
    rows, columns = np.nonzero(pixels < 128)
    (top, bottom), (left, right) = ((each.min(), each.max() + 1) for each in (rows, columns))
    side = int(1.1 * max(bottom - top, right - left)) + 2
    border = side  # of white, so that no square leaves the image
    padded = np.pad(pixels, border, constant_values=255)
    top, left = (border + (low + high - side) // 2 for low, high in ((top, bottom), (left, right)))
    return padded[top : top + side, left : left + side]


def two_of_one_alphabet(draw: random.Random, characters: Sequence[str]) -> Tuple[str, str]:
    """Two different characters of one alphabet; the first is any of them with equal probability."""
    first = draw.choice(characters)
    alphabet = first.partition(".")[0]
    return first, draw.choice([each for each in characters if each.partition(".")[0] == alphabet and each != first])


if __name__ == "__main__":
    sys.exit(main())
