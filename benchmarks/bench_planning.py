"""Time one plan on one core: ``taskset -c 0 python benchmarks/bench_planning.py``."""

from __future__ import annotations

import time

import equinox as eqx
import jax
import jax.numpy as jnp

from mole.planning import CEM, MPPI, Planner, RandomShooting


class Dynamics(eqx.Module):
    """Half-cheetah-sized: 18 observations and 6 actions make 24 features; depth x width ReLU."""

    layers: list[eqx.nn.Linear]

    def __init__(self, width: int, depth: int, key: jax.Array):
        sizes = [24, *[width] * depth, 18]
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = [
            eqx.nn.Linear(a, b, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        ]

    def __call__(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        h = jnp.concatenate([jnp.sin(obs[2:3]), jnp.cos(obs[2:3]), obs[1:2], obs[3:], action])
        for layer in self.layers[:-1]:
            h = jax.nn.relu(layer(h))
        return obs + 0.1 * self.layers[-1](h)


def reward(obs: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    return (following[0] - obs[0]) / 0.05 - 0.05 * jnp.sum(jnp.square(action))


def measure(name: str, planner: Planner, width: int, depth: int, repeats: int = 100) -> None:
    model = Dynamics(width, depth, jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_array)
    obs = jnp.zeros(18)

    @jax.jit
    def step(state, params, obs, key):  # keys are split inside, as an agent does
        key, use = jax.random.split(key)
        state, action = planner.plan(state, eqx.combine(params, static), reward, obs, use)
        return state, action, key

    state, key = planner.init(), jax.random.key(1)
    started = time.perf_counter()
    state, _, key = jax.block_until_ready(step(state, params, obs, key))
    compiled = time.perf_counter() - started
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        state, _, key = jax.block_until_ready(step(state, params, obs, key))
        times.append(time.perf_counter() - started)
    times.sort()
    print(
        f"{name:32s} {depth}x{width}: {1e3 * times[len(times) // 2]:7.3f} ms median, "
        f"{1e3 * times[0]:7.3f} ms best, first call {compiled:.2f} s"
    )


if __name__ == "__main__":
    low, high = -jnp.ones(6), jnp.ones(6)
    measure("CEM 3x100, horizon 10", CEM(low, high), 256, 2)
    measure("MPPI 3x100, horizon 10", MPPI(low, high), 256, 2)
    measure("shooting 1000, horizon 10", RandomShooting(low, high), 256, 2)
    measure("CEM 3x100, horizon 10", CEM(low, high), 512, 3)
