"""An extended Kalman filter over all weights of a small network, the classic online learner (Singhal & Wu 1989)."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from mole import MLP


class Kalman:
    """``learn(x, y)`` in one compiled call, the state donated; the weights drift as a random walk.

    Args:
        dx: inputs.
        width: units of each hidden layer.
        depth: hidden layers.
        drift: variance that every weight gains with a pair.
    """

    def __init__(self, dx: int, width: int, depth: int, drift: float) -> None:
        arrays, rest = eqx.partition(
            MLP(dx, 1, width=width, depth=depth, key=jax.random.key(0)), eqx.is_array
        )
        weights, unravel = ravel_pytree(arrays)

        def output(weights: jax.Array, x: jax.Array) -> jax.Array:
            return eqx.combine(unravel(weights), rest)(x)[0]

        def learn(state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, jax.Array]:
            weights, cov = state
            expected, slope = jax.value_and_grad(output)(weights, x)
            direction = cov @ slope
            gain = direction / (slope @ direction + 0.1)
            cov = cov - gain[:, None] * direction[None, :] + drift * jnp.eye(weights.size)
            return (weights + gain * (y - expected), cov), expected

        self._learn, self._output = jax.jit(learn, donate_argnums=0), jax.jit(output)
        self._state = weights, 0.1 * jnp.eye(weights.size)

    def learn(self, x: np.ndarray, y: float) -> float:
        """What was expected before the pair was learned."""
        self._state, expected = self._learn(self._state, x, np.float32(y))
        return float(expected)

    def predict(self, x: np.ndarray) -> float:
        """What is expected for an input."""
        return float(self._output(self._state[0], x))
