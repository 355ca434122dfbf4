"""Estimators and fleets say what was wrong with their data, in files too; wild targets do not ruin their scales."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from mole.estimators import Fleet, OnlineClassifier, OnlineRegressor
from mole.learning.models import Normalizer
from mole.readout import ReadoutPrior
from mole.rows.scaling import robust_normalizer

SMALL = {"max_tasks": 2, "candidates": 3, "drift": (1e-6,)}
PRIOR = ReadoutPrior.untrained(
    width=2, depth=1, x_norm=Normalizer.identity(2), y_norm=Normalizer.identity(1), key=jax.random.key(0)
)


def pairs(n: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return x, (x @ np.float32([1.0, -2.0]))[:, None]


def test_a_regressor_counts_and_forgets_what_it_was_refused(tmp_path):
    x, y = pairs(40)
    model, clean = (OnlineRegressor(PRIOR, mixture=SMALL) for _ in range(2))
    for step, (a, b) in enumerate(zip(x, y, strict=True)):
        model.learn_one(a, b)
        clean.learn_one(a, b)
        if step == 20:
            model.learn_one(a, [1e25])
            model.learn_one(a, [-3e38])
            for wrong in ((a, [np.nan]), ([1.0, np.inf], b), ([1.0], b)):
                with pytest.raises(ValueError, match=r"[Nn]othing was learned"):
                    model.learn_one(*wrong)
    assert model.faults_ == {"out_of_reach": 2, "refused": 3} and clean.faults_ == {}
    for a in x[:5]:  # bit for bit: neither the state nor the intervals took notice
        assert model.predict_one(a) == clean.predict_one(a)
        assert model.predict_interval_one(a) == clean.predict_interval_one(a)
    model.save(tmp_path / "model.mole")
    assert OnlineRegressor.load(tmp_path / "model.mole").faults_ == model.faults_


def test_without_a_prior_an_absurd_target_is_counted_and_the_scale_stays():
    x, y = pairs(16)
    model = OnlineRegressor(mixture=SMALL, width=2, memory=16)
    for step, (a, b) in enumerate(zip(x, y, strict=True)):
        model.learn_one(a, b)
        if step in (5, 9):
            model.learn_one(a, [1e25])
    model.learn_one([np.nan, 1.0], [0.0])
    assert model.faults_["out_of_reach"] == 2 and model.faults_["missing"] == 1
    assert np.isfinite(model.predict(x)).all() and np.abs(model.predict(x)).max() < 20.0


def test_a_classifier_counts_what_it_refuses():
    model = OnlineClassifier(mixture=SMALL, width=2)
    model.learn_one([1.0, 2.0], "a")
    with pytest.raises(ValueError, match="expected an int, a str or a bool"):
        model.learn_one([1.0, 2.0], 0.5)
    with pytest.raises(ValueError, match="got x of 1 values; expected 2"):
        model.learn_one([1.0], "a")
    assert model.faults_ == {"refused": 2}


def test_a_fleet_counts_per_stream(tmp_path):
    fleet = Fleet(PRIOR, 3, mixture=SMALL)
    x, y = pairs(3)
    fleet.learn(x, y)
    bad = y.copy()
    bad[1] = 1e25
    fleet.learn(x, bad)
    wild = x.copy()
    wild[2, 0] = np.nan
    fleet.learn(wild, y, there=np.array([True, True, True]))
    fleet.learn(x, y, there=np.array([True, False, True]))
    faults = fleet.faults_
    assert faults["out_of_reach"].tolist() == [0, 1, 0]
    assert faults["not_finite"].tolist() == [0, 0, 1]  # who skips a step has no fault
    assert faults["repeated"].tolist() == [3, 1, 2]  # as the last pair that was learned
    fleet.save(tmp_path / "fleet.mole")
    again = Fleet.load(tmp_path / "fleet.mole")
    assert {name: n.tolist() for name, n in again.faults_.items()} == {
        n: f.tolist() for n, f in faults.items()
    }
    fleet.reset([1])
    assert fleet.faults_["out_of_reach"].tolist() == [0, 0, 0]


def test_one_wild_value_does_not_silence_a_column_that_seldom_moves():
    rain = np.zeros((100, 1))
    rain[::10, 0] = np.linspace(1.0, 5.0, 10)
    usual = robust_normalizer(rain)
    rain[55, 0] = 1e25
    assert float(robust_normalizer(rain).std[0]) < 1e4 * 5.0
    rain[55, 0] = 5.0
    # The heaviest rain, 5, is within four scales; without that the scale would be .99.
    assert float(usual.std[0]) == pytest.approx(5.0 / 4.0, rel=0.02)
    assert robust_normalizer(np.ones((5, 1))).std.tolist() == [1.0]
