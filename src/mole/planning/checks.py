"""Checks of planners' arguments; those of shapes and dtypes run while tracing, at no cost at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array

__all__ = [
    "as_bounds",
    "check_bounds",
    "check_obs",
    "check_state",
    "check_step",
    "require",
    "require_number",
    "require_whole",
]

_LARGEST = 1e15  # squares of the range must not overflow in float32


def require(condition: bool, name: str, got: object, expected: str) -> None:
    """Raise a ValueError that says what was got and what was expected, unless `condition` holds."""
    if not condition:
        raise ValueError(f"{name}: got {got!r}, expected {expected}.")


def require_whole(*named: tuple[str, object]) -> None:
    """Raise a TypeError for the first value that is no whole number."""
    for name, value in named:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name}: got {value!r} ({type(value).__name__}), expected a whole number.")


def require_number(*named: tuple[str, object]) -> None:
    """Raise a TypeError for the first value that is no real number."""
    for name, value in named:
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise TypeError(f"{name}: got {value!r} ({type(value).__name__}), expected a number.")


def as_bounds(values: Any) -> Array:
    """Bounds of the actions as an array of floats."""
    try:
        return jnp.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            f"action bounds: got {values!r:.80}, expected one number per entry of the action."
        ) from None


def check_bounds(low: Array, high: Array) -> None:
    """Bounds must be two finite vectors of one length, low below high everywhere."""
    if low.ndim != 1 or low.shape != high.shape or low.size == 0:
        raise ValueError(
            f"action_low and action_high: got shapes {low.shape} and {high.shape}, expected two vectors of "
            "one length [act]; give one bound per entry of the action."
        )
    low_, high_ = np.asarray(low), np.asarray(high)
    if not (np.abs(np.concatenate([low_, high_])) <= _LARGEST).all():  # NaN is not <=
        raise ValueError(
            f"action_low and action_high: got {low_} and {high_}, expected finite numbers of at most "
            f"{_LARGEST:g} in size; planners sample within the bounds, so choose a range for each action."
        )
    if not (low_ < high_).all():
        raise ValueError(
            f"action_low and action_high: got {low_} and {high_}, expected low < high in every entry; "
            "exchange them, or drop entries of the action that cannot move."
        )


def check_obs(obs: Any) -> None:
    """An observation is one vector of floating-point numbers."""
    if jnp.ndim(obs) != 1:
        raise ValueError(
            f"obs: got shape {jnp.shape(obs)}, expected one vector [obs]; use plan_batch for several at once."
        )
    if not jnp.issubdtype(jnp.result_type(obs), jnp.floating):
        raise TypeError(f"obs: got dtype {jnp.result_type(obs)}, expected floating point; convert it first.")


def check_state(mean: Array, expected: tuple[int, ...]) -> None:
    """The state must come from a planner of the same horizon and action size."""
    if mean.shape != expected:
        raise ValueError(
            f"state.mean: got shape {mean.shape}, expected {expected} [horizon, act]; "
            "start from this planner's own init()."
        )


def check_step(model: Callable[..., Any], reward: Callable[..., Any], obs: Array, action: Array) -> None:
    """The model must map an observation to one like it, and the reward must be a floating-point scalar."""
    following = jax.eval_shape(model, obs, action)
    shape, dtype = getattr(following, "shape", None), getattr(following, "dtype", None)
    if shape != obs.shape:
        raise ValueError(
            f"model: got an output of shape {shape}, expected {obs.shape}, that of obs; "
            "the model must return the whole next observation."
        )
    if dtype != obs.dtype:
        raise TypeError(
            f"model: got an output of dtype {dtype}, expected {obs.dtype}, as obs has; cast inside the model."
        )
    value = jax.eval_shape(reward, obs, action, following)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape != () or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"reward: got shape {shape} and dtype {dtype}, expected one floating-point scalar; "
            "the reward sees single steps, without a batch axis."
        )
