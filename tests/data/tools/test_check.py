import io
import json
import os
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from partial_fc.cli.data import main as commands
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_writer import write_records
from partial_fc.data.records.recordio import EXACT, write_record
from partial_fc.data.tools.check import BLOCK, check, check_text
from partial_fc.data.tools.check_structure import Findings, check_ranges

from helpers.faces import face, write_faces

MAGIC = (0xCED7230A).to_bytes(4, "little")


def jpeg(identity, image=0, size=32):
    return encode_jpeg(face(identity, image, size))


def encoded(pixels, kind, mode=None):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def small():
    """(number, label, content) of five images of two identities, in InsightFace's form."""
    images = [(number, float(number > 3), jpeg(number)) for number in range(1, 6)]
    return images + [(6, (1, 4), b""), (7, (4, 6), b""), (0, (6, 8), b"")]


def write(folder, records, without=()):
    """Write the records; the index lacks the numbers `without`. Returns position by number."""
    positions = {}
    with open(str(folder / "train.rec"), "wb") as file:
        for number, label, content in records:
            positions[number] = file.tell()
            write_record(file, label, number, 0, content)
    write_index(folder, {number: place for number, place in positions.items() if number not in without})
    return positions


def write_index(folder, positions):
    (folder / "train.idx").write_text("".join(f"{number}\t{place}\n" for number, place in positions.items()))


def changed(index, label=None, content=None):
    records = small()
    number, old_label, old_content = records[index]
    records[index] = (number, old_label if label is None else label, old_content if content is None else content)
    return records


def found(folder, **arguments):
    """(severity, count, record numbers, joined messages) by kind."""
    facts = check(str(folder), **arguments)
    json.dumps(facts)
    return {
        each["kind"]: (
            each["severity"],
            each["count"],
            [example["record"] for example in each["examples"]],
            "; ".join(example["message"] for example in each["examples"]),
        )
        for each in facts["findings"]
    }


def overwrite(path, position, content):
    with open(str(path), "rb+") as file:
        file.seek(position)
        file.write(content)


