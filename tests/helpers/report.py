"""Folders as runs and evaluations leave them, written without training."""

import csv
import json

import cv2
import numpy as np

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.tools.contact_sheet import Row, draw_rows
from partial_fc.training.callbacks import TensorBoard
from partial_fc.training.config_file import write_config

from helpers.faces import face

SUMMARY = dict(
    dataset="demo",
    network="demo",
    loss="cosface",
    sample_ratio=0.25,
    seed=0,
    num_classes=350,
    embedding_size=128,
    image_size=48,
    ranks=2,
    updates=800,
    continued_from=0,
    first_loss=22.5,
    last_loss=5.25,
    train_seconds=3671.0,
    images_per_second=3314.2,
    skipped_records=2,
)


def measured(pixels=0.62, untrained=0.63, last=0.948, best=0.951, update=600):
    """What `summary.json` has of a verification set."""
    return dict(
        accuracy_pixels=pixels, accuracy_untrained=untrained, accuracy=last, accuracy_best=best, best_update=update
    )


def write_run(folder, arguments=(), finished=True, updates=800, sets=None, scalars=None, **summary):
    """The folder of a run: losses, scalars, configuration and log, and the summary if it has finished.

    `scalars`: further ones, by name, each of one value.
    """
    sets = {"demo": measured()} if sets is None else sets
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "losses.csv", "w", newline="") as file:
        losses = ((update, f"{5 + 20 / update:.9g}") for update in range(1, updates + 1))
        csv.writer(file).writerows([("num_update", "loss"), *losses])
    with TensorBoard(str(folder), 0) as board:
        for update in range(50, updates + 1, 50):
            board.add(
                update, {"loss": 5 + 20 / update, "lr": 0.1, "images_per_second": 3000.0 + update, **(scalars or {})}
            )
        for name, each in sets.items():
            board.add(0, {f"accuracy/{name}": each["accuracy_untrained"]})
            board.add(updates, {f"accuracy/{name}": each["accuracy"]})
    config = from_command_line(["--sample-ratio", "0.25", "--set", "max_update=800", *arguments])
    write_config(str(folder / "config.toml"), config, 2)
    (folder / "train.log").write_text(
        "2026-11-25 23:50:11,123 ranks: 2\n"
        "2026-11-25 23:50:12,123 skipped: faces/train.rec: record 7: not an image\n"
        "2026-11-25 23:50:13,123 update 50/800  loss 5.4\n"
    )
    if finished:
        about = {**SUMMARY, "verification": sets, "files": {"model": str(folder / "model")}, **summary}
        (folder / "summary.json").write_text(json.dumps(about))
    return str(folder)


def evaluation(model="a/model", data="lfw", **figures):
    """The JSON of `eval verification`."""
    return {
        "protocol": "verification",
        "data": data,
        "model": model,
        "settings": {"mean": 127.5, "scale": 0.0078125, "scaling": "given"},
        "pairs": 6000,
        "accuracy": 0.8942,
        "accuracy_std": 0.0122,
        "accuracy_flip": 0.9092,
        "accuracy_flip_std": 0.0105,
        "threshold": 1.523,
        "xnorm": 21.5,
        "auc": 0.9678,
        "tar": {"1e-1": 0.9137, "1e-2": 0.751, "1e-3": 0.606, "1e-4": None},
        "threshold_no_flip": 1.53,
        "auc_no_flip": 0.96,
        "tar_no_flip": {"1e-1": 0.9, "1e-2": 0.73, "1e-3": 0.58, "1e-4": None},
        **figures,
    }


def conflicts_of(name="ann"):
    """The JSON of `centers conflicts`."""
    first = dict(label=3, name=name, images=12, nearest=7, cosine=0.8123)
    clusters = [[first, dict(first, label=7, name="7", images=None, nearest=3)]]
    pair = dict(first=3, second=7, cosine=0.8123)
    return dict(centers="models/a/checkpoints/update-1", classes=1000, threshold=0.5, pairs=[pair], clusters=clusters)


def write_sheets(folder, names=("ann", "bob"), sheets=2):
    """The folder of `centers conflicts --pictures`: sheets with a row of ten images for each name; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    people = [[encode_jpeg(face(person, image, 48)) for image in range(10)] for person in range(len(names))]
    write_records(str(folder / "faces.rec"), people)
    records = RecordFile(str(folder / "faces.rec"))
    keys = np.split(records.keys[: 10 * len(names)], len(names))
    rows = [Row(name, records, own, "cosine 0.812\nwith 7, its nearest") for name, own in zip(names, keys)]
    for number in range(1, sheets + 1):
        draw_rows(str(folder / f"sheet-{number:04d}.png"), rows)
    return str(folder)


def scores_of(pairs):
    """issame (P,) and scores (P,) of pairs, every other of which is of the same person; some are judged wrongly."""
    random = np.random.RandomState(0)
    issame = np.arange(pairs) % 2 == 0
    return issame, np.clip(random.randn(pairs) * 0.13 + np.where(issame, 0.6, 0.2), -1, 1)


def write_mistakes(folder, pairs=400, names=("p/a.jpg", "p/b.jpg"), threshold=0.4, pictures=True):
    """The folder of `eval verification --mistakes`; returns it, and the scores of the mistakes by kind."""
    folder.mkdir(parents=True, exist_ok=True)
    issame, scores = scores_of(pairs)
    wrong = np.flatnonzero((scores > threshold) != issame)
    with open(folder / "scores.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("index", "same", "score"), *zip(range(pairs), issame.astype(int), scores.tolist())]
        )
    with open(folder / "mistakes.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("fold", "index", "same", "score", "threshold", "left", "right"))
        for index in wrong.tolist():
            writer.writerow((index * 10 // pairs, index, int(issame[index]), float(scores[index]), threshold, *names))
    (folder / "threshold.json").write_text(json.dumps(dict(threshold=threshold, accepts_equal=False)))
    for index in wrong.tolist() if pictures else ():
        for number, side in enumerate(("left", "right")):
            color = (40 + index % 200, 60 + 120 * number, 200 - index % 150)
            cv2.imwrite(str(folder / f"{index:05d}-{side}.png"), np.full((112, 112, 3), color, np.uint8))
    return str(folder), {same: np.sort(scores[wrong][issame[wrong] == same]) for same in (False, True)}
