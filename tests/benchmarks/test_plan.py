import json
from collections import Counter

import pytest

from benchmarks import plan


@pytest.fixture(scope="module")
def cases():
    return [plan.predict(row) for row in plan.ROWS]


def test_at_most_two_rows_of_a_card_are_calibrated():
    fitted = Counter(row.card for row in plan.ROWS if row.calibrated)
    assert fitted == {"2080ti": 2, "v100-32": 2} and len(plan.ROWS) == 4 + 8 + 11 + 8


def test_published_rows_are_predicted(cases):
    for case in cases:
        assert abs(plan.error(case, "rate")) < (0.02 if case["calibrated"] else 0.15), case["row"]
        if case["published_mb"]:
            assert abs(plan.error(case, "mb")) < (0.02 if case["calibrated"] else 0.1), case["row"]


def test_ours_needs_less_than_the_published_programs(cases):
    for case in cases:
        assert case["ours_rate"] > case["predicted_rate"]
        assert case["predicted_mb"] is None or case["ours_mb"] < case["predicted_mb"]


def test_table_and_json(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(plan, "ROWS", plan.ROWS[:2])
    assert plan.main(["--json", str(tmp_path / "cases.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 4 and "1 rows predicted" in lines[-1]
    fields = "source row published_mb predicted_mb published_rate predicted_rate calibrated".split()
    assert set(fields) <= set(json.loads((tmp_path / "cases.json").read_text())["cases"][0])


def test_rows_that_are_far_off_are_named(cases):
    far = dict(cases[0], predicted_rate=2 * cases[0]["published_rate"])
    assert any(line.startswith("Further off than 15%") and far["row"] in line for line in plan.summary([far]))
