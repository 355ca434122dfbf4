"""Regimes in words and numbers: events, and how two tasks differ in the user's columns."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mole
from helpers import tiny_prior
from mole.estimators.regimes import EVENTS, SETTLED, RegimeWatch
from mole.learning.models import Normalizer
from mole.readout import ReadoutPrior
from mole.readout.posterior import TaskPosterior, components, linear_features
from mole.readout.prior import Features

SWITCHES = (80, 130, 180)
SAVED = (50, 83, 132)  # in the first regime, and while changes have begun and are not certain yet


def pump(n: int = 200, seed: int = 0) -> list[tuple[dict[str, Any], float]]:
    """Two regimes that take turns: the speed raises or lowers the target, an open valve adds 3 in the first alone."""
    rng, pairs = np.random.default_rng(seed), []
    for t in range(n):
        speed, valve = 100 + 10 * rng.normal(), str(rng.choice(["open", "shut"]))
        first = sum(t >= switch for switch in SWITCHES) % 2 == 0
        y = 0.2 * (speed - 100) + 3 * (valve == "open") if first else 5 - 0.1 * (speed - 100)
        pairs.append(({"speed": speed, "valve": valve}, y + 0.1 * rng.normal()))
    return pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("regimes")


@pytest.fixture(scope="module")
def model(folder: Path) -> mole.OnlineRegressor:
    made = mole.OnlineRegressor(memory=64)
    for place, (x, y) in enumerate(pump()):
        if place in SAVED:
            made.save(folder / f"{place}.mole")
        made.learn_one(x, y)
    return made


def entry(entries: list[dict[str, Any]], **given: Any) -> dict[str, Any]:
    return next(one for one in entries if all(one[name] == value for name, value in given.items()))


def test_every_change_is_an_event_at_its_row(model):
    events = model.events_
    assert [event["event"] for event in events] == ["began", "began", "returned", "returned"]
    assert [event["task"] for event in events] == [0, 1, 0, 1]
    assert [event["before"] for event in events] == [None, 0, 1, 0]
    for event, switch in zip(events, (0, *SWITCHES), strict=True):
        assert 0 <= event["row"] - 1 - switch <= 2
        assert event["row"] <= event["noticed"] <= event["row"] + 10
        assert event["probability"] > 0.75
    assert json.loads(json.dumps(events, allow_nan=False)) == events
    assert model.n_events_ == 4


@pytest.mark.parametrize("place", [1, 2, 3])
def test_an_event_says_what_is_different(model, place):
    """In the columns and the units of the user, within what the event says of its own error."""
    event, turn = model.events_[place], 1 if place % 2 else -1
    speed = entry(event["columns"], column="speed")
    spread = speed["effect"] / speed["slope"]
    assert spread == pytest.approx(10.0, rel=0.2)
    assert abs(speed["change"] - turn * -0.3 * spread) < 3 * speed["sd"]
    assert speed["change"] == pytest.approx(speed["effect"] - speed["effect_before"], rel=1e-3)
    valve = entry(event["columns"], column="valve")
    assert abs(valve["change"] - 1.5) < 3 * valve["sd"]
    assert "slope" not in valve
    (output,) = event["outputs"]
    assert abs(output["change"] - turn * 3.5) < 3 * output["sd"] + 0.4
    assert output["change"] == pytest.approx(output["mean"] - output["mean_before"], rel=1e-3)


def test_what_is_known_of_a_difference_grows(model):
    """Six pairs of a new task leave most of it open; when it returns, little."""
    sds = [entry(event["columns"], column="speed")["sd"] for event in model.events_[1:]]
    assert sds[0] > 3 * sds[1] and sds[0] > 3 * sds[2]


def test_a_regime_alone(model):
    found = model.regime_(0)
    speed = entry(found["columns"], column="speed")
    assert speed["slope"] == pytest.approx(0.2, abs=0.02) and speed["effect"] == pytest.approx(2.0, rel=0.25)
    assert found["before"] is None and "change" not in speed
    assert model.regime_(0, 1)["outputs"][0]["mean"] == found["outputs"][0]["mean"]
    with pytest.raises(KeyError):
        model.regime_(7)
    with pytest.raises(ValueError, match="needs learned pairs"):
        mole.OnlineRegressor().regime_(0)


@pytest.mark.parametrize("at", SAVED)
def test_a_loaded_model_tells_the_same_events(model, at, folder):
    again = mole.OnlineRegressor.load(folder / f"{at}.mole")
    assert again.n_events_ == len(again.events_) < 4
    for x, y in pump()[at:]:
        again.learn_one(x, y)
    assert again.events_ == model.events_ and again.n_events_ == 4
    assert copy.deepcopy(again).events_ == model.events_


def test_records_of_the_user_are_copies(model):
    model.events_[0]["task"] = 99
    assert model.events_[0]["task"] == 0


def test_events_are_bounded_and_counted():
    watch = RegimeWatch()
    for k in range(EVENTS + 10):
        watch.add({"row": k})
    assert len(watch.events) == EVENTS and watch.total == EVENTS + 10 and watch.events[0] == {"row": 10}


def test_a_short_lead_is_no_event():
    watch, slots = RegimeWatch(), lambda: (None, [0.0, 1.0, -1.0])
    assert watch.turned(1, 0, slots, False) is not None
    for pair in range(2, 30):  # a known task leads for four pairs, then the first one again
        lead = int(pair % 6 < SETTLED - 1)
        assert watch.turned(pair, lead, slots, False) is None
    assert watch.turned(30, 5, slots, False) is None  # a candidate that nobody knows
    assert watch.turned(31, 1, slots, True) == {
        "event": "began", "row": 31, "noticed": 31, "task": 1, "before": 0,
    }  # fmt: skip


def test_classes_are_told_by_label():
    rng, model = np.random.default_rng(0), mole.OnlineClassifier(memory=64)
    for t in range(240):
        x = rng.normal(size=2)
        model.learn_one({"a": x[0], "b": x[1]}, "yes" if (x[0] if t < 120 else -x[0]) > 0 else "no")
    second = model.events_[-1]
    assert second["task"] == 1 and 120 <= second["row"] - 1 <= 140
    assert [one["output"] for one in second["outputs"]] == [model.classes_[1]]
    assert second["columns"][0]["column"] == "a"
    assert second["columns"][0]["effect"] * second["columns"][0]["effect_before"] < 0


def test_networks_have_no_standard_deviation():
    prior = tiny_prior(jax.random.key(0), dx=2, dy=2)
    model = mole.OnlineRegressor(mole.Static(prior))
    for x in np.random.default_rng(0).normal(size=(8, 2)):
        model.learn_one(x, x)
    found = model.regime_(model.task_)
    assert [one["sd"] for one in found["outputs"]] == [None, None]
    assert {one["column"] for one in found["columns"]} == {"x0", "x1"}
    slopes = jax.jit(jax.vmap(jax.jacfwd(lambda x: prior.predict(prior.model, x).mean)))
    mean = np.mean(np.asarray(slopes(jnp.asarray(np.stack(model._recent)))), axis=0)
    assert entry(found["columns"], output="y1", column="x0")["slope"] == pytest.approx(mean[1, 0], rel=1e-3)


# The mathematics.


def test_the_linear_view_is_that_of_the_features():
    features = Features(5, width=8, key=jax.random.key(1), growing=(3,))
    x = 3.0 * np.random.default_rng(0).normal(size=(40, 5))  # some beyond four deviations
    view = linear_features(features, x)
    both = jax.jit(jax.vmap(lambda one: (features(one), jax.jacfwd(features)(one))))
    z, slopes = both(jnp.asarray(x, jnp.float32))
    assert np.allclose(view.mean, np.mean(z, axis=0), atol=1e-5)
    assert np.allclose(view.slopes, np.mean(slopes, axis=0), atol=1e-5)
    assert np.allclose(view.inputs, z[:, 1:6], atol=1e-5)


@functools.cache
def learned() -> tuple[Any, Any, np.ndarray]:
    norm = Normalizer(jnp.asarray([1.0, -1.0]), jnp.asarray([2.0, 0.5]))
    prior = ReadoutPrior.untrained(width=6, x_norm=norm, y_norm=norm, key=jax.random.key(0))
    learner = mole.ReadoutMixture(prior)
    step = jax.jit(lambda *given: learner.update(*given))
    state, rng = learner.init(), np.random.default_rng(2)
    for x in rng.normal(size=(12, 2)).astype(np.float32):
        state, _ = step(state, jnp.asarray(x), jnp.asarray([x[0], x[1] ** 2]))
    return learner, state, rng.normal(size=(2, learner.prior.features.size)).T


def test_the_posterior_of_a_task_is_that_of_its_draws():
    """Of the coefficients, drawn from the normal-inverse-gamma belief of each rate in turn."""
    _, state, along = learned()
    slot, rng, n = int(state.lead), np.random.default_rng(0), 40_000
    known = TaskPosterior.of(state, slot)
    assert known.weights.sum() == pytest.approx(1.0)
    mean, cov, shape, rate = (np.asarray(part[slot], float) for part in state.beliefs)
    rates = rng.choice(len(known.weights), size=n, p=known.weights)
    draws = np.empty((n, 2, 2))
    for r in range(len(known.weights)):
        root, count = np.linalg.cholesky(cov[r] + 1e-9 * np.eye(len(cov[r]))), int(np.sum(rates == r))
        noise = np.sqrt(rate[r] / rng.gamma(shape[r], size=(count, 2)))
        w = mean[r] + np.einsum("de,ney->ndy", root, rng.normal(size=(count, len(root), 2))) * noise[:, None]
        draws[rates == r] = np.einsum("dk,ndy->nky", along, w)
    assert np.allclose(known.expected(along), draws.mean(axis=0), atol=0.02)
    for y in range(2):
        assert np.allclose(known.covariance(along)[y], np.cov(draws[:, :, y].T), rtol=0.05, atol=0.02)


def test_components_have_the_moments_of_the_forecast():
    learner, state, _ = learned()
    x = jnp.asarray([0.3, -0.4])
    weights, mean, scale, freedom = (np.asarray(part, float) for part in components(learner, state, x))
    expected = learner.predict(state, x)
    assert weights.sum() == pytest.approx(1.0)
    middle = weights @ mean
    spread = scale**2 * (freedom / (freedom - 2)) + (mean - middle) ** 2
    assert np.allclose(middle, expected.mean, atol=1e-5)
    assert np.allclose(np.sqrt(weights @ spread), expected.scale, rtol=1e-4)
