import logging

import numpy as np

from partial_fc.eval.protocols.accept_rates import roc_curve, score_histogram, tar_figures
from partial_fc.eval.roc import Roc, ScoreCounts


def test_tar_figures_tell_why_not(caplog):
    caplog.set_level(logging.INFO, logger="partial_fc")
    roc = Roc.from_scores(np.arange(1100.0), np.arange(1100) >= 1000)
    assert tar_figures(roc, (1e-2, 1e-3, 1e-4, 1e-6), "model") == {"1e-2": 1.0, "1e-3": 1.0, "1e-4": None, "1e-6": None}
    (message,) = caplog.messages
    assert message == "model: no TAR at FAR 1e-4, 1e-6: FAR 0.0001 needs 10,000 impostor pairs, there are 1,000"
    caplog.clear()
    assert tar_figures(roc, (1e-1,), "model") == {"1e-1": 1.0} and not caplog.messages
    far, tar = roc_curve(roc)
    assert len(far) == len(tar) and tar[-1] == 1


def test_histograms_count_every_score_where_it_is():
    scores = np.random.RandomState(0).uniform(-1, 1, 10**4).astype(np.float32)
    edges, same, different = score_histogram(ScoreCounts.of(scores[:100]), ScoreCounts.of(scores[100:]))
    assert len(edges) == len(same) + 1 and np.allclose(np.diff(edges), 1 / 128, rtol=1e-9)
    np.testing.assert_array_equal(same, np.histogram(scores[:100].astype(float), edges)[0])
    np.testing.assert_array_equal(different, np.histogram(scores[100:].astype(float), edges)[0])
