"""Reading records: images a second, memory over ten epochs, opening 17 million records. About two minutes.

    python -m benchmarks.data --data DIR [--json FILE]

DIR has `lfw-112x112.zip`: 13,233 JPEGs of 112 x 112 pixels, which are packed first. The bare loop decodes the same
JPEGs from memory in as many threads, in the same random order, and does nothing else; `ImageRecordIter` is MXNet's own
reader, which yields floats. The three take turns.
"""

import itertools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import mxnet as mx
import numpy as np
import simplejpeg

from partial_fc.collectives import Communicator
from partial_fc.data.batches import BatchReader
from partial_fc.data.index import read_index
from partial_fc.data.record_writer import record_files
from partial_fc.data.records import RecordFile

from .measure import machine, print_table, resident
from .training import parser

SIZE, BATCH_SIZE = 112, 64
WORKERS, ROUNDS, EPOCHS = (1, 2), 5, 10
NUM_RECORDS, RECORD_BYTES = 17_451_890, 8192  # Glint360K's: images, identities and record 0
_IMAGES = "lfw-112x112.zip"


def main(argv=None):
    """Measure and print; returns the exit status."""
    args = parser("data", "Time the reader of records.", (_IMAGES,)).parse_args(argv)
    with zipfile.ZipFile(os.path.join(args.data, _IMAGES)) as archive:
        images = [archive.read(name) for name in archive.namelist() if name.endswith(".jpg")]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "train.rec")
        with record_files(path) as writer:
            for label, image in enumerate(images):
                writer.write_image(image, label)
        speeds = [_speeds(path, images, workers) for workers in WORKERS]
        memory = _memory(path)
        opening = _opening(os.path.join(folder, "large.idx"))
    print_table(
        ["workers", "bare loop images/s", "reader", "reader / bare loop", "ImageRecordIter"],
        [
            [f"{case['workers']}", f"{case['bare']:.0f}", f"{case['reader']:.0f}", f"{case['ratio']:.2f}",
             f"{case['stock']:.0f}"]
            for case in speeds
        ],
    )
    print_table(["epoch", "memory MiB"], [[str(epoch), f"{value:.0f}"] for epoch, value in enumerate(memory, start=1)])
    print_table(
        ["records in the index", "opened in s", "memory at most MiB", "memory then MiB"],
        [[f"{opening['records']}", f"{opening['seconds']:.1f}", f"{opening['peak']:.0f}", f"{opening['kept']:.0f}"]],
    )
    if args.json:
        with open(args.json, "w") as file:
            json.dump(dict(machine=machine(), speeds=speeds, memory=memory, opening=opening), file, indent=2)
    return 0


def _speeds(path, images, workers):
    """Medians of images a second; the ratio is the median of the rounds' ratios."""
    calls = dict(
        bare=lambda: _bare(images, workers), reader=lambda: _reader(path, workers), stock=lambda: _stock(path, workers)
    )
    rates = {name: [] for name in calls}
    for number in range(1 + ROUNDS):  # the first warms up
        for name, call in calls.items():
            start = time.perf_counter()
            rates[name].append(call() / (time.perf_counter() - start))
        print(f"{workers} workers: round {number}/{ROUNDS}", file=sys.stderr, flush=True)
    result = {name: statistics.median(values[1:]) for name, values in rates.items()}
    result["ratio"] = statistics.median(a / b for a, b in zip(rates["reader"][1:], rates["bare"][1:]))
    return dict(workers=workers, **result)


def _bare(images, workers):
    order = np.random.RandomState(0).permutation(len(images)).tolist()

    def decode(worker):
        out = np.empty((SIZE, SIZE, 3), np.uint8)
        for index in order[worker::workers]:
            simplejpeg.decode_jpeg(images[index], "RGB", fastdct=False, fastupsample=False, buffer=out)

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
        path_imgrec=path, path_imgidx=os.path.splitext(path)[0] + ".idx", data_shape=(3, SIZE, SIZE),
        batch_size=BATCH_SIZE, shuffle=True, rand_mirror=True, preprocess_threads=workers, verbose=False,
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
    """Seconds, and MiB more than before, at most and in the end, to open an index in a process of its own."""
    with open(path, "w") as file:
        for start in range(1, NUM_RECORDS, 100_000):
            numbers = range(start, min(start + 100_000, NUM_RECORDS))
            file.writelines(f"{number}\t{number * RECORD_BYTES}\n" for number in numbers)
        file.write("0\t0\n")  # record 0 is the last to be written
    # a fresh process: this one has memory to give away again
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_open_index, path).result()


def _open_index(path):
    before, start = resident("VmRSS"), time.perf_counter()
    index = read_index(path, (NUM_RECORDS + 1) * RECORD_BYTES)
    seconds = time.perf_counter() - start
    peak, kept = resident("VmHWM") - before, resident("VmRSS") - before
    return dict(records=len(index), seconds=seconds, peak=peak, kept=kept)


if __name__ == "__main__":
    sys.exit(main())
