"""Small data sets in the form of IFRT, MegaFace and IJB-C."""

import json
import os

import numpy as np

from partial_fc.data.images.decoding import decode_image, encode_jpeg

from helpers.faces import face

SIZE = 16
IFRT = [f"{group}/{person}/{image}.jpg" for group in ("Asian", "Indian") for person in "ab" for image in range(4)]


def write_images(folder, paths, size=SIZE):
    """JPEGs, those of a sub-folder of one color; returns them as decoded, (n, size, size, 3)."""
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(encode_jpeg(face(sum(map(ord, os.path.dirname(path))), number, size)))
    return np.stack([decode_image((folder / path).read_bytes(), (size, size)) for path in paths])


def write_megaface(folder):
    """Lists and images; a probe and a distractor are noise. Returns the arguments, and images by kind without noise."""
    probes = [f"{person}/{person}_{image}.png" for person in ("Al_B", "Cy_D") for image in range(4)]
    distractors = [f"{number % 3}/x@N/{number}.jpg" for number in range(20)]
    (folder / "fs_noise").write_text("Al B_3.png\n")
    (folder / "mf_noise").write_text(distractors[7] + "\n")
    for name, paths in (("fs.json", probes), ("mf.json", distractors)):
        (folder / name).write_text(json.dumps({"path": paths, "id": [path[:4] for path in paths]}))
    images = write_images(folder / "fs", probes), write_images(folder / "mf", distractors)
    lists = [
        "--probe-list",
        folder / "fs.json",
        "--distractor-list",
        folder / "mf.json",
        "--probe-noises",
        folder / "fs_noise",
        "--distractor-noises",
        folder / "mf_noise",
    ]
    return lists, (np.delete(images[0], 3, axis=0), np.delete(images[1], 7, axis=0))


def write_ijb(folder, points, size):
    """IJB-C of 12 images: six templates of two people, of two images or of two frames each; returns the images."""
    paths = [f"{number}.jpg" for number in range(12)]
    images = write_images(folder / "loose_crop", paths, size)
    (folder / "meta").mkdir()
    numbers = " ".join(map(str, points.ravel()))
    texts = {
        "face_tid_mid": "".join(f"{path} {row // 2} {row % 4 // 3}\n" for row, path in enumerate(paths)),
        "name_5pts_score": "".join(f"{path} {numbers} 0.5\n" for path in paths),
        "template_pair_label": "".join(f"{i} {j} {int(i % 2 == j % 2)}\n" for i in range(6) for j in range(i)),
    }
    for name, text in texts.items():
        (folder / "meta" / f"ijbc_{name}.txt").write_text(text)
    return images
