"""Real faces, by the commands a user has: pack, train on two ranks, verify people who were not trained on.

    python -m benchmarks.lfw --data DIR [--network NAME] [--loss NAME] [--sample-ratio R] [--precision P]
        [--set KEY=VALUE ...] [--models-root DIR] [--json FILE]

DIR has `lfw-112x112.zip` (NAME/NAME_0001.jpg) and `split.tsv`, which divides the people of Labeled Faces in the Wild:
the 423 with five images or more are trained on, 6,000 random pairs of the 1,257 with two to four verified. The network
`demo` sees 56 x 56 pixels, `small` and `mobilefacenet` 112 x 112.
"""

import csv
import os
import sys
import tempfile
import zipfile
from typing import Optional, Sequence

from partial_fc import files

from .measure import print_table
from .training import figures, pack, parser, save_image, train

_COMMON = "embedding_size=128 loss_s=32 wd=1e-3 frequent=50 "
_LARGE = _COMMON + "image_size=112 batch_size=32 lr_steps=500,700 max_update=800 verbose=800"
# Height and width of the images, and settings, by network.
TRAINING = {
    "demo": (56, _COMMON + "image_size=56 batch_size=64 lr_steps=700,1000 max_update=1150 verbose=1150"),
    "small": (112, _LARGE),
    "mobilefacenet": (112, _LARGE + " net_act=relu"),
}
FILES = _IMAGES, _SPLIT = "lfw-112x112.zip", "split.tsv"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    arguments = parser("lfw", "Train and verify real faces.", FILES, trains=True)
    arguments.add_argument("--network", choices=TRAINING, default="demo", help="backbone (demo)")
    arguments.add_argument("--sample-ratio", type=float, default=1.0, metavar="R", help="of the class centers (1)")
    arguments.add_argument("--seed", type=int, default=0, help="of the training (0)")
    arguments.add_argument("--models-root", metavar="DIR", help="keep the model there")
    args = arguments.parse_args(argv)
    size, settings = TRAINING[args.network]
    with tempfile.TemporaryDirectory() as folder:
        extract(args.data, folder)
        records = pack(folder, size, lambda draw, people: draw.sample(people, 2))
        models_root = args.models_root or f"{folder}/model"
        run = args.sample_ratio, args.seed, args.network, args.precision, args.loss
        summary = train(records, models_root, [*settings.split(), *args.set], *run)
    result = dict(figures(summary), precision=args.precision, loss=args.loss)
    shown = [args.network, args.loss, args.precision, f"{result['sample_ratio']:g}"]
    shown += [f"{result[key]:.1%}" for key in ("accuracy", "accuracy_untrained", "accuracy_pixels")]
    shown += [f"{result['train_seconds']:.0f} s", f"{result['images_per_second']:.0f}", str(result["ranks"])]
    header = [
        "network",
        "loss",
        "precision",
        "sample ratio",
        "accuracy",
        "untrained",
        "raw pixels",
        "training",
        "images/s",
    ]
    print_table([*header, "ranks"], [shown])
    if args.json:
        files.write_json(args.json, result)
    return 0


def extract(data: str, folder: str) -> None:
    """Extract the images to FOLDER/train/NAME/ and FOLDER/heldout/NAME/."""
    with open(os.path.join(data, _SPLIT), newline="") as file:
        split = {row["identity"]: row["split"] for row in csv.DictReader(file, delimiter="\t")}
    with zipfile.ZipFile(os.path.join(data, _IMAGES)) as archive:
        for name in archive.namelist():
            person, image = name.split("/")[-2:]
            if image.endswith(".jpg") and split[person] in ("train", "heldout"):
                save_image(f"{folder}/{split[person]}", person, image, archive.read(name))


if __name__ == "__main__":
    sys.exit(main())
