"""What the benchmarks work on: priors, windows and states of the half-cheetah's sizes, with random numbers in them."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole import MLP, MetaPrior, Mixture, Normalizer, OnlineLearner, Rank1Rate, Window
from mole.envs.cheetah.motors import DYNAMICS

SIZES = {"2x256": (256, 2), "3x512": (512, 3)}
DX, DY, K = DYNAMICS.feature_dim, DYNAMICS.delta_dim, 16
LOW, HIGH = -np.ones(DYNAMICS.act_dim, np.float32), np.ones(DYNAMICS.act_dim, np.float32)


def make_prior(size: str | tuple[int, int]) -> MetaPrior:
    """An untrained prior of a named size or of (width, depth): the time of a step does not depend on the numbers."""
    width, depth = SIZES[size] if isinstance(size, str) else size
    model = MLP(DX, DY, width=width, depth=depth, key=jax.random.key(0))
    norms = {"x_norm": Normalizer.identity(DX), "y_norm": Normalizer.identity(DY)}
    return MetaPrior(model, inner_rate=Rank1Rate(model, 0.03), window=K, residual_scale=0.1, **norms)


def make_pairs(prior: MetaPrior, n: int) -> Window:
    """Pairs that θ* explains well, so that no task is made while the clock runs."""
    key_x, key_y = jax.random.split(jax.random.key(2))
    x = jax.random.normal(key_x, (n, DX))
    y = jax.vmap(prior.model)(x)
    return Window(x, y + 0.05 * jax.random.normal(key_y, y.shape))


@eqx.filter_jit(donate="all-except-first")
def update(rest: tuple[OnlineLearner, Any, Any], state: Any) -> Any:
    """`OnlineLearner.update` with the state donated, as in control; one program for all that is timed."""
    learner, x, y = rest
    return learner.update(state, x, y)


def full_mixture(learner: Mixture, pairs: Window) -> Any:
    """A state with every slot in use, all windows full and every task a little different from θ*."""
    state = learner.init()
    for x, y in zip(np.asarray(pairs.x), np.asarray(pairs.y), strict=True):
        state, _ = update((learner, x, y), state)
    keys = iter(jax.random.split(jax.random.key(3), 64))

    def perturbed(stack: jax.Array) -> jax.Array:
        return stack + 0.001 * jax.random.normal(next(keys), stack.shape)

    slots = learner.max_tasks
    state = eqx.tree_at(
        lambda s: (s.models, s.n_tasks, s.counts),
        state,
        (jax.tree.map(perturbed, state.models), jnp.int32(slots), jnp.full((slots,), 1.0)),
    )
    if state.memory is not None:
        length = state.memory.x.shape[1]
        own = [jnp.broadcast_to(f[-length:], (slots, length, *f.shape[1:])) for f in state.recent]
        state = eqx.tree_at(lambda s: s.memory, state, type(state.memory)(*own))
    return state
