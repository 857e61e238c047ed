import pytest

from partial_fc.checkpoint.label_map import match_identities, read_label_map
from partial_fc.errors import InputError


def test_label_map(tmp_path):
    (tmp_path / "map").write_text("0 17179869184\n3\t1\n")
    assert read_label_map(str(tmp_path / "map")).tolist() == [[0, 17179869184], [3, 1]]
    (tmp_path / "map").write_text("")
    assert read_label_map(str(tmp_path / "map")).shape == (0, 2)


@pytest.mark.parametrize("line", ["1", "1 2 3", "a 1", "-1 2", "1.0 2", "1_0 2", "9" * 30 + " 1", "² 1"])
def test_other_lines_are_named(line, tmp_path):
    (tmp_path / "map").write_text(f"0 1\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match="map, line 2: expected a new label and an old one"):
        read_label_map(str(tmp_path / "map"))


def test_names(tmp_path):
    (tmp_path / "old").write_bytes(b"Ada\nEmmy\xff\nSofia\nline\xe2\x80\xa8separator\n")
    (tmp_path / "new").write_bytes(b"Sofia\nMarie\nEmmy\xff\nline\xe2\x80\xa8separator\n")
    pairs, num_classes = match_identities(str(tmp_path / "old"), str(tmp_path / "new"))
    assert pairs.tolist() == [[0, 2], [2, 1], [3, 3]] and num_classes == 4


def test_names_that_match_nothing(tmp_path, caplog):
    (tmp_path / "old").write_bytes(b"Ada\nEmmy\nJos\xe9\n")
    (tmp_path / "new").write_bytes(b"Marie\r\nJos\xc3\xa9\r\nSofia\r\n")
    pairs, num_classes = match_identities(str(tmp_path / "old"), str(tmp_path / "new"))
    assert pairs.tolist() == [[1, 2]] and num_classes == 3
    assert "old: 2 of 3 names are not in" in caplog.text and "one is 'Ada'" in caplog.text
    (tmp_path / "new").write_text("Marie\nSofia\n")
    with pytest.raises(InputError, match="new: none of its 2 names is among the 3 of .*old"):
        match_identities(str(tmp_path / "old"), str(tmp_path / "new"))


def test_name_that_is_there_twice(tmp_path):
    (tmp_path / "old").write_text("Ada\nEmmy\nAda\n")
    with pytest.raises(InputError, match="'Ada' is repeated, for the labels 0 and 2"):
        match_identities(str(tmp_path / "old"), str(tmp_path / "old"))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="nowhere: cannot be read"):
        read_label_map(str(tmp_path / "nowhere"))
