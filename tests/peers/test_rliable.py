"""Our statistics against rliable (Agarwal et al. 2021), in a virtual environment of its own.

rliable does not hand its random state to its own resampling, so its intervals differ from call to call: they are
compared within the noise of the draws, the figures themselves exactly.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rliable")

from rliable import library, metrics

from mole.experiment import stats

SCORES = {
    "mole": np.random.default_rng(0).gamma(4.0, 1.0, (12, 5)) + np.arange(5.0)[None],
    "kshot": np.random.default_rng(1).gamma(3.0, 1.0, (12, 5)) + np.arange(5.0)[None],
}
"""Runs × settings, skewed, so that mean and interquartile mean differ."""
CELLS = {name: list(scores.T) for name, scores in SCORES.items()}
REPS = 20_000


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize(("statistic", "theirs"), [("iqm", metrics.aggregate_iqm), ("mean", np.mean)])
def test_aggregates_and_their_intervals(statistic, theirs):
    scores, intervals = library.get_interval_estimates(SCORES, lambda x: np.array([theirs(x)]), reps=REPS)
    for name, cells in CELLS.items():
        ours = stats.bootstrap(cells, rng=rng(), statistic=statistic, resamples=REPS)
        assert ours.value == pytest.approx(scores[name][0])
        assert [ours.low, ours.high] == pytest.approx(intervals[name][:, 0], abs=0.03)


def test_probability_of_improvement():
    pair = {"mole,kshot": (SCORES["mole"], SCORES["kshot"])}

    def theirs(x, y):
        return np.array([metrics.probability_of_improvement(x, y)])

    scores, intervals = library.get_interval_estimates(pair, theirs, reps=1000)
    ours = stats.probability_of_improvement(CELLS["mole"], CELLS["kshot"], rng=rng(), resamples=REPS)
    assert ours.value == pytest.approx(scores["mole,kshot"][0])
    assert [ours.low, ours.high] == pytest.approx(intervals["mole,kshot"][:, 0], abs=0.03)


def test_performance_profiles():
    at = np.linspace(0.0, 14.0, 15)
    profiles, bands = library.create_performance_profile(SCORES, at, reps=REPS)
    for name, cells in CELLS.items():
        ours = stats.performance_profile(cells, at, rng=rng(), resamples=REPS)
        np.testing.assert_allclose(ours.value, profiles[name])
        np.testing.assert_allclose([ours.low, ours.high], bands[name], atol=0.021)  # a run is 1/60
