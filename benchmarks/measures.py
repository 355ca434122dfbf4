"""The measures behind the rows of `run.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from loops import TaskLoop, same
from scenes import DX, DY, K, full_mixture, make_pairs, make_prior, make_windows
from timing import Row, blocked, interleaved, row

from mole import KShot, Mixture, OnlineLearner, Static
from mole.control.agent import Agent, AgentState, LearnedDynamics, jit_act, jit_observe
from mole.envs.half_cheetah import DYNAMICS
from mole.meta import meta_loss
from mole.online.base import fresh
from mole.planning import CEM

_LOW, _HIGH = -np.ones(DYNAMICS.act_dim, np.float32), np.ones(DYNAMICS.act_dim, np.float32)


def meta_gradient(size: str, rounds: int) -> Iterator[Row]:
    """Second-order gradient of the meta-loss in θ and the inner rates."""
    prior, windows = make_prior(size), make_windows()

    def gradient(fast: bool) -> Callable[[], Any]:
        def loss(fit: Any, windows: Any) -> jax.Array:
            return meta_loss(*fit, prior.likelihood, windows, fast=fast)

        run = eqx.filter_jit(eqx.filter_grad(loss))
        return blocked(lambda: run((prior.model, prior.inner_rate), windows))

    fast, plain = interleaved([gradient(True), gradient(False)], rounds)
    yield row(f"meta-gradient {size}: fast path", fast, "plain path", plain)


@eqx.filter_jit(donate="all-except-first")
def _update(rest: tuple[OnlineLearner, Any, Any], state: Any) -> Any:
    learner, x, y = rest
    return learner.update(state, x, y)


def _stream(learner: OnlineLearner, state: Any, pairs: Any) -> Callable[[], None]:
    """One update after another, the state donated as in control."""
    holder, numbers = [fresh(state)], count()

    def step() -> None:
        place = next(numbers) % len(pairs.x)
        holder[0], info = jax.block_until_ready(_update((learner, pairs.x[place], pairs.y[place]), holder[0]))
        del info

    return step


def _loop(learner: Mixture, state: Any, pairs: Any) -> Callable[[], None]:
    loop, numbers = TaskLoop(learner, state), count()

    def step() -> None:
        place = next(numbers) % len(pairs.x)
        jax.block_until_ready(loop.update(pairs.x[place], pairs.y[place]))

    return step


def em_step(size: str, rounds: int) -> Iterator[Row]:
    """One step of online learning with all slots in use."""
    prior = make_prior(size)
    pairs = make_pairs(prior, 64)
    pairs = type(pairs)(list(pairs.x), list(pairs.y))  # so that a step indexes no device array
    kshot, ours, paper = KShot(prior, window=2 * K), Mixture(prior), Mixture.paper(prior, step_scale=0.1)
    mixtures = {"Mixture": ours, "Mixture.paper": paper}
    states = {name: full_mixture(learner, pairs) for name, learner in mixtures.items()}
    for name, learner in mixtures.items():
        same(learner, states[name], pairs.x[0], pairs.y[0])
    baseline, *rest = interleaved(
        [
            _stream(kshot, kshot.init(), pairs),
            *(_stream(learner, states[name], pairs) for name, learner in mixtures.items()),
            *(_loop(learner, states[name], pairs) for name, learner in mixtures.items()),
        ],
        rounds,
    )
    for place, name in enumerate(mixtures):
        yield row(f"EM step {size}: {name}", rest[place], "KShot", baseline)
    for place, name in enumerate(mixtures):
        yield row(f"EM step {size}: {name}", rest[place], "Python loop over its tasks", rest[place + 2])


def cem_plan(size: str, rounds: int) -> Iterator[Row]:
    """A plan, and as many matrix products of the same sizes with nothing between them."""
    prior, planner = make_prior(size), CEM(_LOW, _HIGH)
    dynamics = LearnedDynamics(prior.model, prior, DYNAMICS)
    obs, key, state = jnp.zeros(DYNAMICS.obs_dim), jax.random.key(4), planner.init()
    shape = (planner.iterations * planner.horizon, planner.samples, DX)
    inputs = jax.random.normal(key, shape)
    weights = [layer.weight for layer in prior.model.layers]

    @jax.jit
    def products(inputs: jax.Array, weights: list[jax.Array]) -> jax.Array:
        def step(before: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
            h = x + 1e-3 * jnp.pad(
                before, ((0, 0), (0, DX - DY))
            )  # each step needs the one before, as in a plan
            for weight in weights:
                h = h @ weight
            return h, None

        return jax.lax.scan(step, jnp.zeros((planner.samples, DY)), inputs)[0]

    plan, alone = interleaved(
        [
            blocked(lambda: planner.plan(state, dynamics, DYNAMICS.reward, obs, key)),
            blocked(lambda: products(inputs, weights)),
        ],
        rounds,
    )
    name = f"CEM plan {size}, {planner.iterations}x{planner.samples}x{planner.horizon}"
    yield row(name, plan, "its matrix products alone", alone)


def control_step(size: str, rounds: int) -> Iterator[Row]:
    """Act and observe as `run_episode` calls them, from NumPy to NumPy; the environment's own step is left out."""
    prior, planner = make_prior(size), CEM(_LOW, _HIGH)
    agents = {
        "mole": Agent(Mixture(prior), planner, DYNAMICS),
        "static": Agent(Static(prior), planner, DYNAMICS),
    }
    key, numbers = jax.random.key(5), count()
    stream = np.random.default_rng(0).normal(size=(65, DYNAMICS.obs_dim)).astype(np.float32)

    def whole(agent: Agent) -> Callable[[], None]:
        holder = [agent.init()]

        def step() -> None:
            number = next(numbers)
            obs, following = stream[number % 64], stream[number % 64 + 1]
            planner_state, planned = jit_act(agent, holder[0], obs, key, np.int32(number))
            action = np.asarray(planned)
            state = AgentState(holder[0].learner, planner_state)
            holder[0], *seen = jit_observe(agent, state, obs, action, following)
            jax.device_get(seen)

        return step

    agent = agents["mole"]
    acting, observing = agent.init(), [agent.init()]
    obs, following, action = (jnp.asarray(v) for v in (stream[0], stream[1], np.zeros(6, np.float32)))
    number = jnp.int32(0)

    def observe() -> None:
        observing[0], *seen = jit_observe(agent, observing[0], obs, action, following)
        jax.block_until_ready((observing[0], seen))

    act = blocked(lambda: jit_act(agent, acting, obs, key, number))
    step, static, acted, observed = interleaved([whole(agent), whole(agents["static"]), act, observe], rounds)
    yield row(f"control step {size}: mole", step, "act + observe, on the device", acted + observed)
    yield row(f"control step {size}: mole", step, "without adaptation", static)
