"""A network of our size that trains on a buffer of the last pairs: a few Adam steps on random ones after every pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.streams.protocol import Method, Problem, Standardiser, choice, log_uniform
from mole import MLP

_ADAM = optax.scale_by_adam()  # one object, so that all rates share what is compiled


class Replay:
    """2×32, ReLU; the newest pair is in every batch. Inputs and targets are standardised as they come."""

    def __init__(self, problem: Problem, settings: Mapping[str, Any], seed: int) -> None:
        self.key = jax.random.key(seed)
        self.net = MLP(problem.dx, problem.dy, width=32, key=self.key)
        self.rate = np.float32(settings["rate"])
        self.state = _ADAM.init(eqx.filter(self.net, eqx.is_inexact_array))
        self.steps, self.batch, self.classifies = settings["steps"], settings["batch"], problem.classifies
        size = settings["buffer"]
        self.rows, self.targets = np.zeros((size, problem.dx)), np.zeros((size, problem.dy))
        self.x, self.y, self.seen = Standardiser(problem.dx), Standardiser(problem.dy), 0

    def predict(self, x: np.ndarray) -> np.ndarray:
        raw = np.asarray(_forward(self.net, self.x.forward(x).astype(np.float32)))
        if not self.classifies:
            return self.y.back(raw)
        p = np.exp(raw - raw.max())
        return p / p.sum()

    def learn(self, x: np.ndarray, y: Any) -> None:
        target = np.eye(self.targets.shape[1])[y] if self.classifies else y
        place = self.seen % len(self.rows)
        self.rows[place], self.targets[place] = x, target
        self.seen += 1
        self.x.see(x)
        if not self.classifies:
            self.y.see(target)
        rows = self.x.forward(self.rows).astype(np.float32)
        targets = self.y.forward(self.targets).astype(np.float32)
        self.key = jax.random.fold_in(self.key, self.seen)
        # arrays, not Python integers, which would be compiled in
        count, newest = np.int32(min(self.seen, len(self.rows))), np.int32(place)
        pairs = (rows, targets, count, newest)
        self.net, self.state = _train(
            self.net, self.state, self.rate, pairs, self.key, self.steps, self.batch, self.classifies
        )


@eqx.filter_jit
def _forward(net: MLP, x: jax.Array) -> jax.Array:
    return net(jnp.asarray(x))


@eqx.filter_jit
def _train(
    net: MLP,
    state: Any,
    rate: Any,
    pairs: tuple[Any, Any, Any, Any],
    key: jax.Array,
    steps: int,
    batch: int,
    classifies: bool,
) -> tuple[MLP, Any]:
    arrays, static = eqx.partition(net, eqx.is_inexact_array)
    rows, targets, count, newest = (jnp.asarray(part) for part in pairs)
    rate = jnp.asarray(rate)

    def loss(arrays: Any, which: jax.Array) -> jax.Array:
        out = jax.vmap(eqx.combine(arrays, static))(rows[which])
        if classifies:
            return jnp.mean(optax.softmax_cross_entropy(out, targets[which]))
        return jnp.mean(jnp.square(out - targets[which]))

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        arrays, state = carry
        which = jax.random.randint(key, (batch,), 0, count).at[0].set(newest)
        updates, state = _ADAM.update(jax.grad(loss)(arrays, which), state)
        return (jax.tree.map(lambda a, u: a - rate * u, arrays, updates), state), None

    (arrays, state), _ = jax.lax.scan(step, (arrays, state), jax.random.split(key, steps))
    return eqx.combine(arrays, static), state


METHODS = [
    Method(
        "replay",
        Replay,
        {"buffer": 100, "steps": 10, "batch": 16, "rate": 0.01},
        lambda rng: {
            "buffer": choice(rng, 20, 50, 100, 200, 500),
            "steps": choice(rng, 3, 10, 20),
            "batch": choice(rng, 8, 16, 32),
            "rate": log_uniform(rng, 1e-3, 0.05),
        },
    )
]
