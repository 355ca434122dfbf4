"""The planners' loop with a model that lives outside of JAX: a simulator, another program, a robot.

`Planner.plan` compiles the model into its loop; here the loop runs on the host and calls a NumPy function that scores
the candidates of each iteration. Everything else is the planner's own code, compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from mole._types import Array, Float, Key
from mole.planning.base import Planner, PlannerState

__all__ = ["Score", "plan_on_host"]

Score = Callable[[np.ndarray], np.ndarray]
"""``plans[samples, horizon, act] -> returns[samples]``, the discount included; NaN for a plan that failed."""


def plan_on_host(
    planner: Planner, state: PlannerState, score: Score, key: Key
) -> tuple[PlannerState, Float[Array, " act"]]:
    """`Planner.plan`, with candidates scored by a function outside of JAX.

    Nothing is compiled again after the first call of a planner's configuration.

    Args:
        planner: any `Planner`. Its `discount` is for `score` to apply.
        state: what ``planner.init()`` or the previous call returned.
        score: called once per iteration with the candidates, within the bounds, as a read-only array.
        key: a typed key from `jax.random.key`; the same key gives the same action.

    Returns:
        The new state and the first action ``[act]``, within the bounds.

    Raises:
        ValueError: if the state is not one of this planner's, or the scores have another shape than ``[samples]``.
        TypeError: if the scores are not real numbers.
    """
    # Compiled pieces instead of one compiled loop: the score between them is a Python function.
    warm, noise, search = _begin(planner, state, key)
    alive = np.zeros((), bool)
    for iteration in range(noise.shape[0]):
        plans = _candidates(planner, search, noise, np.int32(iteration))  # a Python int would be compiled in
        returns = _checked(score(np.asarray(plans)), plans.shape[0])
        # In the type of the plans: whole numbers as scores would be compiled as another program.
        search, some = _learn(planner, search, plans, jnp.asarray(returns, plans.dtype))
        alive = alive | np.asarray(some)
    return _conclude(planner, state, warm, search, jnp.asarray(alive))


def _checked(returns: Any, samples: int) -> np.ndarray:
    returns = np.asarray(returns)
    if returns.shape != (samples,):
        raise ValueError(
            f"plan_on_host got scores of shape {returns.shape}; expected {(samples,)}: one number for each plan."
        )
    if returns.dtype.kind not in "fiu":
        raise TypeError(f"plan_on_host got scores of dtype {returns.dtype}; expected real numbers.")
    return returns


@eqx.filter_jit
def _begin(planner: Planner, state: PlannerState, key: Key) -> tuple[Array, Array, Any]:
    warm, noise = planner.prepare(state, key)
    return warm, noise, planner.begin(warm)


@eqx.filter_jit
def _candidates(planner: Planner, search: Any, noise: Array, iteration: ArrayLike) -> Array:
    return planner.candidates(search, noise[iteration])


@eqx.filter_jit
def _learn(planner: Planner, search: Any, plans: Array, returns: Array) -> tuple[Any, Array]:
    return planner.learn(search, plans, returns)


@eqx.filter_jit
def _conclude(
    planner: Planner, state: PlannerState, warm: Array, search: Any, ok: Array
) -> tuple[PlannerState, Array]:
    return planner.conclude(state, warm, search, ok)
