"""Reading records: decoders, images per second, memory over ten epochs, opening 17 million records. Three minutes.

    python -m benchmarks.data --data DIR [--json FILE]

DIR has `lfw-112x112.zip`: 13,233 JPEGs of 112 x 112 pixels, which are packed first. The bare loop decodes the same
JPEGs from memory in as many threads, in the same random order, and does nothing else: once into an array as NumPy
makes it, once into one of `image_memory`, as the reader does; `ImageRecordIter` is MXNet's own reader, which yields
floats. They take turns, and so do the decoders, each in one thread. The processor time per image, summed over all
threads, is the more reliable figure if other programs run at the same time.
"""

import functools
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import mxnet as mx
import numpy as np
import simplejpeg

from partial_fc import files
from partial_fc.data.batches import BatchReader
from partial_fc.data.images.decoders import image_memory
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import record_files
from partial_fc.data.records.recordio import write_record
from partial_fc.distributed.collectives import Communicator

from .measure import machine, print_table, resident
from .training import parser

SIZE, BATCH_SIZE = 112, 64
WORKERS, ROUNDS, EPOCHS = (1, 2), 5, 10
NUM_IMAGES, NUM_IDENTITIES, IMAGE_BYTES, RANGE_BYTES = 17_091_657, 360_232, 8192, 48  # Glint360K's
OPENING_WORKERS, DECODED = 4, 3000
_IMAGES = "lfw-112x112.zip"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print; returns the exit status."""
    args = parser("data", "Time the reader of records.", (_IMAGES,)).parse_args(argv)
    with zipfile.ZipFile(os.path.join(args.data, _IMAGES)) as archive:
        images = [archive.read(name) for name in archive.namelist() if name.endswith(".jpg")]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "train.rec")
        with record_files(path) as writer:
            for label, image in enumerate(images):
                writer.write_image(image, label)
        decoders = _decoders(images[:DECODED])
        speeds = [_speeds(path, images, workers) for workers in WORKERS]
        memory = _memory(path)
        opening = _opening(os.path.join(folder, "large.rec"))
    _print_decoders(decoders)
    _print_speeds(speeds)
    print_table(["epoch", "memory MiB"], [[str(epoch), f"{value:.0f}"] for epoch, value in enumerate(memory, start=1)])
    _print_opening(opening)
    if args.json:
        figures = dict(machine=machine(), decoders=decoders, speeds=speeds, memory=memory, opening=opening)
        files.write_json(args.json, figures)
    return 0


def _print_decoders(decoders):
    print_table(
        ["decoder", "images/s", "processor us per image"],
        [[case["name"], f"{case['rate']:.0f}", f"{case['processor']:.0f}"] for case in decoders],
    )


def _print_speeds(speeds):
    header = ["workers", "bare loop images/s", "not aligned", "reader", "ImageRecordIter", "reader / bare loop"]
    rows = [
        [
            str(case["workers"]),
            *(f"{case[name]:.0f}" for name in ("bare", "unaligned", "reader", "stock")),
            f"{case['ratio']:.2f}",
            f"{case['unaligned_ratio']:.2f}",
            ", ".join(f"{value:.0f}" for value in case["processor"]),
        ]
        for case in speeds
    ]
    print_table([*header, "reader / not aligned", "processor us per image, of each"], rows)


def _print_opening(opening):
    print_table(
        ["", "s", "memory at most MiB", "memory then MiB"],
        [[step["step"], f"{step['seconds']:.1f}", f"{step['peak']:.0f}", f"{step['kept']:.0f}"] for step in opening],
    )


def _decoders(images):
    """Medians of images per second, and of microseconds of processor time per image."""
    out, unaligned = np.empty((SIZE, SIZE, 3), np.uint8), image_memory(SIZE, SIZE, 3)
    calls = {
        "libjpeg-turbo, by simplejpeg": lambda image: _decode(image, out),
        "the same, not aligned": lambda image: _decode(image, unaligned),
        "OpenCV": lambda image: cv2.cvtColor(
            cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB, dst=out
        ),
        "MXNet": lambda image: mx.image.imdecode(image).wait_to_read(),
    }
    found = _measure({name: functools.partial(_decode_all, call, images) for name, call in calls.items()}, "decoders")
    return [dict(name=name, rate=np.median(rates), processor=np.median(work)) for name, (rates, work) in found.items()]


def _decode(image, out):
    simplejpeg.decode_jpeg(image, "RGB", fastdct=False, fastupsample=False, buffer=out)


def _decode_all(call, images):
    for image in images:
        call(image)
    return len(images)


def _speeds(path, images, workers):
    """Medians of images per second and of `processor` (us per image); a ratio is the median of the rounds' ratios."""
    calls = dict(
        bare=lambda: _bare(images, workers, lambda *shape: np.empty(shape, np.uint8)),
        unaligned=lambda: _bare(images, workers, image_memory),
        reader=lambda: _reader(path, workers),
        stock=lambda: _stock(path, workers),
    )
    found = _measure(calls, f"{workers} workers")
    result = {name: np.median(rates) for name, (rates, _) in found.items()}
    result["ratio"], result["unaligned_ratio"] = (
        np.median(found["reader"][0] / found[name][0]) for name in ("bare", "unaligned")
    )
    return dict(workers=workers, processor=[np.median(work) for _, work in found.values()], **result)


