import json
import os

import cv2
import numpy as np
import pytest

from partial_fc.cli.data import main as commands
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.data_set import DataSet
from partial_fc.data.records.record_writer import record_files, write_records
from partial_fc.data.tools import contact_sheet
from partial_fc.data.tools.contact_sheet import Row, draw_contact_sheet, draw_rows
from partial_fc.data.tools.info import info, info_text
from partial_fc.pictures import sheet

from helpers.faces import face

COUNTS = [1, 2, 3, 4, 5, 8, 9, 1]


@pytest.fixture
def folder(tmp_path):
    path = str(tmp_path / "train.rec")
    write_records(path, [[encode_jpeg(face(i, j)) for j in range(count)] for i, count in enumerate(COUNTS)])
    return str(tmp_path)


def test_facts(folder):
    facts = info(folder)
    json.dumps(facts)
    assert (facts["images"], facts["identities"], facts["identities_listed"]) == (33, 8, 8)
    assert facts["images_an_identity"] == {"min": 1, "median": 3.5, "mean": 33 / 8, "max": 9, "with_one": 2}
    assert [(each["from"], each["to"], each["identities"]) for each in facts["histogram"]] == [
        (1, 1, 2),
        (2, 2, 1),
        (3, 4, 2),
        (5, 8, 2),
        (9, 16, 1),
    ]
    assert facts["bytes"] == os.path.getsize(os.path.join(folder, "train.rec"))
    assert facts["sample"] == [{"kind": "JPEG", "color": "color", "height": 32, "width": 32, "images": 33}]
    assert info(os.path.join(folder, "train.rec"))["images"] == 33


def test_record_bytes(tmp_path):
    write_records(str(tmp_path / "train.rec"), [[b"", b"12345"], [bytes(100)]])  # 8 before, 24 for the header
    assert info(str(tmp_path))["record_bytes"] == {"min": 32, "median": 40.0, "mean": (32 + 40 + 132) / 3, "max": 132}


def test_kinds_of_images_and_gaps_in_labels(tmp_path):
    pixels = np.ascontiguousarray(face(0, 0)[:, :16])
    with record_files(str(tmp_path / "train.rec")) as writer:
        for label, image in [(4, encode_jpeg(pixels)), (1, cv2.imencode(".png", pixels[:, :, 0])[1].tobytes())] * 2:
            writer.write_image(image, label)
        writer.write_image(b"none", 4)
    facts = info(str(tmp_path))
    assert facts["identities"] == 2 and facts["identities_listed"] is None
    assert sorted((each["images"], each["kind"] or "", each["color"], each["height"]) for each in facts["sample"]) == [
        (1, "", None, None),
        (2, "JPEG", "color", 32),
        (2, "PNG", "gray", 32),
    ]
    text = "\n".join(info_text(facts))
    assert "2 PNG, 32x16 pixels (height x width), gray" in text and "1 not an image" in text


