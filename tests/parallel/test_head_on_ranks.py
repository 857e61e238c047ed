"""The head on real ranks against the dense float64 reference."""

import numpy as np
import pytest

from partial_fc.head.negatives import Negatives

from helpers.problem import LOSSES, Problem, assemble, assert_close, float32_bound
from helpers.ranks import LAUNCHERS, launch, succeed

CASES = [(loss, ratio, name) for loss in LOSSES for ratio in (1.0, 0.3) for name in ("plain", "saturated")]

# In the middle of the warm-up.
HALF = {"adaface": LOSSES["adaface"]._replace(m=0.2), "arcface": LOSSES["arcface"]._replace(m2=0.25)}


def load(folder, name, ranks):
    """`Step` and chosen classes of all ranks."""
    parts = [np.load(folder / f"{name}-{rank}.npz") for rank in range(ranks)]
    return assemble([[part[key] for key in part.files] for part in parts])


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_step_equals_the_reference(launcher, ranks, tmp_path):
    succeed(launch(launcher, ranks, "head_worker.py", tmp_path))
    result, chosen = load(tmp_path, "bfloat16", ranks)
    assert_close(result, Problem().truth(chosen, LOSSES["arcface"]), 0.03)
    for loss, half in HALF.items():
        result, chosen = load(tmp_path, f"{loss}-warmup", ranks)
        assert_close(result, Problem().truth(chosen, half))
        result, chosen = load(tmp_path, f"{loss}-sub-centers", ranks)
        assert_close(result, Problem(sub_centers=3).truth(chosen, LOSSES[loss]))
    for loss, sub_centers in (("cosface", 1), ("arcface", 1), ("arcface", 3)):
        result, chosen = load(tmp_path, f"{loss}-micro-batches-{sub_centers}", ranks)
        problem = Problem(batch_size=24, sub_centers=sub_centers)
        assert_close(result, problem.truth(chosen, LOSSES[loss]))
    for mode, ratio in (("exact", 1.0), ("exact", 0.3), ("zero", 0.3)):
        result, chosen = load(tmp_path, f"{mode}-{ratio}-filtering", ranks)
        problem = Problem(negatives=Negatives(0.4, mode, True))
        assert problem.num_filtered(chosen)
        assert_close(result, problem.truth(chosen, LOSSES["arcface"], world_size=ranks))
    for loss, ratio, name in CASES:
        result, chosen = load(tmp_path, f"{loss}-{ratio}-{name}", ranks)
        problem = Problem().saturate() if name == "saturated" else Problem()
        bound = float32_bound(problem, chosen, LOSSES[loss]) if name == "saturated" else 1e-5
        assert_close(result, problem.truth(chosen, LOSSES[loss]), bound)
