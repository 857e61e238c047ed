import pytest

from partial_fc.pictures import sweep
from partial_fc.pictures.sweep import _short, draw_sweep


@pytest.mark.parametrize(
    "value, text", [(0.1, "0.1"), (64, "64"), (1024, "1024"), (20_000, "20k"), (5_000_000, "5M"), (10**8, "100M")]
)
def test_numbers_are_short(value, text):
    assert _short(value) == text


def test_a_line_without_points_is_left_out(tmp_path):
    path = str(tmp_path / "sweep.png")
    draw_sweep(path, "GPUs", {"a": [(8, 100.0)], "b": []}, {"a": [(8, 3.0)], "b": [(8, 4.0)]}, 10.0, "what is assumed")
    with open(path, "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_the_line_of_the_card_lies_in_the_picture(monkeypatch):
    drawn = []
    monkeypatch.setattr(sweep.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    draw_sweep("sweep.png", "GPUs", {"a": [(8, 100.0)]}, {"a": [(8, 3.0)]}, 80.0, "what is assumed")
    memory = drawn[0].axes[1]
    assert memory.lines[-1].get_ydata()[0] == 80 < memory.get_ylim()[1]