def test_text(folder, capsys):
    assert commands.main(["info", folder]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{folder}/train.rec: 33 images of 8 identities, ")
    assert "2 identities have one" in lines[1]
    bars = [line.split() for line in lines[-5:]]
    assert [(bar[0], bar[1], len(bar[2])) for bar in bars] == [
        ("1", "2", 40),
        ("2", "1", 20),
        ("3-4", "2", 40),
        ("5-8", "2", 40),
        ("9-16", "1", 20),
    ]


def test_json_and_damage(folder, capsys):
    assert commands.main(["info", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == info(folder)
    assert commands.main(["info", os.path.join(folder, "nowhere")]) == 2
    assert "nowhere/train.rec: no such file" in capsys.readouterr().err


def test_json_in_a_file_stands_beside_the_text(folder, tmp_path, capsys):
    path = tmp_path / "facts.json"
    assert commands.main(["info", folder, f"--json={path}"]) == 0
    assert json.loads(path.read_text()) == info(folder) and "images of" in capsys.readouterr().out
    assert commands.main(["info", folder, "--json", str(tmp_path / "no" / "facts.json")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: --json ") and not printed.out


def test_pictures(folder, tmp_path):
    with open(os.path.join(folder, "identities.txt"), "wb") as file:
        file.write(b"a $\\frac$ that is no formula\n\xff\n" + b"name\n" * 6)
    assert commands.main(["info", folder, "--pictures", str(tmp_path / "new" / "pictures")]) == 0
    assert sorted(os.listdir(str(tmp_path / "new" / "pictures"))) == ["contact-sheet.png", "histogram.png"]
    for name in ("contact-sheet.png", "histogram.png"):
        picture = cv2.imread(str(tmp_path / "new" / "pictures" / name))
        assert picture.shape[1] >= 800 and picture.std() > 10
    (tmp_path / "file").write_text("")
    assert commands.main(["info", folder, "--pictures", str(tmp_path / "file" / "pictures")]) == 2


def cells_of_color(picture, color):
    """Number of areas of a color that are a quarter of a cell or larger."""
    same = (np.abs(picture.astype(int) - color).max(axis=2) < 12).astype(np.uint8)
    return int((cv2.connectedComponentsWithStats(same)[2][1:, cv2.CC_STAT_AREA] > 1500).sum())


@pytest.mark.filterwarnings("error:Glyph", "error:constrained")
def test_contact_sheet_has_names_of_any_script(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(sheet, "save_png", lambda figure, path: figures.append(figure))
    names = ["نماذج", "顔", "m\udce9thode", "A-Long-Name-" * 20, "Ада"]
    write_records(str(tmp_path / "train.rec"), [[encode_jpeg(np.zeros((30, 30, 3), np.uint8))]] * len(names))
    data_set = DataSet(str(tmp_path))
    draw_contact_sheet(str(tmp_path / "sheet.png"), data_set.records, data_set.grouped(), names)
    (figure,) = figures
    figure.draw_without_rendering()
    texts = figure.axes[0].get_yticklabels()
    assert texts[2].get_text() == "m\\xe9thode" and texts[3].get_text().replace("\n", "") == names[3]
    assert all(text.get_window_extent().x0 >= 0 for text in texts)
    boxes = [text.get_window_extent() for text in texts]
    assert not any(first.overlaps(second) for first, second in zip(boxes, boxes[1:]))


def test_text_beside_a_row_is_as_high_as_the_row(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(sheet, "save_png", lambda figure, path: figures.append(figure))
    write_records(str(tmp_path / "train.rec"), [[encode_jpeg(np.zeros((30, 30, 3), np.uint8))]])
    records, keys = DataSet(str(tmp_path)).records, np.array([1])
    notes = ["", "12 images\nthe second line"]
    draw_rows(str(tmp_path / "sheet.png"), [Row("<b>&" * 900, records, keys, note) for note in notes])
    figures[0].draw_without_rendering()
    texts = figures[0].axes[0].get_yticklabels()
    assert [len(text.get_text().split("\n")) for text in texts] == [7, 7]
    assert texts[1].get_text().endswith("...\n12 images\nthe second line") and texts[0].get_text().startswith("<b>&")
    boxes = [text.get_window_extent() for text in texts]
    assert not boxes[0].overlaps(boxes[1]) and all(box.x0 >= 0 for box in boxes)


def test_a_row_says_how_many_images_it_does_not_show(tmp_path, monkeypatch):
    panels = []
    monkeypatch.setattr(contact_sheet, "draw_sheet", lambda path, drawn: panels.extend(drawn))
    jpeg = encode_jpeg(np.zeros((30, 30, 3), np.uint8))
    write_records(str(tmp_path / "train.rec"), [[jpeg] * 10, [jpeg] * 34])
    data_set = DataSet(str(tmp_path))
    draw_contact_sheet("sheet.png", data_set.records, data_set.grouped(), ["Ann", "Bo"])
    assert panels[0].texts == [["Ann"], ["Bo", "the first 10 of 34 images"]]


def test_contact_sheet_shows_images_of_any_size_and_crosses(tmp_path):
    red, green = np.full((30, 200, 3), (250, 0, 0), np.uint8), np.full((64, 64, 3), (0, 200, 0), np.uint8)
    identities = [[encode_jpeg(green)] * 12, [encode_jpeg(green), b"none"], [encode_jpeg(np.tile(red, (5, 1, 1)))]]
    write_records(str(tmp_path / "train.rec"), identities)
    data_set = DataSet(str(tmp_path))
    draw_contact_sheet(str(tmp_path / "sheet.png"), data_set.records, data_set.grouped(), ["0", "1", "2"])
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
    assert cells_of_color(picture, (0, 200, 0)) == 10 + 1
    assert cells_of_color(picture, (250, 0, 0)) == 1
    assert cells_of_color(picture, (200, 200, 200)) == 4  # the cross divides it