def _measure(calls, what):
    """Images per second and microseconds of processor time per image, (rounds,) each, by name of a function.

    Each function returns the number of its images; they take turns.
    """
    found: Dict[str, List[Tuple[float, float]]] = {name: [] for name in calls}
    for number in range(1 + ROUNDS):  # the first warms up
        for name, call in calls.items():
            start, begin = time.perf_counter(), time.process_time()
            count = call()
            found[name].append((count / (time.perf_counter() - start), 1e6 * (time.process_time() - begin) / count))
        print(f"{what}: round {number}/{ROUNDS}", file=sys.stderr, flush=True)
    return {name: np.array(rounds[1:]).T for name, rounds in found.items()}


def _bare(images, workers, memory):
    order = np.random.RandomState(0).permutation(len(images)).tolist()

    def decode(worker):
        out = memory(SIZE, SIZE, 3)
        for index in order[worker::workers]:
            _decode(images[index], out)

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(decode, range(workers)))
    return len(images)


def _reader(path, workers):
    reader = BatchReader(RecordFile(path), SIZE, BATCH_SIZE, Communicator(), num_workers=workers)
    batches = reader.batches()
    for _ in itertools.islice(batches, reader.updates_per_epoch):
        pass
    batches.close()
    return reader.updates_per_epoch * BATCH_SIZE


def _stock(path, workers):
    reader = mx.io.ImageRecordIter(
        path_imgrec=path,
        path_imgidx=os.path.splitext(path)[0] + ".idx",
        data_shape=(3, SIZE, SIZE),
        batch_size=BATCH_SIZE,
        shuffle=True,
        rand_mirror=True,
        preprocess_threads=workers,
        verbose=False,
    )
    batches = 0
    for batch in reader:
        batch.data[0].wait_to_read()
        batches += 1
    return batches * BATCH_SIZE


def _memory(path):
    """Memory in MiB at the end of each epoch."""
    reader = BatchReader(RecordFile(path), SIZE, BATCH_SIZE, Communicator(), num_workers=2)
    memory, batches = [], reader.batches()
    for _ in range(EPOCHS):
        for _ in itertools.islice(batches, reader.updates_per_epoch):
            pass
        memory.append(resident("VmRSS"))
    batches.close()
    return memory


def _opening(path):
    """Steps to the first batch of a file like Glint360K's in a process of its own: seconds, MiB more than before."""
    first = NUM_IMAGES + 1  # range of an identity
    with open(os.path.splitext(path)[0] + ".idx", "w") as file:
        for start in range(1, first + NUM_IDENTITIES, 100_000):
            numbers = range(start, min(start + 100_000, first + NUM_IDENTITIES))
            file.writelines(f"{number}\t{_position(number)}\n" for number in numbers)
        file.write("0\t0\n")  # record 0 is the last to be written
    with open(path, "wb") as file:  # with holes, where nothing is read
        write_record(file, (first, first + NUM_IDENTITIES), 0, 0, b"")
        for number in (NUM_IMAGES, first, first + 1):  # around the first range, of which the number is rounded
            file.seek(_position(number))
            write_record(file, 0.0 if number < first else (1.0, 2.0), number, 0, b"image" if number < first else b"")
        file.truncate(_position(first + NUM_IDENTITIES))
    # a fresh process: this one has memory to give away again
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_open, path).result()


def _position(number):
    ranges = max(number - NUM_IMAGES - 1, 0)
    return (number - ranges) * IMAGE_BYTES + ranges * RANGE_BYTES


def _open(path):
    before, steps = resident("VmRSS"), []

    def measure(name, function):
        start = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - start
        peak, kept = resident("VmHWM") - before, resident("VmRSS") - before
        steps.append(dict(step=name, seconds=seconds, peak=peak, kept=kept))
        return result

    records = measure(f"{NUM_IMAGES + 1 + NUM_IDENTITIES:,} records opened", lambda: RecordFile(path))
    reader = measure(
        "reader made, empty identities counted",
        lambda: BatchReader(records, SIZE, BATCH_SIZE, Communicator(), num_workers=OPENING_WORKERS),
    )
    with ThreadPoolExecutor(OPENING_WORKERS) as threads:
        for epoch in range(2):
            measure(
                f"order of epoch {epoch}, for which {OPENING_WORKERS} threads ask",
                lambda epoch=epoch: list(threads.map(reader._order.of, [epoch] * OPENING_WORKERS)),
            )
    return steps


if __name__ == "__main__":
    sys.exit(main())
