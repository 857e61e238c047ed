import logging
import os
import resource
import struct

import pytest

from partial_fc.cli.data import main as commands
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.records.record_writer import record_files, write_records
from partial_fc.data.tools.check import check
from partial_fc.data.tools.copying import Reading
from partial_fc.data.tools.rewrite import merge, shuffle, split
from partial_fc.errors import InputError

from helpers.faces import face

FIRST = [[b"a", b"bb"], [b"\xff\xd8 not decoded"], [b"c", b"", b"d" * 5000]]
PLAIN = [(b"p", 5), (b"q", 2), (b"r", 5), (b"s", 0)]


@pytest.fixture
def sources(tmp_path):
    """A data set with names, and a plain file of images whose labels have gaps and no order."""
    for name in ("first", "plain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "property").write_text("6,48,32\n")
    write_records(str(tmp_path / "first" / "train.rec"), FIRST)
    (tmp_path / "first" / "identities.txt").write_bytes("Ann\nBo\xe4b\nC\xff\n".encode("latin1"))
    with record_files(str(tmp_path / "plain" / "other.rec")) as writer:
        for image, label in PLAIN:
            writer.write_image(image, label)
    return [str(tmp_path / "first"), str(tmp_path / "plain" / "other.rec")]


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "new" / "out")


def images_of(folder):
    """Images by label; checks that the identities' records tell the same."""
    records = RecordFile(os.path.join(folder, "train.rec"))
    result = [[] for _ in range(records.num_identities)]
    for key in records.keys:
        image, label = records.read(key)
        result[label].append(image)
    if records.ranges is not None:
        ranges = [records.read_record(key).label.tolist() for key in records.ranges]
        assert [end - start for start, end in ranges] == [len(images) for images in result]
    return result