def test_whole_data_set_is_ok(tmp_path, capsys):
    write_faces(tmp_path, num_identities=3, images=BLOCK // 2)  # more than a block
    (tmp_path / "property").write_text("3,32,32\n")
    assert commands.main(["check", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == {
        "file": str(tmp_path / "train.rec"),
        "images": 384,
        "identities": 3,
        "height": 32,
        "width": 32,
        "errors": 0,
        "findings": [],
    }
    assert commands.main(["check", str(tmp_path / "train.rec"), "--workers", "1"]) == 0
    assert capsys.readouterr().out == "OK: 384 images of 3 identities, 32x32 pixels\n"


def test_errors_give_status_1(tmp_path, capsys):
    write(tmp_path, changed(1, content=jpeg(2)[:-300]))
    assert commands.main(["check", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("error: unreadable image: 1: record 2: ") and lines[1] == "1 error"
    assert commands.main(["check", str(tmp_path), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["errors"] == 1 and facts["findings"][0]["examples"][0]["record"] == 2


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0 nor this"])
def test_content_that_is_no_image(tmp_path, content):
    write(tmp_path, changed(3, content=content))
    assert list(found(tmp_path)) == ["unreadable image"]
    assert found(tmp_path)["unreadable image"][:3] == ("error", 1, [4])


def test_first_image_unreadable(tmp_path):
    write(tmp_path, changed(0, content=b"none"))
    assert list(found(tmp_path)) == ["unreadable image"]  # the size is that of the next


def test_nothing_readable(tmp_path):
    write(tmp_path, [(number, 0.0, b"none") for number in range(1, 4)])
    assert found(tmp_path)["unreadable image"][:2] == ("error", 3)
    positions = write(tmp_path, small())
    for number in range(1, 6):
        overwrite(tmp_path / "train.rec", positions[number], bytes(4))
    assert found(tmp_path)["unreadable record"][:3] == ("error", 5, [1, 2, 3, 4, 5])


def test_unreadable_record_is_reported_once(tmp_path):
    # the magic number where no record can start
    positions = write(tmp_path, changed(1, content=jpeg(2) + b"".join(bytes(i) + MAGIC for i in range(1, 5))))
    overwrite(tmp_path / "train.rec", positions[2], b"\0\0\0\0")
    assert {kind: each[:3] for kind, each in found(tmp_path).items()} == {"unreadable record": ("error", 1, [2])}


def test_images_of_another_size(tmp_path):
    write(tmp_path, changed(2, content=jpeg(3, size=48)))
    assert found(tmp_path) == {"size": ("error", 1, [3], "record 3: 48x48 pixels (height x width)")}
    assert found(tmp_path, size=(48, 48))["size"][1:3] == (4, [1, 2, 4, 5])
    (tmp_path / "property").write_text("2,48,48")
    assert found(tmp_path)["size"][1:3] == (4, [1, 2, 4, 5])
    assert commands.main(["check", str(tmp_path), "--size", "32"]) == 1


def test_width_and_height_are_not_the_same(tmp_path):
    tall = face(9, 0, 48)[:, :32]
    write(tmp_path, changed(2, content=encode_jpeg(tall)))
    assert list(found(tmp_path, size=(48, 32))) == ["size"] and found(tmp_path, size=(48, 32))["size"][1] == 4
    write(tmp_path, [(1, 0.0, encode_jpeg(tall)), (2, 0.0, encode_jpeg(np.ascontiguousarray(tall.transpose(1, 0, 2))))])
    assert found(tmp_path)["size"][:3] == ("error", 1, [2])


@pytest.mark.parametrize("label", [float("nan"), -1.0, 0.5])
def test_label_that_is_none(tmp_path, label):
    write(tmp_path, changed(1, label=label))
    assert {kind: each[:3] for kind, each in found(tmp_path).items()} == {"label": ("error", 1, [2])}


def test_missing_labels(tmp_path):
    labels = [1.0, 1.0, 3.0, 15.0, 16.0]
    write(tmp_path, [(number, label, jpeg(number)) for number, label in enumerate(labels, start=1)])
    expected = "no images of 0, 2, 4, 5, 6, 7, 8, 9, 10, 11, ... below 17"
    assert found(tmp_path) == {"labels not dense": ("error", 13, [None], expected)}


def test_numbers_of_identities(tmp_path):
    write(tmp_path, small())
    (tmp_path / "property").write_text("3,32,32")
    kind, (severity, count, _, message) = next(iter(found(tmp_path).items()))
    assert (kind, severity, count) == ("number of identities", "error", 1) and message.startswith("property says 3")
    (tmp_path / "property").write_text("many")
    assert list(found(tmp_path)) == ["property"]
    os.remove(str(tmp_path / "property"))
    write(tmp_path, small()[:7] + [(8, (6, 6), b""), (0, (6, 9), b"")])  # an identity without images
    kinds = found(tmp_path)
    assert kinds["number of identities"][2] == [0]
    assert kinds["empty identity"] == ("error", 1, [8], "record 8: identity 2 has no images")


def test_identity_without_images(tmp_path):
    write_records(str(tmp_path / "train.rec"), [[jpeg(1)], [], [jpeg(2), jpeg(3)]])
    assert found(tmp_path) == {"empty identity": ("error", 1, [5], "record 5: identity 1 has no images")}


def test_labels_beyond_the_ranges(tmp_path):
    write(tmp_path, changed(4, label=4.0))
    assert found(tmp_path)["labels not dense"][3] == "no images of 2, 3 below 5"


@pytest.mark.parametrize("keep", [0.9, 0.6])
def test_truncated_file_is_reported_record_by_record(tmp_path, keep):
    positions = write(tmp_path, small())
    size = int(keep * positions[6])
    os.truncate(str(tmp_path / "train.rec"), size)
    lost = [number for number, start in positions.items() if start >= size]
    half = [number for number, start in positions.items() if start < size][-1]
    kinds = found(tmp_path)
    assert kinds["record 0"][:3] == ("error", 1, [0])
    assert sorted(kinds["unreadable record"][2]) == sorted(set([half, *lost]) - {0})


def test_misplaced_record_is_reported(tmp_path):
    positions = write(tmp_path, small())
    write_index(tmp_path, {**positions, 2: 10**6, 3: positions[3] + 2})
    kinds = found(tmp_path)
    assert kinds["unreadable record"][:3] == ("error", 2, [2, 3])
    assert kinds["not in the index"][1] == 2 and len(kinds) == 2


@pytest.mark.parametrize(
    "index,label,records",
    [(6, (4, 7), [7]), (5, (2, 4), [1, 6]),
     (5, (1, 5), [6]), (5, (1, 3), [3, 6]), (6, (5, 4), [7]), (6, 4.0, [7]), (7, (6, 7), [0]),
     (6, (float("nan"), 6), [7]), (6, (4, float("inf")), [7]), (5, (4, 6), [1, 2, 3, 6])],
)  # fmt: skip
def test_ranges_that_do_not_agree_with_labels(tmp_path, index, label, records):
    write(tmp_path, changed(index, label=label))
    severity, _, reported, _ = found(tmp_path)["identity range"]
    assert severity == "error" and reported[: len(records)] == records


def test_image_in_the_range_of_another(tmp_path):
    write(tmp_path, changed(2, label=1.0))
    assert set(found(tmp_path)) == {"identity range"} and found(tmp_path)["identity range"][2] == [3, 6, 7]


def test_rounded_ranges_are_no_errors():
    starts = np.array([-50, -1, 0, 2, 3, 37]) + EXACT  # 2^24 + 3 becomes 2^24 + 4, and + 37 becomes + 36
    keys = np.arange(starts[0], starts[-1])
    labels = np.searchsorted(starts, keys, "right") - 1
    edges = np.stack([starts[:-1], starts[1:]], 1).astype(np.float32).astype(float)
    records = SimpleNamespace(keys=keys, ranges=range(starts[-1], starts[-1] + 5))
    others = np.arange(starts[-1], starts[-1] + 5)
    findings = Findings()
    check_ranges(records, labels, others, edges, findings)
    assert findings.listed() == []
    edges[4, 1] += 8
    check_ranges(records, labels, others, edges, findings)
    assert findings.listed()[0]["examples"][0]["record"] == records.ranges.start + 4


def test_record_that_the_index_lacks(tmp_path):
    positions = write(tmp_path, small() + [(8, 1.0, jpeg(8))], without=(8,))
    message = f"record at byte {positions[8]}, whose header has the number 8"
    assert found(tmp_path) == {"not in the index": ("error", 1, [None], message)}
    write(tmp_path, [(number, 0.0, jpeg(number)) for number in range(1, 6)], without=(1, 3))
    assert found(tmp_path)["not in the index"][1] == 2 and list(found(tmp_path)) == ["not in the index"]


def test_position_that_is_no_start(tmp_path):
    positions = write(tmp_path, [(number, 0.0, jpeg(number)) for number in range(1, 4)])
    write_index(tmp_path, {**positions, 2: positions[2] + 8})
    kinds = found(tmp_path)
    assert set(kinds) == {"unreadable record", "not in the index"} and kinds["unreadable record"][2] == [2]
    assert f"byte {positions[2]}," in kinds["not in the index"][3]


def test_records_behind_several_wrong_positions_are_reported_once(tmp_path):
    positions = write(tmp_path, [(number, 0.0, jpeg(number)) for number in range(1, 7)])
    write_index(tmp_path, {number: place + 8 * (number in (2, 3, 4)) for number, place in positions.items()})
    kinds = found(tmp_path)
    assert kinds["unreadable record"][2] == [2, 3, 4] and kinds["not in the index"][1] == 3


def test_two_numbers_of_one_record(tmp_path):
    positions = write(tmp_path, [(number, 0.0, jpeg(number)) for number in range(1, 4)])
    write_index(tmp_path, {**positions, 9: positions[3]})
    assert found(tmp_path)["index"][:3] == ("error", 1, [3])


def test_bytes_that_are_no_record(tmp_path):
    positions = write(tmp_path, small())
    size = os.path.getsize(str(tmp_path / "train.rec"))
    overwrite(tmp_path / "train.rec", size, bytes(40))
    assert found(tmp_path) == {"no record": ("error", 1, [None], f"bytes {size} to {size + 39} are not a record")}
    write_index(tmp_path, {number: place for number, place in positions.items() if number not in (1, 2)})
    overwrite(tmp_path / "train.rec", 0, bytes(4))
    kinds = found(tmp_path)
    assert kinds["no record"][1] == 2 and kinds["not in the index"][1] == 1  # found again after the damage


def test_content_with_the_magic_number_is_walked_over(tmp_path):
    records = [(1, 0.0, jpeg(1)), (2, 0.0, jpeg(2) + MAGIC * 9), (3, 0.0, jpeg(3))]
    write(tmp_path, records)
    assert found(tmp_path) == {}
    write(tmp_path, records, without=(2,))
    assert found(tmp_path)["not in the index"][1] == 1


def test_duplicates_are_notes(tmp_path, capsys):
    images = [jpeg(1), jpeg(2), jpeg(1), jpeg(3), jpeg(1), jpeg(2), jpeg(4)]
    labels = [0, 0, 0, 0, 1, 1, 1]
    write(tmp_path, [(number, float(label), image) for number, (label, image) in enumerate(zip(labels, images), 1)])
    kinds = found(tmp_path)
    first = "records 1 (identity 0), 3 (identity 0), 5 (identity 1)"
    assert kinds == {
        "duplicate in an identity": ("note", 1, [1], "records 1 (identity 0), 3 (identity 0)"),
        "duplicate between identities": ("note", 2, [1, 2], f"{first}; records 2 (identity 0), 6 (identity 1)"),
    }
    assert commands.main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("\nOK: 7 images of 2 identities, 32x32 pixels\n")


def test_colors_that_are_converted_are_notes(tmp_path):
    gray, deep = face(1, 0)[:, :, 0], face(1, 1).astype(np.uint16) * 257
    cmyk = np.dstack([face(1, 2), gray])
    images = [
        jpeg(1),
        encoded(np.ascontiguousarray(gray), "JPEG"),
        encoded(np.ascontiguousarray(gray), "PNG"),
        encoded(cmyk, "JPEG", "CMYK"),
        cv2.imencode(".png", deep)[1].tobytes(),
        cv2.imencode(".png", deep[:, :, 0])[1].tobytes(),
        encoded(face(1, 3), "PNG"),
    ]
    write(tmp_path, [(number, 0.0, image) for number, image in enumerate(images, start=1)])
    assert {kind: each[:3] for kind, each in found(tmp_path).items()} == {
        "gray": ("note", 2, [2, 3]),
        "CMYK": ("note", 1, [4]),
        "16-bit": ("note", 2, [5, 6]),
    }


def test_many_findings_are_counted_and_some_named(tmp_path):
    write_records(str(tmp_path / "train.rec"), [[b"none %d" % number for number in range(BLOCK + 30)]])
    facts = check(str(tmp_path))
    assert facts["findings"][0]["count"] == BLOCK + 30 and len(facts["findings"][0]["examples"]) == 10
    assert check_text(facts)[0].endswith("; ...") and check_text(facts)[-1] == f"{BLOCK + 30} errors"


def test_file_that_cannot_be_opened_is_the_error(tmp_path, capsys):
    write(tmp_path, small())
    overwrite(tmp_path / "train.idx", 0, b"garbage")
    assert commands.main(["check", str(tmp_path), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["errors"] == 1 and facts["findings"][0]["kind"] == "unreadable file"
    assert "not an index" in facts["findings"][0]["examples"][0]["message"]
    assert commands.main(["check", str(tmp_path / "nowhere")]) == 2
    printed = capsys.readouterr()
    assert not printed.out and printed.err == f"error: {tmp_path}/nowhere/train.rec: no such file\n"
