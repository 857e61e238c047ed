"""The parts of benchmarks.eval on ijb, megaface and ifrt: seconds and memory at the sizes of the real data sets.

Features are random, on the disk. For comparison, the matrix products of MegaFace and IFRT are also timed alone, in the
same threads: the least that the protocols must compute. Memory is the peak of allocated memory, without the mapped
pages of the feature files, which the system may drop. `CPU s` is summed over all threads; if it is much less than
seconds times cores, other programs ran at the same time. Each part runs in a process of its own.
"""

import argparse
import contextlib
import os
import tempfile
import threading
import time
from typing import Any, Dict

import numpy as np

from partial_fc.eval.features import read_features
from partial_fc.eval.protocols.ifrt import GROUPS, count_pairs, ifrt_result, image_groups
from partial_fc.eval.protocols.ijb import compare_templates, ijb_result, pool_templates
from partial_fc.eval.protocols.ijb_lists import read_faces, read_pairs
from partial_fc.eval.protocols.megaface import megaface_result
from partial_fc.eval.protocols.score_blocks import ROWS, map_scores
from partial_fc.eval.protocols.unit_features import UnitFeatures, unit_rows

from .measure import in_own_process, print_table, resident

EMBEDDING_SIZE = 512
NUM_PROBES, NUM_PEOPLE, NUM_DISTRACTORS = 3530, 80, 1_000_000
IFRT_IMAGES, IMAGES_OF_PERSON = 44_800, 7  # 10^9 pairs
# IJB-C's
IJB_IMAGES, IJB_TEMPLATES, IJB_PAIRS, IJB_SAME = 469_375, 23_124, 15_658_489, 19_557
_CHUNK = 50_000
_BLOCKS_ALONE = 12


def ijb(args: argparse.Namespace) -> Dict[str, Any]:
    """Print the table of IJB-C; returns its figures."""
    case = in_own_process(_ijb)
    print_table(
        ["IJB-C", "lists s", "templates s", "pairs s", "ROC s", "all s", "CPU s", "memory MiB"],
        [
            [
                f"{IJB_IMAGES:,} images, {IJB_PAIRS:,} pairs",
                *(f"{each:.1f}" for each in case["parts"].values()),
                f"{case['seconds']:.1f}",
                f"{case['cpu']:.1f}",
                f"{case['memory']:.0f}",
            ]
        ],
    )
    return case


def megaface(args: argparse.Namespace) -> Dict[str, Any]:
    """Print the table of MegaFace; returns its figures."""
    size = f"{NUM_PROBES:,} probes, {NUM_DISTRACTORS:,} distractors"
    return _print_pairs("MegaFace", size, in_own_process(_megaface))


def ifrt(args: argparse.Namespace) -> Dict[str, Any]:
    """Print the table of IFRT; returns its figures."""
    return _print_pairs("IFRT", f"{IFRT_IMAGES:,} images", in_own_process(_ifrt))


def _print_pairs(name, size, case):
    print_table(
        [name, "pairs", "s", "CPU s", "pairs/s", "product alone pairs/s", "CPU of product / all", "memory MiB"],
        [
            [
                size,
                f"{case['pairs']:,}",
                f"{case['seconds']:.1f}",
                f"{case['cpu']:.1f}",
                f"{case['pairs'] / case['seconds']:.3g}",
                f"{case['alone_pairs'] / case['alone_seconds']:.3g}",
                f"{case['ratio']:.2f}",
                f"{case['memory']:.0f}",
            ]
        ],
    )
    return case


def _ijb():
    with tempfile.TemporaryDirectory() as folder:
        _write_lists(folder)
        features = _random_features(f"{folder}/features.npy", IJB_IMAGES)
        with _measured() as case:
            times = [time.perf_counter()]
            faces = read_faces(folder, "IJBC")
            pairs = read_pairs(folder, "IJBC", faces.template_ids)
            times.append(time.perf_counter())
            templates = pool_templates(features, faces)
            times.append(time.perf_counter())
            cosines = compare_templates(templates, pairs)
            times.append(time.perf_counter())
            ijb_result(cosines, pairs, "IJBC", "random")
            times.append(time.perf_counter())
    parts = dict(zip(("lists", "templates", "pairs", "roc"), np.diff(times).tolist()))
    return dict(images=IJB_IMAGES, pairs=IJB_PAIRS, parts=parts, **case)


