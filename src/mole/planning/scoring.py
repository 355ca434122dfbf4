"""What a plan is worth under a learned model: the rollout that every planner scores its candidates with.

The checks read shapes and dtypes alone: they run while a program is traced and cost nothing afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mole._expect import expect_callable
from mole._types import Array, Float, Model

__all__ = ["Reward", "expect_obs", "rollout", "rollout_trajectory"]

Reward = Callable[[Array, Array, Array], Array]
"""A pure JAX function ``(obs[obs], action[act], next_obs[obs]) -> scalar``."""


@eqx.filter_jit
def rollout(
    model: Model,
    reward: Reward,
    obs: Float[Array, " obs"],
    plans: Float[Array, "samples horizon act"],
    discount: float,
) -> Float[Array, " samples"]:
    """Discounted return of every plan, all started from `obs`: sum over h of `discount**h * reward_h`.

    The scan runs over the horizon and the vmap over the samples is inside of it, so a network sees one matrix
    `[samples, in]` per step.

    Raises:
        ValueError: if an argument, the model's output or the reward has the wrong shape.
        TypeError: if `obs` or the model's output has the wrong dtype.
    """
    expect_obs("rollout", obs)
    if jnp.ndim(plans) != 3 or 0 in jnp.shape(plans):
        raise ValueError(
            f"rollout got plans of shape {jnp.shape(plans)}; expected [samples, horizon, act], each of at least 1."
        )
    _check_step(model, reward, obs, plans[0, 0])
    samples, horizon, _ = plans.shape

    def step(states: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        actions, weight = inputs
        following = jax.vmap(model)(states, actions)
        return following, weight * jax.vmap(reward)(states, actions, following)

    # By NumPy: the discount is a Python number, so that the weights are constants of the program.
    weights = jnp.asarray(discount ** np.arange(horizon), plans.dtype)
    start = jnp.broadcast_to(obs[None], (samples, *obs.shape))
    _, rewards = lax.scan(step, start, (jnp.swapaxes(plans, 0, 1), weights))
    return rewards.sum(0)


@eqx.filter_jit
def rollout_trajectory(
    model: Model, obs: Float[Array, " obs"], plan: Float[Array, "horizon act"]
) -> Float[Array, "horizon+1 obs"]:
    """The observations that the model predicts along one plan, `obs` itself first.

    Raises:
        ValueError: if `obs` is no vector, or the plan no matrix.
        TypeError: if `obs` has the wrong dtype.
    """
    expect_obs("rollout_trajectory", obs)
    if jnp.ndim(plan) != 2:
        raise ValueError(
            f"rollout_trajectory got a plan of shape {jnp.shape(plan)}; expected [horizon, act]."
        )

    def step(state: Array, action: Array) -> tuple[Array, Array]:
        following = model(state, action)
        return following, following

    _, predicted = lax.scan(step, obs, plan)
    return jnp.concatenate([obs[None], predicted])


def expect_obs(owner: str, obs: Any) -> None:
    """An observation is one vector of floating-point numbers."""
    shape, dtype = getattr(obs, "shape", None), getattr(obs, "dtype", None)
    if shape is None or len(shape) != 1:
        got = f"{obs!r:.80}" if shape is None else f"of shape {shape}"
        raise ValueError(
            f"{owner} got obs {got}; expected one vector [obs]. Use jax.vmap for several at once."
        )
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{owner} got obs of dtype {dtype}; expected floating point. Convert it first.")


def _check_step(model: Any, reward: Any, obs: Array, action: Array) -> None:
    """The model must map an observation to one like it, and the reward must be a floating-point scalar."""
    expect_callable("rollout", "model", model, "(obs[obs], action[act]) -> next_obs[obs].")
    expect_callable("rollout", "reward", reward, "(obs[obs], action[act], next_obs[obs]) -> scalar.")
    # The scan carries the observation: it would refuse another shape or type too, but would not name the model.
    following = jax.eval_shape(model, obs, action)
    shape, dtype = getattr(following, "shape", None), getattr(following, "dtype", None)
    if shape != obs.shape:
        raise ValueError(
            f"rollout got a model whose output has shape {shape}; expected {obs.shape}, that of obs. "
            "The model must return the whole next observation."
        )
    if dtype != obs.dtype:
        raise TypeError(
            f"rollout got a model whose output has dtype {dtype}; expected {obs.dtype}, as obs has. "
            "Cast inside the model."
        )
    value = jax.eval_shape(reward, obs, action, following)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape != () or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"rollout got a reward of shape {shape} and dtype {dtype}; expected one floating-point scalar. "
            "The reward sees single steps, without a batch axis."
        )
