"""Prediction intervals: the promised share is covered, whatever the data, and after a change of task too."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import norm

from mole.estimators import OnlineRegressor
from mole.estimators.intervals import IntervalTracker

SMALL = {"max_tasks": 4, "candidates": 4, "drift": (1e-6, 1e-2)}


def covered(tracker: IntervalTracker, errors: np.ndarray, tasks: np.ndarray | None = None) -> np.ndarray:
    """Whether each error was within the interval given before it; the predicted scale is 1."""
    hits = []
    for error, task in zip(
        errors.tolist(), np.zeros(len(errors), int) if tasks is None else tasks, strict=True
    ):
        hits.append(abs(error) <= tracker.half_width(np.ones(1))[0])
        tracker.update([error], [0.0], [1.0], int(task))
    return np.asarray(hits)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_normal_residuals_keep_the_quantile_of_the_normal(level: float) -> None:
    """4000 independent residuals: the share of hits has a standard error of at most 0.008."""
    tracker = IntervalTracker(level, 1)
    hits = covered(tracker, np.random.default_rng(0).normal(size=4000))
    assert np.mean(hits) == pytest.approx(level, abs=0.015)
    assert tracker.half_width(np.ones(1))[0] == pytest.approx(norm.ppf(0.5 + level / 2), rel=0.2)


RNG = np.random.default_rng(1)
HARD = {
    "far too large": 10 * RNG.normal(size=3000),
    "tiny": 0.2 * RNG.normal(size=3000),
    "heavy tails": RNG.standard_t(1.1, size=3000),
    "growing": np.linspace(0.5, 20, 3000) * RNG.normal(size=3000),
    "switching": np.repeat([0.5, 10.0] * 10, 150) * RNG.normal(size=3000),
}


@pytest.mark.parametrize("errors", HARD.values(), ids=HARD)
def test_the_share_is_covered_whatever_the_scale(errors: np.ndarray) -> None:
    """Gibbs and Candès 2021, proposition 4.1: |share − level| ≤ log(range) / (rate · n), here 0.1 at the most."""
    tracker = IntervalTracker(0.9, 1)
    hits = covered(tracker, errors)
    assert abs(np.mean(hits) - 0.9) <= np.log(50 / norm.ppf(0.95)) / (0.02 * len(errors)) + 1e-9
    assert np.mean(hits[1000:]) == pytest.approx(0.9, abs=0.03)


def test_the_steps_after_a_change_have_a_quantile_of_their_own() -> None:
    """Errors are five times as large for 20 steps after every change; told of the changes, it covers both."""
    rng = np.random.default_rng(2)
    age = np.tile(np.arange(100), 60)
    errors = np.where(age < 20, 5.0, 1.0) * rng.normal(size=len(age))
    tasks = np.repeat(np.arange(60), 100)
    tracker = IntervalTracker(0.9, 1)
    hits = covered(tracker, errors, tasks)
    young = (age > 0) & (age < 20)  # the change itself is told after its first pair
    late = slice(3000, None)
    assert np.mean(hits[late][young[late]]) == pytest.approx(0.9, abs=0.04)
    assert np.mean(hits[late][age[late] >= 20]) == pytest.approx(0.9, abs=0.02)
    (settled,) = tracker.half_width(np.ones(1))
    tracker.update([0.0], [0.0], [1.0], 99)
    assert tracker.settled == 0
    assert tracker.half_width(np.ones(1))[0] > 3 * settled


def test_outputs_are_watched_one_by_one() -> None:
    tracker, rng = IntervalTracker(0.9, 2), np.random.default_rng(3)
    for _ in range(800):
        tracker.update((np.array([0.3, 3.0]) * rng.normal(size=2)).tolist(), [0.0, 0.0], [1.0, 1.0], 0)
    small, large = tracker.half_width(np.ones(2))
    assert small == pytest.approx(0.3 * norm.ppf(0.95), rel=0.3) and large == pytest.approx(
        3 * norm.ppf(0.95), rel=0.3
    )


def test_another_level_has_the_ratio_of_the_normal() -> None:
    tracker = IntervalTracker(0.9, 1)
    scale = np.array([2.0])
    np.testing.assert_allclose(tracker.half_width(scale, 0.5), 2 * norm.ppf(0.75))
    np.testing.assert_allclose(tracker.half_width(scale, 0.9), tracker.half_width(scale))
    assert tracker.half_width(scale, 0.99) > tracker.half_width(scale) > tracker.half_width(scale, 0.8)


def test_it_goes_on_from_json() -> None:
    errors, tasks = 3 * np.random.default_rng(4).normal(size=200), np.repeat([0, 1, 0, 2], 50)
    tracker = IntervalTracker(0.8, 1)
    covered(tracker, errors[:110], tasks[:110])
    again = IntervalTracker.from_json(json.loads(json.dumps(tracker.to_json())))
    assert (
        covered(again, errors[110:], tasks[110:]).tolist()
        == covered(tracker, errors[110:], tasks[110:]).tolist()
    )
    assert again.to_json() == tracker.to_json()


def measured(stream: Iterator[tuple[np.ndarray, float]], memory: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits and widths of the intervals of a regressor, each asked for before its pair is learned."""
    model, hits, widths = OnlineRegressor(width=8, mixture=SMALL, memory=memory), [], []
    for x, y in stream:
        low, high = model.predict_interval_one(x)
        assert low <= model.predict_one(x) <= high or model.n_seen_ < 4
        hits.append(low <= y <= high)
        widths.append(high - low)
        model.learn_one(x, y)
    return np.asarray(hits), np.asarray(widths)


def linear(noise: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, float]]:
    rng = np.random.default_rng(seed)
    for scale in noise:
        x = rng.normal(size=2)
        yield x, float(x @ [1.0, -2.0] + scale * rng.normal())


def test_a_stationary_stream_is_covered() -> None:
    """600 pairs: the share of hits has a standard error of 0.012 if they are independent; three of them are allowed."""
    hits, widths = measured(linear(np.full(700, 0.3), seed=0), memory=64)
    assert np.mean(hits[100:]) == pytest.approx(0.9, abs=0.037)
    assert np.median(widths[300:]) == pytest.approx(
        2 * 0.3 * norm.ppf(0.95), rel=0.25
    )  # and no wider than need be


def test_noise_that_switches_is_covered() -> None:
    """The map stays and the noise is ten times as large every other 150 pairs."""
    noise = np.repeat([0.05, 0.5] * 3, 150)
    hits, widths = measured(linear(noise, seed=1), memory=4096)
    assert np.mean(hits[150:]) == pytest.approx(
        0.9, abs=0.045
    )  # 750 pairs, and hits are not independent here
    after = (np.arange(900) % 150 < 20) & (np.arange(900) >= 150)
    assert np.mean(hits[after]) > 0.75, np.mean(hits[after])
    assert np.median(widths[noise > 0.1]) > 1.5 * np.median(widths[noise < 0.1])


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, -0.1])
def test_a_level_that_is_no_share_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match=r"got level=.*; expected a number above 0 and below 1"):
        OnlineRegressor().predict_interval_one([1.0], level=level)
