"""Several targets, some of which are missing: the others are learned, exactly."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mole
from helpers import tiny_prior
from mole.estimators.intervals import IntervalTracker
from mole.learning.models import Normalizer
from mole.readout import ReadoutPrior
from mole.readout.gaps import GappedReadoutMixture, with_gaps
from mole.rows.scaling import Units, robust_normalizer

ALONE = {"max_tasks": 1, "candidates": 2, "switch_every": 1e6, "most_switches": 1e-6, "drift": (0.0,)}


def prior(dy: int) -> ReadoutPrior:
    x_norm, y_norm = Normalizer.identity(2), Normalizer.identity(dy)
    return ReadoutPrior.untrained(width=4, key=jax.random.key(0), x_norm=x_norm, y_norm=y_norm)


def data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    y = np.stack([x[:, 0] - x[:, 1], 2 * x[:, 1]], axis=1) + 0.1 * rng.normal(size=(n, 2))
    return x, y.astype(np.float32)


def learned(learner: Any, x: np.ndarray, y: np.ndarray, state: Any = None) -> tuple[Any, Any]:
    pairs = (jnp.asarray(x), jnp.asarray(y))
    start = learner.init() if state is None else state
    return jax.jit(lambda s, p: jax.lax.scan(lambda a, one: learner.update(a, *one), s, p))(start, pairs)


def test_without_gaps_it_is_the_same_mixture():
    x, y = data(40)
    y[25:] *= -1
    learner = mole.ReadoutMixture(prior(2), max_tasks=2, candidates=3)
    half, _ = learned(learner, x[:10], y[:10])
    whole, told = learned(learner, x[10:], y[10:], half)
    gapped, half_apart = with_gaps(learner, half)
    apart, told_apart = learned(gapped, x[10:], y[10:], half_apart)
    assert np.allclose(told.loss, told_apart.loss, rtol=1e-3, atol=1e-5)
    assert np.allclose(whole.probability, apart.probability, atol=1e-4)
    for one, other in zip(
        learner.predict(whole, jnp.ones(2)), gapped.predict(apart, jnp.ones(2)), strict=True
    ):
        assert np.allclose(one, other, atol=1e-4)
    assert np.allclose(learner.model(whole)(jnp.ones(2)), gapped.model(apart)(jnp.ones(2)), atol=1e-4)


def test_an_output_knows_exactly_the_pairs_that_had_it():
    """As a mixture of one output that saw those pairs alone."""
    x, y = data(30)
    there = np.random.default_rng(1).random(y.shape) < 0.6
    there[0], there[~there.any(axis=1)] = True, True
    gapped = GappedReadoutMixture(prior(2), **ALONE)
    state, told = learned(gapped, x, np.where(there, y, np.nan))
    found = gapped.predict(state, jnp.asarray([0.5, -0.2]))
    assert not np.any(told.rejected) and np.all(np.isfinite(told.loss))
    for output in range(2):
        own = there[:, output]
        single = mole.ReadoutMixture(prior(1), **ALONE)
        alone, _ = learned(single, x[own], y[own][:, [output]])
        expected = single.predict(alone, jnp.asarray([0.5, -0.2]))
        assert found.mean[output] == pytest.approx(float(expected.mean[0]), abs=1e-4)
        assert found.scale[output] == pytest.approx(float(expected.scale[0]), rel=1e-3)


def test_a_pair_without_any_target_is_refused():
    gapped = GappedReadoutMixture(prior(2), **ALONE)
    x, y = data(3)
    y[1], y[2] = np.nan, [np.inf, 1.0]
    _, told = learned(gapped, x, y)
    assert told.rejected.tolist() == [False, True, True]
    with pytest.raises(ValueError, match="expected a regression that evicts or refuses"):
        GappedReadoutMixture(prior(2), at_capacity="merge")


@pytest.fixture(scope="module")
def model() -> mole.OnlineRegressor:
    """Temperature is measured at every third row alone."""
    made = mole.OnlineRegressor(memory=16)
    for t, (x, y) in enumerate(zip(*data(50), strict=True)):
        made.learn_one({"a": x[0], "b": x[1]}, {"power": y[0], "heat": y[1] if t % 3 == 0 else None})
    return made


def test_the_others_are_learned(model):
    found = model.predict_one({"a": 1.0, "b": 1.0})
    assert list(found) == ["power", "heat"]
    assert found["power"] == pytest.approx(0.0, abs=0.3) and found["heat"] == pytest.approx(2.0, abs=0.4)
    low, high = model.predict_interval_one({"a": 1.0, "b": 1.0})
    assert low["heat"] < found["heat"] < high["heat"]
    assert model.n_seen_ == 50 and model.faults_ == {}
    step = model.step_one({"a": 1.0, "b": 1.0})
    assert step.prediction == found
    assert {one["output"] for one in model.regime_(model.task_)["outputs"]} == {"power", "heat"}
    assert model.anomaly_score_one({"a": 1.0, "b": 1.0}, {"heat": 9.0}) > 0.99
    assert model.explain_one({"a": 1.0, "b": 1.0}).effects["b"].shape == (2,)


def test_a_file_goes_on_where_it_was(model, tmp_path):
    model.save(tmp_path / "m.mole")
    again = mole.OnlineRegressor.load(tmp_path / "m.mole")
    ask = {"a": 0.3, "b": -1.0}
    assert again.predict_interval_one(ask) == model.predict_interval_one(ask)
    for _ in range(3):
        assert again.step_one(ask, {"heat": -2.0})[:5] == model.step_one(ask, {"heat": -2.0})[:5]


def test_the_first_gap_may_come_late_and_before_the_first_prior():
    x, y = data(30)
    late, early = mole.OnlineRegressor(memory=16), mole.OnlineRegressor(memory=16)
    for t in range(30):
        late.learn_one(x[t], [y[t, 0], math.nan if t == 28 else y[t, 1]])
        early.learn_one(x[t], [None if t == 1 else y[t, 0], y[t, 1]])
    for made in (late, early):
        assert made.predict_one([1.0, 1.0]) == pytest.approx([0.0, 2.0], abs=0.4)
    assert late.score(x, np.where(y > 1.5, np.nan, y)) > 0.9


def test_batches_leave_out_what_has_no_target_at_all():
    x, y = data(12)
    y[3], y[5, 0] = np.nan, np.nan
    made = mole.OnlineRegressor(memory=16).learn_many(x, y)
    assert made.n_seen_ == 11 and made.faults_ == {"no_target": 1}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"power": None, "heat": None}, "finite numbers"),
        ({"power": 1.0, "cold": 2.0}, "expected some of"),
        ([1.0, 2.0], "expected a dict with"),
        ({"power": math.inf}, "finite numbers"),
        ({"power": "much"}, "expected numbers"),
    ],
)
def test_what_is_no_target_is_refused(model, wrong, said):
    seen = model.n_seen_
    with pytest.raises(ValueError, match=said):
        model.learn_one({"a": 1.0, "b": 1.0}, wrong)
    assert model.n_seen_ == seen


def test_a_learner_that_cannot_says_so():
    made = mole.OnlineRegressor(mole.Static(tiny_prior(jax.random.key(0), dx=2, dy=2)))
    with pytest.raises(ValueError, match="Static learns all targets together"):
        made.learn_one([1.0, 1.0], [1.0, math.nan])
    with pytest.raises(ValueError, match="finite numbers"):
        mole.OnlineRegressor().learn_one([1.0, 1.0], math.nan)
    merging = mole.OnlineRegressor(mixture={"at_capacity": "merge"})
    with pytest.raises(ValueError, match="tasks are merged"):
        merging.learn_one([1.0, 1.0], [1.0, math.nan])


def test_a_missing_target_moves_no_quantile():
    tracker = IntervalTracker(0.9, 2)
    tracker.update([math.nan, 9.0], [0.0, 0.0], [1.0, 1.0], 0)
    fresh = IntervalTracker(0.9, 2)
    assert (
        tracker.quantiles[1][0] == fresh.quantiles[1][0] and tracker.quantiles[1][1] > fresh.quantiles[1][1]
    )
    assert IntervalTracker.from_json(tracker.to_json())._missed == [None, True]


def test_scales_are_those_of_what_is_there():
    y = np.array([[1e9, 1.0], [1e9 + 2, np.nan], [np.nan, 3.0], [1e9 + 4, 2.0]])
    assert Units.of(y).offset == (1e9 + 2, 0.0)
    norm, alone = robust_normalizer(y), robust_normalizer(y[[0, 2, 3]][:, 1:])
    assert norm.mean[1] == alone.mean[0] and norm.std[1] == alone.std[0]


def test_river_leaves_out_what_is_missing():
    pytest.importorskip("river")
    from mole.adapters.river import MoleMultiTargetRegressor

    made = MoleMultiTargetRegressor(memory=16)
    for t, (x, y) in enumerate(zip(*data(24), strict=True)):
        target: dict[Any, float] = {"p": float(y[0]), "q": float(y[1])}
        if t % 3 == 2:
            del target["p"]
        made.learn_one({"a": float(x[0]), "b": float(x[1])}, target)
    assert made.predict_one({"a": 1.0, "b": 1.0})["q"] == pytest.approx(2.0, abs=0.4)
    with pytest.raises(ValueError, match="as in the first pair"):
        made.learn_one({"a": 1.0, "b": 1.0}, {"r": 1.0})
