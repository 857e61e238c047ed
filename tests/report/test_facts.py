import json

import pytest

from partial_fc.report.facts import UNKNOWN, accuracies, configurations, facts, tiles
from partial_fc.report.runs import read_run

from helpers.report import measured, write_run


@pytest.fixture
def two(tmp_path):
    """A finished run, and one that is not."""
    first = write_run(tmp_path / "a", sets={"lfw": measured(), "own": measured(last=0.5)}, updates=10)
    return [read_run(first), read_run(write_run(tmp_path / "b", ["--loss", "arcface"], False, 300))]


def test_what_was_trained_has_a_cell_for_each_run(two):
    rows = dict(facts(two))
    assert rows["State"] == ["finished", "unfinished: it is still training, or has ended without its last update"]
    assert rows["Loss"] == ["cosface: s=32, m1=1, m2=0, m3=0.4", "arcface: s=32, m1=1, m2=0.5, m3=0"]
    assert rows["Updates"] == ["800", "300 of 800"] and rows["Training time"] == ["1:01:11", UNKNOWN]
    assert rows["Batch"] == ["64 per rank × 2 = 128", "64 per rank"] and rows["Identities"] == ["350", UNKNOWN]
    assert rows["Images per second"] == ["3,314", "3,175"] and rows["Loss, first → last"][0] == "22.50 → 5.25"
    assert rows["Skipped records"] == ["2", "1 logged so far"]
    assert "Versions" not in rows and "Best model" not in rows


def test_filtering_and_correction_are_named_where_they_are_set(two, tmp_path):
    zero = ["--set", "interclass_filtering=0.35", "--set", "interclass_filtering_mode=zero"]
    filtering = read_run(write_run(tmp_path / "c", zero, updates=10))
    corrected = read_run(write_run(tmp_path / "d", ["--set", "sampling_correction=true"], updates=10))
    rows = dict(facts([two[0], filtering, corrected]))
    assert rows["Filtering"] == [UNKNOWN, "0.35, zero", UNKNOWN]
    assert rows["Sampling correction"] == [UNKNOWN, UNKNOWN, "yes"]
    assert not {"Filtering", "Sampling correction"} & set(dict(facts(two)))


def test_a_number_without_bound_in_the_configuration_is_unknown(tmp_path):
    run = read_run(write_run(tmp_path, updates=10))
    rows = dict(facts([run._replace(settings={**run.settings, "loss_s": 10**400})]))
    assert rows["State"] == ["finished"] and "Loss" not in rows


def test_micro_batches_count_and_epochs_have_no_known_number_of_updates(tmp_path):
    arguments = ["--set", "accumulate=4", "--set", "max_epochs=2"]
    done = read_run(write_run(tmp_path / "a", arguments, updates=10))
    going = read_run(write_run(tmp_path / "b", arguments, False, 300))
    rows = dict(facts([done, going]))
    assert rows["Batch"] == ["64 per rank × 4 per update × 2 = 512", "64 per rank × 4 per update"]
    assert rows["Updates"][1] == "300"


def test_a_run_that_continued_and_kept_its_best_model(tmp_path):
    best = dict(of="mean", update=600, accuracy=0.951, model="m", ended_training=False)
    run = read_run(write_run(tmp_path, ["--loss", "adaface"], continued_from=400, best_model=best))
    rows = dict(facts([run]))
    assert rows["Images per second"] == ["3,314 since update 400"]
    assert rows["Best model"] == ["95.10% by mean, update 600"] and rows["Loss"] == ["cosface: s=32, m=0.4"]


def test_the_precision_is_the_one_that_auto_has_chosen(tmp_path):
    auto = ["--precision", "auto"]
    runs = [
        write_run(tmp_path / "a", auto, precision="bfloat16"),
        write_run(tmp_path / "b", auto, precision="float32"),
        write_run(tmp_path / "c", auto),  # of an older version
        write_run(tmp_path / "d", precision="float32"),
        write_run(tmp_path / "e", ["--precision", "bfloat16"]),
    ]
    expected = ["bfloat16, chosen by auto", "float32, chosen by auto", "auto", "float32", "bfloat16"]
    assert dict(facts(list(map(read_run, runs))))["Precision"] == expected


def test_published_models_stand_below_the_runs(two):
    sets, rows = accuracies(two, ["a", "b"])
    assert sets == ["lfw", "own", "demo"] and [row.name for row in rows[:2]] == ["a", "b"]
    assert rows[0].cells[0].accuracy == "94.80"
    assert rows[0].cells[0].more == "best 95.10 at update 600, untrained 63.00, raw pixels 62.00"
    assert [cell.accuracy for cell in rows[1].cells] == [UNKNOWN, UNKNOWN, "94.80"]
    assert all(row.published for row in rows[2:]) and rows[2].name == "published: R50, Glint360K, r=0.1"
    assert [cell.accuracy for cell in rows[2].cells] == ["99.82", UNKNOWN, UNKNOWN]


def test_sets_without_published_results(two):
    assert len(accuracies(two[1:], ["b"])[1]) == 1


def test_keys_that_differ_are_marked(two):
    found = {key: (differs, values) for differs, key, values in configurations(two)}
    assert found["loss"] == (True, ["cosface", "arcface"]) and found["flip"] == (False, ["true", "true"])
    assert found["val_targets"] == (False, ["demo", "demo"])


def test_a_run_without_a_configuration(tmp_path):
    write_run(tmp_path)
    (tmp_path / "config.toml").unlink()
    run = read_run(str(tmp_path))
    rows = dict(facts([run]))
    assert rows["Loss"] == ["cosface"] and "Batch" not in rows and configurations([run]) == []


def test_a_summary_with_nothing_in_it(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({}))
    run = read_run(str(tmp_path))
    assert dict(facts([run])) == {"State": ["finished"]}
    assert tiles(run)[0] == ("identities", UNKNOWN)


def test_large_letters(two):
    assert tiles(two[0]) == [
        ("accuracy on lfw", "94.80 %"),
        ("accuracy on own", "50.00 %"),
        ("identities", "350"),
        ("updates", "800"),
        ("images per second", "3,314"),
        ("training time", "1:01:11"),
    ]
