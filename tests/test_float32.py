"""With JAX's 64-bit types on, as some of its users have them for other work, everything still computes in float32."""

from __future__ import annotations

from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

from helpers import bits, tiny_prior
from mole import OnlineRegressor, load_prior, save_prior
from mole.control import Agent, run_episode
from mole.online import KShot
from mole.planning import CEM
from point_mass import SPEC, PointMass

ROWS = [{"a": float(i % 7), "b": 0.5 * (i % 3)} for i in range(12)]


@pytest.fixture(scope="module")
def prior() -> object:
    return tiny_prior(jax.random.key(0), 3, 2)


def test_a_prior_loads_and_an_agent_runs_to_the_same_result(prior: object, tmp_path: Path) -> None:
    save_prior(tmp_path / "p.mole", prior, {})

    def made() -> object:
        loaded = load_prior(tmp_path / "p.mole")
        planner = CEM([-1.0], [0.5], samples=4, elites=2, iterations=1, horizon=2)
        agent = Agent(KShot(loaded), planner, SPEC)
        return loaded, run_episode(PointMass(), agent, steps=4, seed=0).segments

    expected = made()
    with jax.enable_x64(True):
        got = made()
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(eqx.filter(got[0], eqx.is_array))}  # pyright: ignore
    assert dtypes == {"float32"}
    assert bits(got) == bits(expected)
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(got[1], expected[1], strict=True))  # pyright: ignore


def test_an_estimator_learns_is_saved_and_loaded(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        model = OnlineRegressor(memory=64)
        for row in ROWS:
            model.learn_one(row, 2.0 * row["a"])
        forecast = model.predict_one(ROWS[3])
        model.save(tmp_path / "m.mole")
        assert OnlineRegressor.load(tmp_path / "m.mole").predict_one(ROWS[3]) == forecast
    assert OnlineRegressor.load(tmp_path / "m.mole").predict_one(ROWS[3]) == forecast
