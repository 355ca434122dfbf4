"""An agent whose sensors fail still acts within its bounds, learns nothing of it, and says so."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from helpers import bits
from mole.control.agent import jit_act, jit_observe
from mole.online import Fault
from point_mass import HIGH, LOW, make_agent

OBS, ACTION = jnp.asarray([0.5, -0.25]), jnp.zeros(1)


@pytest.mark.parametrize("wild", [jnp.nan, jnp.inf, 1e25, -3e38])
def test_a_wild_observation(wild):
    agent = make_agent()
    state = agent.init()
    for step in range(4):
        state, _, _ = jit_observe(agent, state, OBS + 0.01 * step, ACTION, OBS + 0.01 * step + 0.01)
    known = bits(state.learner)
    broken = OBS.at[1].set(wild)
    planner, action = jit_act(agent, state, broken, jax.random.key(1), 5)
    assert jnp.isfinite(action).all() and (action >= LOW).all() and (action <= HIGH).all()
    assert jnp.isfinite(planner.mean).all()
    for before, after in ((broken, OBS), (OBS, broken)):
        state, info, _ = jit_observe(agent, state._replace(planner=planner), before, ACTION, after)
        assert info.rejected and info.fault in (Fault.NOT_FINITE, Fault.OUT_OF_REACH)
        assert bits(state.learner) == known
    planner, action = jit_act(agent, state, OBS, jax.random.key(1), 6)
    assert int(planner.failed) <= 1 and jnp.isfinite(action).all()
    state, info, _ = jit_observe(agent, state, OBS, ACTION, OBS + 0.01)
    assert not info.rejected