def _write_lists(folder):
    """IJB-C's numbers of images, templates and pairs; about two images a medium."""
    random = np.random.RandomState(0)
    os.makedirs(f"{folder}/meta")
    more = random.randint(0, IJB_TEMPLATES, IJB_IMAGES - IJB_TEMPLATES)
    templates = np.sort(np.append(np.arange(IJB_TEMPLATES), more))
    media = random.randint(0, 10, IJB_IMAGES)
    points = " ".join(f"{number:.3f}" for number in random.uniform(0, 200, 10))
    with open(f"{folder}/meta/ijbc_face_tid_mid.txt", "w") as file:
        file.writelines(f"{row + 1}.jpg {templates[row]} {media[row]}\n" for row in range(IJB_IMAGES))
    with open(f"{folder}/meta/ijbc_name_5pts_score.txt", "w") as file:
        file.writelines(f"{row + 1}.jpg {points} 0.99\n" for row in range(IJB_IMAGES))
    with open(f"{folder}/meta/ijbc_template_pair_label.txt", "w") as file:
        for start in range(0, IJB_PAIRS, _CHUNK):
            count = min(_CHUNK, IJB_PAIRS - start)
            pairs = random.randint(0, IJB_TEMPLATES, (count, 2)).tolist()
            file.writelines(f"{one} {other} {int(start + row < IJB_SAME)}\n" for row, (one, other) in enumerate(pairs))


def _megaface():
    with tempfile.TemporaryDirectory() as folder:
        probes = _random_features(f"{folder}/probes.npy", NUM_PROBES)
        distractors = _random_features(f"{folder}/distractors.npy", NUM_DISTRACTORS)
        with _measured() as case:
            megaface_result(probes, (np.arange(NUM_PROBES) % NUM_PEOPLE).tolist(), distractors, "random")
        return _beside_product(case, NUM_PROBES * NUM_DISTRACTORS, probes[:], distractors[:ROWS])


def _ifrt():
    people = IFRT_IMAGES // IMAGES_OF_PERSON
    paths = [f"{GROUPS[row % people % 4]}/{row % people}/{row}.jpg" for row in range(IFRT_IMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        features = _random_features(f"{folder}/features.npy", IFRT_IMAGES)
        with _measured() as case:
            ifrt_result(count_pairs(UnitFeatures(features, "random"), image_groups(paths, "random")), "random")
        pairs = IFRT_IMAGES * (IFRT_IMAGES - 1) // 2
        return _beside_product(case, pairs, features[:ROWS], features[-ROWS:])


def _beside_product(case, pairs, left, right):
    """The case with the figures of the product of these matrices, again and again, in the protocols' threads."""
    left, right = unit_rows(left, "left"), unit_rows(right, "right")
    for count in (2, _BLOCKS_ALONE):  # the first warms up
        with _measured() as alone:
            for _ in map_scores(lambda scores: None, [(left, right)] * count):
                pass
    products = _BLOCKS_ALONE * len(left) * len(right)
    ratio = (alone["cpu"] / products) / (case["cpu"] / pairs)
    return dict(case, pairs=pairs, alone_seconds=alone["seconds"], alone_pairs=products, ratio=ratio)


def _random_features(path, count):
    random = np.random.default_rng(0)
    features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, EMBEDDING_SIZE))
    for start in range(0, count, _CHUNK):
        part = features[start : start + _CHUNK]
        random.standard_normal(part.shape, np.float32, part)
    del features
    return read_features(path)


@contextlib.contextmanager
def _measured():
    """Dictionary which gets seconds, CPU seconds, and the MiB that were allocated at most, those before among them."""
    case, done = dict(memory=resident("RssAnon")), threading.Event()

    def watch():
        while not done.wait(0.01):
            case["memory"] = max(case["memory"], resident("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, cpu = time.perf_counter(), time.process_time()
    try:
        yield case
        case.update(seconds=time.perf_counter() - start, cpu=time.process_time() - cpu)
    finally:
        done.set()
        watcher.join()