def lines(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read().split(b"\n")[:-1]


def test_merge(sources, out, caplog):
    with caplog.at_level(logging.INFO, "partial_fc"):
        assert merge(sources, out) == (10, 6)
    assert images_of(out) == FIRST + [[b"s"], [b"q"], [b"p", b"r"]]
    assert lines(out, "property") == [b"6,48,32"]
    assert lines(out, "identities.txt") == [b"1/Ann", b"1/Bo\xe4b", b"1/C\xff", b"2/0", b"2/2", b"2/5"]
    assert "other.rec: 3 of 6 identities have no images and are dropped" in caplog.text
    assert sorted(os.listdir(out)) == ["identities.txt", "property", "train.idx", "train.rec"]


def test_merge_of_one_source_keeps_its_names(sources, out):
    assert merge(sources[:1], out) == (6, 3)
    assert lines(out, "identities.txt") == lines(sources[0], "identities.txt")
    with open(os.path.join(sources[0], "train.rec"), "rb") as old, open(os.path.join(out, "train.rec"), "rb") as new:
        assert old.read() == new.read()


def test_merge_leaves_out(sources, out, tmp_path):
    (tmp_path / "list").write_text("# both\n\n1 1\n2\t5 # twice\n  2 5\n")
    assert merge(sources, out, str(tmp_path / "list")) == (7, 4)
    assert images_of(out) == [FIRST[0], FIRST[2], [b"s"], [b"q"]]
    assert lines(out, "identities.txt") == [b"1/Ann", b"1/C\xff", b"2/0", b"2/2"]


@pytest.mark.parametrize(
    "line,message",
    [("1", "expected SOURCE LABEL"), ("1 two", "expected"), ("1 2 3", "expected"), ("3 0", "no source 3"),
     ("0 0", "no source 0"), ("1 3", "no images of label 3"), ("2 1", "no images of label 1"), ("1 -1", "expected")],
)  # fmt: skip
def test_wrong_line_of_what_to_leave_out(sources, out, tmp_path, line, message):
    (tmp_path / "list").write_text(f"1 0\n#\n{line}\n")
    with pytest.raises(InputError, match=f"list, line 3: .*{message}"):
        merge(sources, out, str(tmp_path / "list"))
    assert not os.path.exists(out)


def test_merge_by_labels(sources, out, tmp_path):
    (tmp_path / "list").write_text("1 2 5\n0 1 2\n1 1 0\n0\t2\t0\n")
    assert merge(sources, out, labels=str(tmp_path / "list")) == (8, 2)
    assert images_of(out) == [FIRST[2] + [b"s"], [b"p", b"r"] + FIRST[0]]
    assert lines(out, "identities.txt") == [b"1/C\xff", b"2/5"] and lines(out, "property") == [b"2,48,32"]


def test_merge_of_one_source_by_labels(sources, out, tmp_path):
    (tmp_path / "list").write_text("0 2\n1 0\n")
    assert merge(sources[:1], out, labels=str(tmp_path / "list")) == (5, 2)
    assert images_of(out) == [FIRST[2], FIRST[0]] and lines(out, "identities.txt") == [b"C\xff", b"Ann"]


@pytest.mark.parametrize(
    "line,message",
    [("1 1", "line 2: expected NEW SOURCE OLD"), ("1 3 0", "line 2: there is no source 3"),
     ("1 0 0", "line 2: there is no source 0"), ("1 1 3", "line 2: source 1 has no images of label 3"),
     ("1 1 0", "line 2: label 0 of source 1 is listed twice"), ("2 1 1", "no line has the new label 1")],
)  # fmt: skip
def test_wrong_line_of_labels(sources, out, tmp_path, line, message):
    (tmp_path / "list").write_text(f"0 1 0\n{line}\n")
    with pytest.raises(InputError, match=f"list(, |: ){message}"):
        merge(sources, out, labels=str(tmp_path / "list"))
    (tmp_path / "list").write_text("")
    with pytest.raises(InputError, match="no line has the new label 0"):
        merge(sources, out, labels=str(tmp_path / "list"))
    assert not os.path.exists(out)


def test_merge_of_nothing_or_of_two_sizes(sources, out, tmp_path):
    (tmp_path / "list").write_text("1 0\n1 1\n1 2\n")
    with pytest.raises(InputError, match="list: leaves out every identity"):
        merge(sources[:1], out, str(tmp_path / "list"))
    with pytest.raises(InputError, match="nowhere: cannot be read"):
        merge(sources[:1], out, str(tmp_path / "nowhere"))
    (tmp_path / "plain" / "property").write_text("6,32,48\n")
    with pytest.raises(InputError, match="other.rec has images of 32x48 .*train.rec of 48x32"):
        merge(sources, out)
    (tmp_path / "plain" / "property").write_text("6,32\n")
    with pytest.raises(InputError, match="property, line 1: expected identities,height,width"):
        merge(sources, out)
    os.remove(str(tmp_path / "plain" / "property"))
    with pytest.raises(InputError, match="other.rec: no record is an image .*property"):
        merge(sources, out)


def test_too_few_names(sources, out, tmp_path):
    (tmp_path / "first" / "identities.txt").write_text("Ann\nBob\n")
    with pytest.raises(InputError, match="identities.txt: 2 names, but there is an identity 2"):
        merge(sources, out)


def test_damaged_record_is_named_and_leaves_nothing(sources, out):
    path = os.path.join(sources[0], "train.rec")
    position = int(RecordFile(path).positions[4])
    with open(path, "rb+") as file:
        file.seek(position)
        file.write(bytes(4))
    for command in (merge, shuffle):
        with pytest.raises(InputError, match="train.rec: record 4 cannot be read"):
            command(sources[:1] if command is merge else sources[0], out)
        assert not os.path.exists(out)


@pytest.fixture
def damaged(tmp_path):
    """30 images of 10 identities; bad are 2 (a label), 5 (overwritten), 9 (cannot be decoded), 13 to 15, all of one."""
    (tmp_path / "damaged").mkdir()
    path, images = str(tmp_path / "damaged" / "train.rec"), [encode_jpeg(face(0, key, 16)) for key in range(31)]
    images[9], images[14] = images[9][:200], encode_jpeg(face(0, 14, 24))
    write_records(path, [images[1 + 3 * identity : 4 + 3 * identity] for identity in range(10)])
    positions = RecordFile(path).positions.tolist()
    with open(path, "rb+") as file:
        for key in (5, 13, 15):
            file.seek(positions[key])
            file.write(bytes(4))
        file.seek(positions[2] + 12)
        file.write(struct.pack("<f", float("nan")))
    expected = [[images[key] for key in range(1 + 3 * i, 4 + 3 * i) if key not in (2, 5, 9)] for i in range(10)]
    return path, expected[:4] + expected[5:]


SKIP = Reading(2, "skip", 0.3)


def test_a_joined_identity_without_a_readable_image(damaged, out, tmp_path):
    (tmp_path / "list").write_text("0 0\n1 4\n")
    with pytest.raises(InputError, match="no image of identity 4 can be read: leave it out of the label map"):
        merge([damaged[0]], out, reading=SKIP, labels=str(tmp_path / "list"))
    assert os.listdir(out) == []
    (tmp_path / "list").write_text("0 0\n1 1\n1 4\n")
    merge([damaged[0]], out, reading=SKIP, labels=str(tmp_path / "list"))
    assert images_of(out) == damaged[1][:2]


def is_ok(folder):
    facts = check(folder)
    return not facts["errors"], facts["findings"]


def test_damaged_data_set_is_mended(damaged, out, tmp_path, caplog):
    path, expected = damaged
    assert check(path)["errors"] > 5
    assert merge([path], out, reading=SKIP) == (24, 9)
    assert images_of(out) == expected and is_ok(out) == (True, [])
    assert lines(out, "identities.txt") == [b"0", b"1", b"2", b"3", b"5", b"6", b"7", b"8", b"9"]
    reported = [record.getMessage() for record in caplog.records]
    assert reported[-1] == "skipped 6 bad records" and sum(line.startswith("skipped: ") for line in reported) == 6
    assert any("no image of identity 4 can be read" in line for line in reported)
    rest, held = str(tmp_path / "rest"), str(tmp_path / "held")
    split(path, rest, held, share=0.3, reading=SKIP)
    assert sorted(images_of(rest) + images_of(held)) == sorted(expected) and is_ok(rest)[0] and is_ok(held)[0]
    shuffle(path, str(tmp_path / "mixed"), reading=SKIP)
    mixed = images_of(str(tmp_path / "mixed"))
    assert mixed[4] == [] and sorted(map(sorted, mixed[:4] + mixed[5:])) == sorted(map(sorted, expected))


def test_too_many_bad_records_are_no_data_set(damaged, out, capsys):
    path, _ = damaged
    for command in (["merge", path, out], ["shuffle", path, out], ["split", "--share", "0.3", path, out, out + "2"]):
        assert commands.main([*command, "--on-bad-record", "skip", "--bad-record-share", "0.16"]) == 2
        assert "more than the maximum share bad_record_share=0.16" in capsys.readouterr().err
        assert not os.path.exists(os.path.join(out, "train.rec"))


def test_truncated_data_set_is_mended(damaged, out):
    path, expected = damaged
    os.truncate(path, int(RecordFile(path).positions[25]) + 100)
    with pytest.raises(InputError, match="record 0 cannot be read: .* merge --on-bad-record skip"):
        merge([path], out)
    assert merge([path], out, reading=SKIP) == (24 - 6, 7)
    assert images_of(out) == expected[:7] and is_ok(out) == (True, [])


def test_threads_change_nothing(sources, out, tmp_path):
    others = [str(tmp_path / f"out{workers}") for workers in (1, 5)]
    for workers, other in zip((1, 5), others):
        merge(sources, other, reading=Reading(workers))
    assert images_of(others[0]) == images_of(others[1])


def test_full_disk_names_the_file(sources, out):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError) as error:
            merge(sources, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.filename == os.path.join(out, "train.rec") and os.listdir(out) == []


def test_split_by_share(sources, out, tmp_path):
    held = str(tmp_path / "held")
    written = split(sources[0], out, held, share=0.34, seed=3)
    assert [each.num_identities for each in written] == [2, 1]
    rest, held_out = images_of(out), images_of(held)
    assert len(held_out) == 1 and held_out[0] in FIRST
    assert rest == [images for images in FIRST if images != held_out[0]]
    names = lines(sources[0], "identities.txt")
    assert lines(held, "identities.txt") == [names[FIRST.index(held_out[0])]]
    assert lines(out, "identities.txt") == [name for name in names if name not in lines(held, "identities.txt")]
    assert lines(out, "property") == [b"2,48,32"] and lines(held, "property") == [b"1,48,32"]
    drawn = set()
    for seed in range(10):
        split(sources[0], out, held, share=0.34, seed=seed, overwrite=True)
        drawn.add(FIRST.index(images_of(held)[0]))
    assert len(drawn) > 1
    split(sources[0], out, held, share=0.34, seed=3, overwrite=True)
    assert images_of(held) == held_out


def test_split_by_list(sources, out, tmp_path):
    held = str(tmp_path / "held")
    (tmp_path / "list").write_bytes(b"C\xff\n\n0\n")
    split(sources[0], out, held, identities=str(tmp_path / "list"))
    assert images_of(out) == [FIRST[1]] and images_of(held) == [FIRST[0], FIRST[2]]
    (tmp_path / "list").write_text("5\n")
    split(sources[1], out, held, identities=str(tmp_path / "list"), overwrite=True)
    assert images_of(out) == [[b"s"], [b"q"]] and images_of(held) == [[b"p", b"r"]]
    assert lines(out, "identities.txt") == [b"0", b"2"] and lines(held, "identities.txt") == [b"5"]


def test_name_comes_before_label_and_counts_for_all_that_have_it(sources, out, tmp_path):
    (tmp_path / "first" / "identities.txt").write_text("2\nBob\n2\n")
    (tmp_path / "list").write_text("2\n")
    split(sources[0], out, str(tmp_path / "held"), identities=str(tmp_path / "list"))
    assert images_of(out) == [FIRST[1]]


@pytest.mark.parametrize("line", ["Dora", "3", "-1", "1.0"])
def test_unknown_identity_to_hold_out(sources, out, tmp_path, line):
    (tmp_path / "list").write_text(f"Ann\n{line}\n")
    with pytest.raises(InputError, match=f"list, line 2: '{line}' is neither"):
        split(sources[0], out, str(tmp_path / "held"), identities=str(tmp_path / "list"))


@pytest.mark.parametrize("share,message", [(0.1, "0 of the 3"), (0.9, "3 of the 3"), (0, "between"), (1, "between")])
def test_split_needs_both_sides(sources, out, tmp_path, share, message):
    with pytest.raises(InputError, match=message):
        split(sources[0], out, str(tmp_path / "held"), share=share)
    with pytest.raises(InputError, match="different folders"):
        split(sources[0], out, os.path.join(out, "..", "out"), share=0.34)


def test_shuffle(sources, out, tmp_path):
    assert shuffle(sources[0], out, seed=1) == (6, 3)
    records = RecordFile(os.path.join(out, "train.rec"))
    assert records.ranges is None and records.num_identities == 3 and records.keys.tolist() == [1, 2, 3, 4, 5, 6]
    old = [(image, label) for label, images in enumerate(FIRST) for image in images]
    new = [records.read(key) for key in records.keys]
    assert new != old and sorted(new) == sorted(old)
    assert (records.positions[1:-1] < records.positions[2:]).all()
    assert lines(out, "property") == [b"3,48,32"]
    assert lines(out, "identities.txt") == lines(sources[0], "identities.txt")
    shuffle(sources[0], str(tmp_path / "same"), seed=1)
    shuffle(sources[0], str(tmp_path / "other"), seed=2)
    assert images_of(str(tmp_path / "same")) == images_of(out)
    order = [b"".join(lines(folder, "train.rec")) for folder in (out, str(tmp_path / "same"), str(tmp_path / "other"))]
    assert order[0] == order[1] != order[2]


def test_shuffle_of_a_plain_file(sources, out):
    with open(os.path.join(os.path.dirname(sources[1]), "property"), "w") as file:
        file.write("2,48,32\n")  # fewer than there are
    os.makedirs(out)
    with open(os.path.join(out, "identities.txt"), "w") as file:
        file.write("of an earlier data set\n")
    assert shuffle(sources[1], out) == (4, 6)
    assert not os.path.exists(os.path.join(out, "identities.txt"))
    assert [sorted(images) for images in images_of(out)] == [[b"s"], [], [b"q"], [], [], [b"p", b"r"]]


def test_outputs_are_not_overwritten_by_accident(sources, tmp_path, capsys):
    first, out, held = sources[0], str(tmp_path / "out"), str(tmp_path / "held")
    write_records(os.path.join(str(tmp_path), "train.rec"), [[b"old"]])
    to_hold_out = ["split", "--share", "0.4", first, held]
    for arguments in (["merge", first, first], [*to_hold_out, first], ["shuffle", first, first]):
        assert commands.main(arguments + ["--overwrite"]) == 2
        assert "is the folder of a source" in capsys.readouterr().err
    for arguments in (["merge", *sources], to_hold_out, ["shuffle", first]):
        assert commands.main([*arguments, str(tmp_path)]) == 2
        assert "train.rec exists: --overwrite replaces it" in capsys.readouterr().err
    assert images_of(str(tmp_path)) == [[b"old"]]
    assert commands.main(["merge", first, str(tmp_path), "--overwrite"]) == 0 and images_of(str(tmp_path)) == FIRST
    assert commands.main(["split", first, out, held, "--share", "0.4", "--seed", "1"]) == 0
    assert sorted(images_of(out) + images_of(held)) == sorted(FIRST)
    assert commands.main(["shuffle", first, out, "--overwrite"]) == 0 and RecordFile(out + "/train.rec").ranges is None
    (tmp_path / "file").write_text("")
    assert commands.main(["shuffle", first, str(tmp_path / "file" / "out")]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_unfinished_files_of_a_killed_run_are_removed(sources, tmp_path):
    for command in (["merge"], ["shuffle"], ["split", "--share", "0.4"]):
        out, held = tmp_path / command[0], tmp_path / "held"
        folders = [out, held][: 1 + (command[0] == "split")]
        for folder in folders:
            folder.mkdir()
            for name in ("train.rec", "train.idx", "property", "identities.txt"):
                (folder / f".{name}.4711.tmp").write_bytes(b"half")
        assert commands.main([*command, sources[0], *map(str, folders)]) == 0
        for folder in folders:
            assert sorted(os.listdir(folder)) == ["identities.txt", "property", "train.idx", "train.rec"]
