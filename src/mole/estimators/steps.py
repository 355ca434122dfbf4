"""The compiled steps of the estimators: everything that happens to one pair is one call, and its figures one array."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array

__all__ = ["Engine", "Learned", "model_gradient", "replay"]

_CHUNK = 128


class Learned(NamedTuple):
    """What one pair did; see `mole.online.Info`.

    Attributes:
        mean, scale: of the prediction made before, one number per output, in the target's unit.
        loss: its standardised squared error.
        probability: of the task that the pair was attributed to.
        task: its number.
        n_tasks: tasks known.
        spawned: whether one was discovered.
        fault: what was wrong with the pair, bits of `mole.online.Fault`.
    """

    mean: list[float]
    scale: list[float]
    loss: float
    probability: float
    task: int
    n_tasks: int
    spawned: bool
    fault: int

    @classmethod
    def unpacked(cls, packed: np.ndarray, dy: int) -> Learned:
        """From the array that a compiled step returns."""
        values = packed.tolist()
        loss, probability, task, n_tasks, spawned, fault = values[2 * dy :]
        return cls(
            values[:dy],
            values[dy : 2 * dy],
            loss,
            probability,
            int(task),
            int(n_tasks),
            spawned > 0,
            int(fault),
        )


class Engine:
    """A learner and its state, taken apart so that a call costs little.

    A pytree of many classes takes longer to pass to a compiled function than a small network takes to run; tuples of
    arrays do not.

    Args:
        learner: a mixture; see `mole.online.OnlineLearner`.
        state: to go on from; its first if None.
    """

    def __init__(self, learner: Any, state: Any = None) -> None:
        """See the class."""
        self.learner = learner
        arrays, rest = eqx.partition(learner, eqx.is_array)
        self._fixed, fixed = jax.tree.flatten(arrays)
        constants, kept = jax.tree.flatten(rest)
        self._leaves, moving = jax.tree.flatten(learner.init() if state is None else state)
        self._structure = _structure(fixed, moving, tuple(constants), kept)
        self.dx, self._dy = learner.prior.input_size, learner.prior.target_size

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made of learner and state: JAX restores structures of classes wrongly (0.10)."""
        return type(self), (self.learner, self.state)

    @property
    def state(self) -> Any:
        """The state after the last pair."""
        return jax.tree.unflatten(self._structure.state, self._leaves)

    def learn(self, x: np.ndarray, y: np.ndarray) -> Learned:
        """Predict, then learn one pair."""
        self._leaves, packed = _learn(self._structure, self._fixed, self._leaves, x, y)
        return Learned.unpacked(np.asarray(packed), self._dy)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Mean and scale of the prediction for one input ``[2, dy]``."""
        return np.asarray(_predict(self._structure, self._fixed, self._leaves, x))


class _Structure(NamedTuple):
    learner: Any
    state: Any
    constants: tuple[Any, ...]
    kept: Any

    def whole(self, fixed: Any, leaves: Any) -> tuple[Any, Any]:
        """Learner and state from their arrays; what is no array, such as an activation function, is constant."""
        constants = jax.tree.unflatten(self.kept, self.constants)
        learner = eqx.combine(jax.tree.unflatten(self.learner, fixed), constants)
        return learner, jax.tree.unflatten(self.state, leaves)


@functools.cache
def _structure(learner: Any, state: Any, constants: tuple[Any, ...], kept: Any) -> _Structure:
    """One object for equal structures: telling them apart at every call would cost more than the call."""
    return _Structure(learner, state, constants, kept)


def _learned(learner: Any, state: Any, x: Array, y: Array) -> tuple[Any, Array]:
    before = learner.predict(state, x)
    state, info = learner.update(state, x, y)
    chance = jnp.max(info.responsibilities)
    figures = (info.loss, chance, info.task, info.n_tasks, info.spawned, info.fault)
    row = jnp.stack([figure.astype(jnp.float32) for figure in figures])
    return state, jnp.concatenate([before.mean, before.scale, row])


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _learn(structure: _Structure, fixed: Any, leaves: Any, x: Any, y: Any) -> tuple[Any, Array]:
    learner, state = structure.whole(fixed, leaves)
    state, figures = _learned(learner, state, x, y)
    return jax.tree.leaves(state), figures


@functools.partial(jax.jit, static_argnums=0)
def _predict(structure: _Structure, fixed: Any, leaves: Any, x: Any) -> Array:
    learner, state = structure.whole(fixed, leaves)
    return jnp.stack(learner.predict(state, x))


@eqx.filter_jit
def _chunk(learner: Any, state: Any, x: Any, y: Any) -> tuple[Any, Array]:
    return jax.lax.scan(lambda s, pair: _learned(learner, s, *pair), state, (jnp.asarray(x), jnp.asarray(y)))


def replay(learner: Any, state: Any, x: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray]:
    """Predict and learn pairs in order, in compiled chunks of one size, so that no length compiles anew.

    Args:
        learner: the learner.
        state: to go on from.
        x: inputs ``[n, dx]``.
        y: targets ``[n, dy]``.

    Returns:
        The state after them, and their figures ``[n, ...]`` (see `Learned.unpacked`).
    """
    figures, whole = [], len(x) - len(x) % _CHUNK
    for begin in range(0, whole, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        state, out = _chunk(learner, state, x[part], y[part])
        figures.append(np.asarray(out))
    engine = Engine(learner, state)
    for place in range(whole, len(x)):
        engine._leaves, out = _learn(engine._structure, engine._fixed, engine._leaves, x[place], y[place])
        figures.append(np.asarray(out)[None])
    return engine.state, np.concatenate(figures)


@eqx.filter_jit
def model_gradient(model: Any, x: Array) -> Array:
    """Mean absolute derivative of a model's outputs by its inputs over ``x[n, dx]``: ``[dy, dx]``."""
    return jnp.mean(jnp.abs(jax.vmap(jax.jacfwd(model))(x)), axis=0)
