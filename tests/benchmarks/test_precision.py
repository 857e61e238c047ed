"""The verdict on accuracies in two precisions."""

import pytest

from benchmarks import precision
from benchmarks.training import CPU_PRECISIONS


def cases_of(task, float32, bfloat16):
    accuracies = zip(CPU_PRECISIONS, (float32, bfloat16))
    return [
        dict(task=task, variant=name, seed=seed, accuracy=value, images_per_second=100.0, train_seconds=1.0)
        for name, values in accuracies
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize("low, status", [(0.804, 0), (0.806, 1), (0.794, 1)])
def test_means_that_are_far_apart_are_an_error(low, status, monkeypatch, capsys):
    compared = []

    def compare(args, tasks, variants, arguments):
        compared.append((args.data, args.seeds, tasks, [(each.name, each.precision) for each in variants]))
        return cases_of(tasks[0], [0.79, 0.81], [low, low])

    monkeypatch.setattr(precision, "compare", compare)
    assert precision.main(["--data", "DIR", "--only", "LFW, r=1", "--seeds", "2"]) == status
    assert compared == [("DIR", 2, ["LFW, r=1"], list(zip(CPU_PRECISIONS, CPU_PRECISIONS)))]
    assert ("more than 0.5 points apart" in capsys.readouterr().err) == bool(status)
