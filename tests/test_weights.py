"""Weights of pairs: what a pair of weight w says, how it survives growth and files, and who knows no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_prior
from mole import OnlineClassifier, OnlineRegressor
from mole.files import checkpoint
from mole.online import Continuous, KShot, Mixture, Oracle, Static
from mole.readout import ReadoutMixture, ReadoutPrior
from mole.readout.belief import Belief, absorb, forecast

PRIOR = tiny_prior(jax.random.key(0), 3, 2, window=4, rate="rank1", normalised=True, residual_scale=0.1)
READOUTS = ReadoutPrior.untrained(width=4, x_norm=PRIOR.x_norm, y_norm=PRIOR.y_norm, key=jax.random.key(2))
ONE_TASK: dict[str, Any] = {"max_tasks": 1, "candidates": 3, "drift": (0.0,), "alpha": 1e-20}
SMALL: dict[str, Any] = {"memory": 16, "width": 8}
RNG = np.random.default_rng(21)
X = RNG.normal(size=(24, 2))
Y = X @ [2.0, -1.0] + 0.1 * RNG.normal(size=24)


@eqx.filter_jit
def update(learner, state, x, y, weight=None):
    return learner.update(state, x, y, weight)


def pairs(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * np.asarray(PRIOR.x_norm.std)
    y = np.stack([x[:, 0] - x[:, 1], x[:, 2]], axis=1) + 0.1 * rng.normal(size=(n, 2))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


# A belief.


@pytest.mark.parametrize("times", [2, 3, 7])
def test_a_whole_weight_is_as_many_times_the_pair_exactly(times):
    """Also for the noise: sum_i r_i² / (1 + d_i) over the repetitions telescopes to w r² / (1 + w d)."""
    rng = np.random.default_rng(times)
    root = rng.normal(size=(4, 4))
    belief = Belief(
        jnp.asarray(rng.normal(size=(4, 2)), jnp.float32),
        jnp.asarray(root @ root.T / 4.0, jnp.float32),
        jnp.float32(3.0),
        jnp.asarray([2.0, 0.5], jnp.float32),
    )
    z, y = jnp.asarray(rng.normal(size=4), jnp.float32), jnp.asarray([0.7, -0.4], jnp.float32)
    once = absorb(belief, forecast(belief, z), y, jnp.float32(times))
    often = belief
    for _ in range(times):
        often = absorb(often, forecast(often, z), y, jnp.float32(1.0))
    for got, expected in zip(once, often, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


def test_a_weight_of_a_mixture_of_readouts_is_as_many_pairs_for_its_task():
    learner = ReadoutMixture(READOUTS, **ONE_TASK)
    x, y = pairs(12)
    weights = np.asarray([1, 2, 3] * 4, np.float32)
    weighted = repeated = learner.init()
    for place, weight in enumerate(weights):
        weighted, _ = update(learner, weighted, x[place], y[place], weight)
        for _ in range(int(weight)):
            repeated, _ = update(learner, repeated, x[place], y[place])
    for got, expected in zip(weighted.beliefs, repeated.beliefs, strict=True):
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-3, atol=1e-4)
    # It is one pair of the stream all the same.
    assert int(weighted.step) == 12
    assert int(repeated.step) == 24


@pytest.mark.parametrize("learner", [ReadoutMixture(READOUTS), Mixture(PRIOR), Mixture.paper(PRIOR)])
def test_a_weight_of_one_is_no_weight_and_the_largest_leaves_numbers(learner):
    x, y = pairs(30)
    plain = one = heavy = learner.init()
    for place in range(30):
        plain, told = update(learner, plain, x[place], y[place])
        one, same = update(learner, one, x[place], y[place], 1.0)
        heavy, _ = update(learner, heavy, x[place], y[place], 1e6)
    np.testing.assert_allclose(told.loss, same.loss, rtol=1e-3)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learner.predict(heavy, x[0])))
    assert np.allclose(
        learner.predict(plain, x[0]).mean, learner.predict(one, x[0]).mean, rtol=1e-3, atol=1e-4
    )


def test_a_weight_scales_the_step_of_a_network_up_to_the_step_of_its_prior():
    learner, x, y = Mixture(PRIOR, step_scale=0.2, max_tasks=1), *pairs(12)
    state = learner.init()
    for place in range(8):  # from as many pairs as the window on, a task takes small steps
        state, _ = update(learner, state, x[place], y[place])

    def moved(scale, weight):
        after, _ = update(Mixture(PRIOR, step_scale=scale, max_tasks=1), state, x[8], y[8], weight)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(after.models)]

    for weight, scale in ((0.5, 0.1), (2.0, 0.4), (5.0, 1.0), (100.0, 1.0)):
        for got, expected in zip(moved(0.2, weight), moved(scale, None), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("learner", [KShot(PRIOR), Continuous(PRIOR), Static(PRIOR), Oracle(PRIOR, 2)])
def test_who_knows_no_weights_says_so(learner):
    x, y = pairs(1)
    assert not learner.weighs
    with pytest.raises(ValueError, match=f"{type(learner).__name__}.update got a weight; expected none"):
        learner.update(learner.init(), x[0], y[0], 2.0)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, 1e7])
def test_weights_out_of_range_are_refused(weight):
    learner, (x, y) = ReadoutMixture(READOUTS), pairs(1)
    assert learner.weighs
    with pytest.raises(ValueError, match=r"expected a number between 0 and 1e\+06"):
        learner.update(learner.init(), x[0], y[0], weight)
    model = OnlineRegressor(**SMALL)
    with pytest.raises(ValueError, match=r"OnlineRegressor.learn_one got weight=.*between 0 and 1e\+06"):
        model.learn_one([1.0], 1.0, weight)
    with pytest.raises(
        ValueError, match=r"got sample_weight .* in row 1; expected numbers from 0 to a million"
    ):
        model.learn_many([[1.0], [2.0]], [1.0, 2.0], [1.0, weight])
    assert model.n_seen_ == 0


# Estimators.


@pytest.mark.parametrize("kind", [OnlineRegressor, OnlineClassifier])
def test_a_pair_of_weight_zero_is_not_there(kind):
    y = Y if kind is OnlineRegressor else np.where(Y > 0, "up", "down")
    there = np.arange(24) % 3 > 0
    weighted = kind(**SMALL).learn_many(X, y, there.astype(float))
    plain = kind(**SMALL).learn_many(X[there], y[there])
    np.testing.assert_array_equal(weighted.predict(X), plain.predict(X))
    assert weighted.n_seen_ == plain.n_seen_ == 16
    weighted.learn_one(object(), object(), 0.0)  # not even read
    assert weighted.faults_ == plain.faults_


def test_weights_of_one_are_no_weights_to_the_bit_and_compile_nothing(count_compiles):
    plain = OnlineRegressor(**SMALL).learn_many(X, Y)
    with count_compiles() as count:
        ones = OnlineRegressor(**SMALL).learn_many(X, Y, np.ones(24))
    assert count() == 0
    np.testing.assert_array_equal(ones.predict(X), plain.predict(X))


def test_weights_survive_the_growth_of_the_prior():
    """Every pair thrice, or of weight three, once the prior was made anew from the same pairs."""
    grown = OnlineRegressor(memory=8, width=8, mixture=ONE_TASK).learn_many(X[:8], Y[:8], [3.0] * 8)
    replayed = grown.learner_.init(kinds=(1.0, 0.0))
    shown = np.zeros((8, grown.learner_.prior.input_size), np.float32)
    shown[:, :2] = X[:8]
    for x, y in zip(jnp.asarray(shown), jnp.asarray(Y[:8, None], jnp.float32), strict=True):
        for _ in range(3):
            replayed, _ = update(grown.learner_, replayed, x, y)
    expected = [grown.learner_.predict(replayed, x).mean[0] for x in jnp.asarray(shown)]
    np.testing.assert_allclose(grown.predict(X[:8]), expected, rtol=1e-3, atol=1e-3)
    plain = OnlineRegressor(memory=8, width=8, mixture=ONE_TASK).learn_many(X[:8], Y[:8])
    assert np.max(np.abs(plain.predict(X[:8]) - grown.predict(X[:8]))) > 1e-2  # the weights do say something


def test_doubtful_pairs_of_little_weight_do_little_harm():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 2))
    truth = x @ [2.0, -1.0]
    doubtful = np.arange(120) % 2 == 0
    y = truth + np.where(doubtful, 3.0, 0.05) * rng.normal(size=120)
    errors = {}
    for name, weights in (("equal", None), ("weighted", np.where(doubtful, 1e-3, 1.0))):
        model = OnlineRegressor(memory=64, width=8).learn_many(x, y, weights)
        errors[name] = float(np.sqrt(np.mean((model.predict(x) - truth) ** 2)))
    assert errors["weighted"] < 0.5 * errors["equal"], errors


@pytest.mark.parametrize("kind", [OnlineRegressor, OnlineClassifier])
def test_a_file_keeps_the_weights_of_the_pairs_that_are_learned_again(kind, tmp_path: Path):
    y = Y if kind is OnlineRegressor else np.where(Y > 0, "up", "down")
    model = kind(**SMALL).learn_many(X[:12], y[:12], np.arange(12) % 3 + 0.5)
    model.save(tmp_path / "model.mole")
    again = kind.load(tmp_path / "model.mole")
    for one in (model, again):
        one.learn_many(X[12:], y[12:])  # the 16th pair makes the prior anew
    np.testing.assert_array_equal(model.predict(X), again.predict(X))
    plain = kind(**SMALL).learn_many(X[:12], y[:12])
    plain.save(tmp_path / "plain.mole")
    assert "weights" not in checkpoint.read_header(tmp_path / "plain.mole").config["arrays"]


def test_an_estimator_over_a_learner_without_weights_learns_nothing_from_one():
    model = OnlineRegressor(KShot(PRIOR))
    x, y = (np.asarray(values, float) for values in pairs(2))
    model.learn_one(x[0], y[0])
    with pytest.raises(ValueError, match=r"KShot.update got a weight"):
        model.learn_one(x[1], y[1], 2.0)
    assert model.n_seen_ == 1
    assert model.learn_one(x[1], y[1], 0.0).n_seen_ == 1
    over = OnlineRegressor(Mixture(PRIOR)).learn_many(x, y, [2.0, 0.5])
    assert over.n_seen_ == 2


@pytest.mark.parametrize("weights", [[1.0], [[1.0], [1.0]], "ab", 3.0, ["x", "y"]])
def test_weights_of_another_shape_are_refused(weights):
    model = OnlineRegressor(**SMALL)
    with pytest.raises(ValueError, match=r"got (sample_weight|y of type)"):
        model.learn_many([[1.0], [2.0]], [1.0, 2.0], weights)
    assert model.n_seen_ == 0
