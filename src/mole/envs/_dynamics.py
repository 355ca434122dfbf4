"""What the machines of this package have in common for a learner, as JAX functions of single examples."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from mole._types import Array

__all__ = ["DT", "limited", "position"]

DT = 0.05
"""Seconds per step: 5 physics steps of 0.01 s."""


def limited(action: Float[ArrayLike, " act"], like: Array) -> Float[Array, " act"]:
    """`action` clipped to [-1, 1] as the environments clip it, so that data and reward agree with them."""
    return jnp.clip(jnp.asarray(action, like.dtype), -1.0, 1.0)


def position(obs: Float[ArrayLike, " obs"]) -> Float[Array, ""]:
    """Metres forward, along world x: the first entry."""
    return jnp.asarray(obs)[0]
