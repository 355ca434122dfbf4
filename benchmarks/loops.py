"""The mixture as one would write it first: a Python loop over tasks, each a jitted single-task function.

The arithmetic is that of one step of `mole.Mixture` with all slots in use and no new task; `same` checks that. The
bookkeeping of new tasks is left out, which favours the loop.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole import MetaPrior, Mixture, adapt
from mole.learning.inner import window_loss
from mole.online.stack import pick


@eqx.filter_jit
def _losses(prior: MetaPrior, model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    return window_loss(model, prior.likelihood, x, y)


@eqx.filter_jit
def _log_prob(prior: MetaPrior, model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    outputs = jax.vmap(model)(x)
    return jax.vmap(lambda o, t: prior.likelihood.log_prob(o, t, prior.residual_scale))(outputs, y)


@eqx.filter_jit
def _adapted(prior: MetaPrior, model: Any, x: jax.Array, y: jax.Array, scale: jax.Array) -> Any:
    return adapt(model, prior.inner_rate, prior.likelihood, x, y, scale=scale)


@jax.jit
def _pushed(values: jax.Array, newest: jax.Array) -> jax.Array:
    return jnp.concatenate([values[1:], newest[None]])


class TaskLoop:
    """One learner's state taken apart into a list of models."""

    def __init__(self, learner: Mixture, state: Any) -> None:
        prior = learner.prior
        self.learner, self.prior = learner, prior
        self.models = [pick(prior, state.models, jnp.int32(i)) for i in range(learner.max_tasks)]
        self.x, self.y = state.recent.x, state.recent.y
        self.task = int(jnp.argmax(state.responsibilities))
        self.counts, self.counted = np.asarray(state.counts), float(state.counted)
        memory = state.memory
        self.own = None if memory is None else [list(pair) for pair in zip(memory.x, memory.y, strict=True)]

    def update(self, x: jax.Array, y: jax.Array) -> list[Any]:
        self.x, self.y = _pushed(self.x, x), _pushed(self.y, y)
        return self._paper() if self.own is None else self._pointwise(x, y)

    def _paper(self) -> list[Any]:
        prior, k, tau = self.prior, self.learner.window, float(self.learner.temperature)
        if self.counted >= (self.learner.refresh or np.inf):
            self.counts, self.counted = np.zeros_like(self.counts), 0.0
        new_x, new_y = self.x[-k:], self.y[-k:]
        losses = np.array([float(_losses(prior, model, new_x, new_y)) for model in self.models])
        candidate = _adapted(prior, prior.model, self.x[:k], self.y[:k], jnp.float32(1.0))
        float(_losses(prior, candidate, new_x, new_y))  # judged, and refused: every slot is in use
        log_joint = -losses / tau + (np.log(self.counts) if self.counted else 0.0)
        weights = np.exp(log_joint - log_joint.max())
        weights /= weights.sum()
        self.counts, self.counted = self.counts + weights, self.counted + 1
        scales = float(self.learner.step_scale) * weights
        self.models = [
            _adapted(prior, model, new_x, new_y, jnp.float32(scale))
            for model, scale in zip(self.models, scales, strict=True)
        ]
        return self.models

    def _pointwise(self, x: jax.Array, y: jax.Array) -> list[Any]:
        prior, window = self.prior, self.learner.candidate_window or 0
        points = [values[-window:] for values in (self.x, self.y)]
        scores = np.stack([np.asarray(_log_prob(prior, model, *points)) for model in self.models])
        fit = slice(0, window, 2)
        candidate = _adapted(prior, prior.model, points[0][fit], points[1][fit], jnp.float32(1.0))
        np.asarray(_log_prob(prior, candidate, *points))  # judged on the other half, and refused
        stay = float(self.learner.stay)
        log_prior = np.full(len(self.models), np.log1p(-stay) - np.log(len(self.models)))
        log_prior[self.task] = np.log(stay)
        self.task = task = int(np.argmax(scores[:, -1] + log_prior))
        own = self.own[task] = [
            _pushed(values, new) for values, new in zip(self.own[task], (x, y), strict=True)
        ]
        scale = jnp.float32(self.learner.step_scale)
        self.models[task] = _adapted(prior, self.models[task], *own, scale)
        return self.models


def same(learner: Mixture, state: Any, x: jax.Array, y: jax.Array) -> None:
    """Raise unless one step of the loop gives the models that `Mixture.update` gives."""
    after, info = eqx.filter_jit(learner.update)(state, x, y)
    if bool(info.spawned):
        raise AssertionError("the mixture made a new task; expected none in a benchmark of its usual step.")
    for slot, model in enumerate(TaskLoop(learner, state).update(x, y)):
        expected = pick(learner.prior, after.models, jnp.int32(slot))
        for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(expected), strict=True):
            if not np.allclose(a, b, rtol=1e-3, atol=1e-5):
                raise AssertionError(
                    f"the loop and the mixture differ in task {slot}; expected the same model."
                )
