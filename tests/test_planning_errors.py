"""Bounds hold whatever happens, and bad configurations and arguments are refused in clear words."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mole.planning import CEM, MPPI, RandomShooting, rollout, rollout_trajectory

PLANNERS = {
    "shooting": RandomShooting([0.0, 0.0], [1.0, 1.0], samples=12, horizon=3),
    "cem": CEM([0.0, 0.0], [1.0, 1.0], samples=12, horizon=3, noise_correlation=0.5),
    "mppi": MPPI([0.0, 0.0], [1.0, 1.0], samples=12, horizon=3),
}


@pytest.fixture(autouse=True, scope="module")
def strict():
    with jax.numpy_rank_promotion("raise"), jax.enable_x64(False):
        yield


def hold(obs, action):
    return obs


def scaled(obs, action, following):
    return obs[0] * jnp.sin(jnp.sum(action))


@settings(max_examples=40)
@given(
    low=st.floats(-(2.0**20), 2.0**20, width=32),
    width=st.floats(2.0**-3, 2.0**20, width=32),
    scale=st.sampled_from([0.0, 1.0, 1e30, -3e38]),
    seed=st.integers(0, 2**31 - 1),
    name=st.sampled_from(list(PLANNERS)),
)
def test_bounds_hold_whatever_the_reward(low, width, scale, seed, name):
    low32 = np.array([low, -1.0], np.float32)
    high32 = low32 + np.array([width, 1.0], np.float32)
    bounds = (jnp.asarray(low32), jnp.asarray(high32))
    planner = eqx.tree_at(lambda p: (p.action_low, p.action_high), PLANNERS[name], bounds)
    state = planner.init()
    for key in jax.random.split(jax.random.key(seed), 2):
        state, action = planner.plan(state, hold, scaled, jnp.array([scale], jnp.float32), key)
        for plan in (np.asarray(state.mean), np.asarray(action)[None]):
            assert np.all(plan >= low32) and np.all(plan <= high32)


@pytest.mark.parametrize("name", PLANNERS)
def test_candidates_are_clipped_before_they_are_scored(name):
    """Only actions outside of the bounds would have a finite return: none is ever tried."""

    def outside(obs, action, following):
        return jnp.where(jnp.any((action < 0.0) | (action > 1.0)), 1.0, jnp.nan)

    state = PLANNERS[name].init()._replace(mean=jnp.ones((3, 2)))
    state, _ = PLANNERS[name].plan(state, hold, outside, jnp.zeros(1), jax.random.key(0))
    assert state.failed == 1


BAD_PLANNERS = [
    (
        lambda: CEM([0.0, 0.0], [1.0]),
        r"CEM got action_low and action_high of shapes \(2,\) and \(1,\); expected two vectors of one length \[act\]",
    ),
    (lambda: CEM([[0.0]], [[1.0]]), r"of shapes \(1, 1\)"),
    (lambda: CEM([], []), "expected two vectors of one length"),
    (lambda: MPPI([0.0, 1.0], [1.0, 1.0]), "expected low < high in every entry"),
    (lambda: RandomShooting([0.0], [np.inf]), "expected finite numbers of at most 1e\\+15"),
    (lambda: RandomShooting([np.nan], [1.0]), "expected finite numbers"),
    (lambda: CEM([0.0], [1.0], horizon=0), "CEM got horizon=0; expected a whole number from 1 on"),
    (lambda: MPPI([0.0], [1.0], samples=0), "MPPI got samples=0; expected a whole number from 1 on"),
    (
        lambda: CEM([0.0], [1.0], discount=0.0),
        r"CEM got discount=0.0; expected a number above 0 and at most 1\. 1 means no",
    ),
    (lambda: CEM([0.0], [1.0], discount=1.1), "CEM got discount=1.1"),
    (lambda: CEM([0.0], [1.0], discount=float("nan")), "CEM got discount=nan"),
    (lambda: CEM([0.0], [1.0], tail="zero"), "CEM got tail='zero'; expected one of 'repeat', 'middle'"),
    (
        lambda: CEM([0.0], [1.0], samples=5, elites=6),
        "CEM got elites=6; expected a whole number from 1 to 5. At most all samples",
    ),
    (lambda: CEM([0.0], [1.0], elites=0), "CEM got elites=0"),
    (
        lambda: CEM([0.0], [1.0], elites=1.5),
        "CEM got elites=1.5; expected a number above 0 and below 1. A float is a fraction",
    ),
    (lambda: CEM([0.0], [1.0], iterations=0), "CEM got iterations=0; expected a whole number from 1 on"),
    (
        lambda: CEM([0.0], [1.0], keep_elites=11),
        "CEM got keep_elites=11; expected a whole number from 0 to 10",
    ),
    (
        lambda: CEM([0.0], [1.0], smoothing=1.0),
        "CEM got smoothing=1.0; expected a number of at least 0 and below 1",
    ),
    (lambda: CEM([0.0], [1.0], min_std=0.5), "CEM got min_std=0.5; expected a number between 0 and 0.25"),
    (lambda: CEM([0.0], [1.0], init_std=0.0), "CEM got init_std=0.0; expected a number above 0"),
    (lambda: CEM([0.0], [1.0], init_std=np.inf), "CEM got init_std=inf; expected a number above 0"),
    (
        lambda: CEM([0.0], [1.0], noise_correlation=1.0),
        "CEM got noise_correlation=1.0; expected a number of at least 0 and below 1",
    ),
    (lambda: CEM([0.0], [1.0], execute="median"), "CEM got execute='median'; expected one of 'mean', 'best'"),
    (lambda: CEM([0.0], [1.0], include_mean="no"), "CEM got include_mean='no'; expected one of True, False"),
    (lambda: MPPI([0.0], [1.0], temperature=0.0), "MPPI got temperature=0.0; expected a number above 0"),
    (lambda: MPPI([0.0], [1.0], noise_std=-1.0), "MPPI got noise_std=-1.0"),
    (lambda: MPPI([0.0], [1.0], iterations=0), "MPPI got iterations=0"),
    (lambda: MPPI([0.0], [1.0], noise_correlation=-0.1), "MPPI got noise_correlation=-0.1"),
    (lambda: MPPI([0.0], [1.0], normalize=1), "MPPI got normalize=1; expected one of True, False"),
    (lambda: RandomShooting([0.0], [1.0], warm_start="no"), "RandomShooting got warm_start='no'"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "text"), BAD_PLANNERS, ids=[text[:30] for _, text in BAD_PLANNERS])
def test_bad_configurations_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.usefixtures("unchecked")
def test_bad_arguments_of_plan_are_refused():
    planner, obs, key = PLANNERS["cem"], jnp.zeros(3), jax.random.key(0)
    state = planner.init()
    with pytest.raises(
        ValueError, match=r"CEM.plan got obs of shape \(2, 3\); expected one vector \[obs\].*vmap"
    ):
        planner.plan(state, hold, scaled, jnp.zeros((2, 3)), key)
    with pytest.raises(TypeError, match=r"CEM\.plan got obs of dtype int32; expected floating point"):
        planner.plan(state, hold, scaled, jnp.zeros(3, jnp.int32), key)
    longer = CEM([0.0, 0.0], [1.0, 1.0], horizon=5).init()
    with pytest.raises(ValueError, match=r"got state.mean of shape \(5, 2\); expected \(3, 2\).*own init"):
        planner.plan(longer, hold, scaled, obs, key)
    with pytest.raises(ValueError, match=r"a model whose output has shape \(2,\); expected \(3,\)"):
        planner.plan(state, lambda obs, action: obs[:2], scaled, obs, key)
    with pytest.raises(TypeError, match="a model whose output has dtype bfloat16; expected float32"):
        planner.plan(state, lambda obs, action: obs.astype(jnp.bfloat16), scaled, obs, key)
    with pytest.raises(
        ValueError, match=r"a reward of shape \(3,\) and dtype float32; expected one floating"
    ):
        planner.plan(state, hold, lambda obs, action, following: obs, obs, key)
    with pytest.raises(TypeError, match=r"CEM.plan got key=3 \(int\); expected one PRNG key"):
        planner.plan(state, hold, scaled, obs, 3)
    with pytest.raises(TypeError, match=r"CEM.plan got state=None .*expected mole.PlannerState.*own init"):
        planner.plan(None, hold, scaled, obs, key)
    with pytest.raises(TypeError, match=r"rollout got reward=None \(NoneType\); expected a function"):
        planner.plan(state, hold, None, obs, key)
    with pytest.raises(
        ValueError, match=r"rollout got plans of shape \(3, 2\); expected \[samples, horizon, act\]"
    ):
        rollout(hold, scaled, obs, jnp.zeros((3, 2)), 1.0)
    with pytest.raises(
        ValueError, match=r"rollout got plans of shape \(3, 0, 2\); expected .* each of at least 1"
    ):
        rollout(hold, scaled, obs, jnp.zeros((3, 0, 2)), 1.0)
    with pytest.raises(ValueError, match=r"a plan of shape \(4, 3, 2\); expected \[horizon, act\]"):
        rollout_trajectory(hold, obs, jnp.zeros((4, 3, 2)))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("low", [[False], ["0"], [1j], None])
def test_bounds_are_real_numbers(low):
    with pytest.raises(TypeError, match=r"planner got action bounds .*; expected one number per entry"):
        MPPI(low, [1.0])
