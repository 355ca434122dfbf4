"""The whole control step as `run_episode` makes it, from NumPy to NumPy; the environment's own step is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Literal

import jax
import numpy as np

from benchmarks.measures_planning import PLANNERS
from benchmarks.scenes import full_mixture, make_pairs, make_prior
from benchmarks.timing import Row, blocked, interleaved, row
from mole import Mixture, Static
from mole.control.agent import Agent, AgentState, jit_act, jit_observe
from mole.envs.cheetah.motors import DYNAMICS

GROUP = "control"


def control_step(
    size: str, planner: str, precision: Literal["float32", "bfloat16"], rounds: int
) -> Iterator[Row]:
    """A mixture of five tasks that are all in use."""
    prior = make_prior(size)
    learner, pairs = Mixture(prior), make_pairs(prior, 64)
    adapting = Agent(learner, PLANNERS[planner], DYNAMICS, precision)
    still = Agent(Static(prior), PLANNERS[planner], DYNAMICS, precision)
    full, key, numbers = full_mixture(learner, pairs), jax.random.key(5), count()
    stream = np.random.default_rng(0).normal(size=(65, DYNAMICS.obs_dim)).astype(np.float32)

    def whole(agent: Agent, state: AgentState) -> Callable[[], None]:
        holder = [state]

        def step() -> None:
            number = next(numbers)
            obs, following = stream[number % 64], stream[number % 64 + 1]
            planner_state, planned = jit_act(agent, holder[0], obs, key, np.int32(number))
            action = np.asarray(planned)
            holder[0], *_ = jit_observe(
                agent, AgentState(holder[0].learner, planner_state), obs, action, following
            )

        return step

    first = AgentState(full, adapting.planner.init())
    observing, action = [jax.tree.map(lambda a: a.copy(), first)], np.zeros(DYNAMICS.act_dim, np.float32)

    def observe() -> None:
        observing[0], *_ = jit_observe(adapting, observing[0], stream[0], action, stream[1])
        jax.block_until_ready(observing[0])

    act = blocked(lambda: jit_act(adapting, first_kept, stream[0], key, np.int32(0)))
    first_kept = jax.tree.map(lambda a: a.copy(), first)
    step, without, acted, observed = interleaved(
        [whole(adapting, first), whole(still, still.init()), act, observe], rounds
    )
    name = f"control step {size}, {planner}, {precision}"
    yield row(GROUP, name, step, "planning + EM step, each alone", acted + observed)
    yield row(GROUP, name, step, "without adaptation", without)
    real_time = np.full(rounds, 0.05)
    yield row(GROUP, name, step, "the half-cheetah's own step", real_time)
