"""Damaged files of any kind give data or one of our errors, within bounded time and memory.

The number of cases is the environment variable PARTIAL_FC_FUZZ; each is a function of its number alone.
"""

import os
import pickle
import struct
import time
import tracemalloc

import cv2
import numpy as np
import pytest

from partial_fc.data.image import decode_image, encode_jpeg
from partial_fc.data.record_writer import record_files, write_records
from partial_fc.data.records import RecordFile
from partial_fc.data.verification_set import load_verification_set
from partial_fc.errors import InputError

from faces import face

CASES = int(os.environ.get("PARTIAL_FC_FUZZ", 600))
SIZE = 16
SECONDS, BYTES, RESIDENT_KIB = 2, 64 * 2**20, 100 * 2**10
MAGIC = b"\x0a\x23\xd7\xce"


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Contents of undamaged files: pairs of records and index, and verification sets."""
    folder = tmp_path_factory.mktemp("seeds")
    jpegs = [encode_jpeg(face(0, number, SIZE)) for number in range(6)]
    png = cv2.imencode(".png", face(1, 0, SIZE))[1].tobytes()
    write_records(str(folder / "faces.rec"), [jpegs[:3], [jpegs[3], png], [jpegs[4] + MAGIC * 3, jpegs[5]]])
    with record_files(str(folder / "plain.rec")) as writer:
        for number, jpeg in enumerate(jpegs):
            writer.write_image(jpeg, 2**24 + number if number == 4 else number)
    pairs = [(folder / f"{name}.rec").read_bytes() for name in ("faces", "plain")]
    indices = [(folder / f"{name}.idx").read_bytes() for name in ("faces", "plain")]
    issame = [True, False, True]
    sets = [
        pickle.dumps((jpegs, issame), protocol=2), pickle.dumps((jpegs, issame), protocol=4),
        pickle.dumps(([np.frombuffer(jpeg, np.uint8) for jpeg in jpegs], np.array(issame)), protocol=2),
    ]
    return list(zip(pairs, indices)), sets


def mutate(content, random):
    """One to three damages."""
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        start = random.randint(len(data) + 1)
        length = int(2 ** random.uniform(0, 9))
        noise = random.bytes(length)
        kind = random.randint(10)
        if kind == 0 and data:
            data[start % len(data)] ^= 1 << random.randint(8)
        elif kind == 1:
            data[start : start + length] = noise[: len(data) - start]
        elif kind == 2:
            del data[start:]
        elif kind == 3:
            data[start:start] = noise
        elif kind == 4:
            del data[start : start + length]
        elif kind == 5:
            data[start:start] = data[start : start + length]
        elif kind == 6:  # huge numbers, as text and in binary
            data[start:start] = [b"99999999999", b"-1\t", b"18446744073709551616", b"\n", b"\t"][random.randint(5)]
        elif kind == 7:
            data[start : start + 4] = struct.pack("<I", [0, 2**32 - 1, 2**29 - 1, 0x7FC00000][random.randint(4)])
        elif kind == 8:  # the length of a PNG's pixels
            place = data.find(b"IDAT") - 4
            if place >= 0:
                data[place : place + 4] = struct.pack(">I", [2**31 - 1, 2**30, 2**26][random.randint(3)])
        else:  # the word behind a magic number: kind and length of a part
            place = data.find(MAGIC, start)
            if place >= 0:
                data[place + 4 : place + 8] = random.bytes(4)
    return bytes(data)


def write_case(number, seeds, folder):
    """Files of a case; returns the path of its records or verification set."""
    random, (pairs, sets) = np.random.RandomState(number), seeds
    if number % 4 == 3:
        path = folder / "set.bin"
        path.write_bytes(mutate(sets[random.randint(len(sets))], random))
        return str(path)
    records, index = pairs[random.randint(2)]
    which = random.randint(4)
    if which == 0:
        index = mutate(pairs[random.randint(2)][1], random)
    elif which == 1:
        records = mutate(records, random)
    elif which == 2:
        records, index = mutate(records, random), mutate(index, random)
    else:
        index = pairs[random.randint(2)][1]  # perhaps the other file's
        records = mutate(records, random)
    (folder / "train.rec").write_bytes(records)
    (folder / "train.idx").write_bytes(index)
    return str(folder / "train.rec")


def use(path):
    """All that can be asked of a file; counts what gave data and what an error."""
    counts = dict(data=0, errors=0)

    def attempt(function, *arguments):
        try:
            result = function(*arguments)
        except InputError:
            counts["errors"] += 1
            return None
        counts["data"] += 1
        return result

    images = []
    if path.endswith(".bin"):
        loaded = attempt(load_verification_set, path)
        images = loaded.images if loaded else []
        assert not loaded or len(images) == 2 * len(loaded.issame)
    else:
        records = attempt(RecordFile, path)
        if records:
            labels = attempt(records.labels)
            assert labels is None or labels.min() >= 0 and len(labels) == len(records.keys)
            for index, key in enumerate(records.keys.tolist()):
                read = attempt(records.read, key)
                if read:
                    images.append(read[0])
                    assert type(read[1]) is int and read[1] >= 0
                    assert labels is None or labels[index] == read[1]
    for image in images:
        decoded = attempt(decode_image, image, (SIZE, SIZE))
        assert decoded is None or decoded.shape == (SIZE, SIZE, 3)
    return counts


def resident_at_most(reset=False):
    """Most memory of this process in KiB, since the last reset."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def test_data_or_our_error(seeds, tmp_path):
    total = dict(data=0, errors=0)
    resident = resident_at_most(reset=True)
    for number in range(CASES):
        path = write_case(number, seeds, tmp_path)
        tracemalloc.start()
        start = time.perf_counter()
        try:
            counts = use(path)
            seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
        except Exception as error:
            raise AssertionError(f"case {number}: {error!r}") from error
        finally:
            tracemalloc.stop()
        assert seconds < SECONDS and peak < BYTES, f"case {number}"
        total = {name: total[name] + counts[name] for name in total}
        # what the libraries ask for, which tracemalloc does not see
        assert resident_at_most() - resident < RESIDENT_KIB, f"case {number}"
    assert min(total.values()) > CASES / 2  # both happened often
