"""Small data sets for tests: noise of an identity's own color."""

import os

import numpy as np

from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.records.recordio import write_record
from partial_fc.data.verification_set import save_verification_set


def face(identity, image, size=32):
    """uint8 RGB (size, size, 3)."""
    random = np.random.RandomState(1000 * identity + image)
    color = np.random.RandomState(identity).randint(60, 200, 3)
    return np.clip(color + random.randint(-50, 50, (size, size, 3)), 0, 255).astype(np.uint8)


def write_runs(folder, labels, size=32):
    """`train.rec` as InsightFace's old tool packs a list that is not sorted: a range for each run of a label."""
    path, ranges = os.path.join(str(folder), "train.rec"), []
    with open(path, "wb") as rec, open(path[:-4] + ".idx", "w") as index:

        def write(number, label, content):
            index.write(f"{number}\t{rec.tell()}\n")
            write_record(rec, label, number, 0, content)

        for number, label in enumerate(labels, start=1):
            write(number, float(label), encode_jpeg(face(label, number, size)))
            if number == 1 or label != labels[number - 2]:
                ranges.append([number, number])
            ranges[-1][1] = number + 1
        first = len(labels) + 1
        for number, edges in enumerate(ranges, start=first):
            write(number, edges, b"")
        write(0, (first, first + len(ranges)), b"")
    return path


def write_faces(folder, num_identities=20, images=8, size=32):
    """`train.rec`, `train.idx` and `val.bin` in ``folder``; returns the path of the first."""
    path = os.path.join(str(folder), "train.rec")
    write_records(path, [[encode_jpeg(face(i, j, size)) for j in range(images)] for i in range(num_identities)])
    pairs = [(face(30 + i, 0, size), face(30 + i + i % 2, 1, size)) for i in range(20)]
    encoded = [encode_jpeg(image) for pair in pairs for image in pair]
    save_verification_set(os.path.join(str(folder), "val.bin"), encoded, np.arange(20) % 2 == 0)
    return path
