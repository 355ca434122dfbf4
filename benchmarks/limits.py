"""What the machine can do at best with the shapes in question: matrix products with nothing between them, copies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import blocked


def chained_products(
    weights: Sequence[jax.Array], rows: int, steps: int, dtype: Any = jnp.float32
) -> Callable[[], None]:
    """The products of a rollout: ``steps`` times through all layers; each step needs the one before, as in a plan."""
    narrow = [weight.astype(dtype) for weight in weights]
    dx, dy = narrow[0].shape[0], narrow[-1].shape[1]
    inputs = jax.random.normal(jax.random.key(4), (steps, rows, dx))

    @jax.jit
    def run(inputs: jax.Array, weights: list[jax.Array]) -> jax.Array:
        def step(before: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
            h = x + 1e-3 * jnp.pad(before, ((0, 0), (0, dx - dy)))
            for weight in weights:
                h = jax.lax.dot(h.astype(dtype), weight, preferred_element_type=jnp.float32)
            return h, None

        return jax.lax.scan(step, jnp.zeros((rows, dy)), inputs)[0]

    return blocked(lambda: run(inputs, narrow))


def em_products(
    models: Sequence[jax.Array], scored: int, learned: Sequence[int], pairs: int
) -> Callable[[], None]:
    """The products of an EM step: every model on ``scored`` rows, a gradient of the ``learned`` ones on ``pairs``."""
    key, dx = jax.random.key(4), models[0].shape[1]
    few, many = jax.random.normal(key, (scored, dx)), jax.random.normal(key, (pairs, dx))

    @jax.jit
    def run(models: list[jax.Array], few: jax.Array, many: jax.Array) -> list[jax.Array]:
        h = jnp.broadcast_to(few, (models[0].shape[0], *few.shape))
        for stack in models:
            h = jnp.einsum("tni,tio->tno", h, stack)
        found = [h]
        for task in learned:
            inputs = [many]
            for stack in models:
                inputs.append(inputs[-1] @ stack[task])
            delta = inputs.pop()
            for stack, x in zip(reversed(models), reversed(inputs), strict=True):
                found.append(x.T @ delta)
                delta = delta @ stack[task].T
        return found

    return blocked(lambda: run(list(models), few, many))


def meta_products(sizes: Sequence[int], rows: int) -> Callable[[], None]:
    """The products of a second-order meta-gradient that never builds adapted weights: nine through each matrix.

    Forward, backward and query, and for each of them the gradient in its input and in the weights.
    """
    keys = jax.random.split(jax.random.key(4), len(sizes))
    weights = [jax.random.normal(k, shape) for k, shape in zip(keys, itertools.pairwise(sizes), strict=False)]
    inputs = [jax.random.normal(keys[0], (rows, size)) for size in sizes]

    @jax.jit
    def run(weights: list[jax.Array], inputs: list[jax.Array]) -> list[jax.Array]:
        found = []
        for weight, x, delta in zip(weights, inputs, inputs[1:], strict=False):
            for time in range(3):
                scale = 1.0 + time
                found += [(scale * x) @ weight, (scale * delta) @ weight.T, (scale * x).T @ delta]
        return found

    return blocked(lambda: run(weights, inputs))


def copied(read: int, written: int) -> Callable[[], None]:
    """A copy that moves as many bytes as are read and written."""
    source = np.zeros((read + written) // 8, np.float32)
    target = np.zeros_like(source)
    return lambda: np.copyto(target, source)
