"""The compiled steps of the estimators: everything that happens to one pair is one call, and its figures one array."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array
from mole.learning.packing import Layout, layout_of, pack, unpack

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
    """A learner and its state, in a few vectors, so that a call costs little.

    A pytree of many classes and arrays takes longer to pass to a compiled function than a small network takes to run.

    Args:
        learner: a mixture; see `mole.online.OnlineLearner`.
        state: to go on from; its first if None.
    """

    def __init__(self, learner: Any, state: Any = None) -> None:
        """See the class."""
        self.learner = learner
        arrays, rest = eqx.partition(learner, eqx.is_array)
        state = learner.init() if state is None else state
        constants, kept = jax.tree.flatten(rest)
        fixed, self._layout = layout_of(arrays), layout_of(state)
        self._programs = _programs(fixed, self._layout, tuple(constants), kept)
        self._fixed, self._moving = _pack(fixed, arrays), _pack(self._layout, state)
        self.dx, self._dy = learner.prior.input_size, learner.prior.target_size

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made of learner and state: JAX restores structures of classes wrongly (0.10)."""
        return type(self), (self.learner, self.state)

    @property
    def state(self) -> Any:
        """The state after the last pair."""
        return _unpack(self._layout, self._moving)

    def learn(self, x: np.ndarray, y: np.ndarray) -> Learned:
        """Predict, then learn one pair."""
        return Learned.unpacked(self.figures(x, y), self._dy)

    def figures(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """`learn`, with what it did in one array."""
        self._moving, packed = self._programs.learn(self._fixed, self._moving, np.concatenate((x, y)))
        return np.asarray(packed)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Mean and scale of the prediction for one input ``[2, dy]``."""
        return np.asarray(self._programs.predict(self._fixed, self._moving, x))


_pack, _unpack = (jax.jit(function, static_argnums=0) for function in (pack, unpack))


class _Programs(NamedTuple):
    """The compiled functions of an engine: of the learner's vectors, the state's vectors, and numbers."""

    learn: Any
    predict: Any


@functools.cache
def _programs(fixed: Layout, moving: Layout, constants: tuple[Any, ...], kept: Any) -> _Programs:
    """One for all engines that differ in numbers alone; what is no array, e.g. an activation function, is constant."""

    def learner_of(vectors: list[Array]) -> Any:
        return eqx.combine(unpack(fixed, vectors), jax.tree.unflatten(kept, constants))

    @functools.partial(jax.jit, donate_argnums=1)
    def learn(learner: list[Array], state: list[Array], pair: Array) -> tuple[list[Array], Array]:
        whole = learner_of(learner)
        size = whole.prior.input_size
        after, figures = _learned(whole, unpack(moving, state), pair[:size], pair[size:])
        return pack(moving, after), figures

    @jax.jit
    def predict(learner: list[Array], state: list[Array], x: Array) -> Array:
        return jnp.stack(learner_of(learner).predict(unpack(moving, state), x))

    return _Programs(learn, predict)


def _learned(learner: Any, state: Any, x: Array, y: Array) -> tuple[Any, Array]:
    before = learner.predict(state, x)
    state, info = learner.update(state, x, y)
    chance = jnp.max(info.responsibilities)
    figures = (info.loss, chance, info.task, info.n_tasks, info.spawned, info.fault)
    row = jnp.stack([figure.astype(jnp.float32) for figure in figures])
    return state, jnp.concatenate([before.mean, before.scale, row])


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
        figures.append(engine.figures(x[place], y[place])[None])
    return engine.state, np.concatenate(figures)


@eqx.filter_jit
def model_gradient(model: Any, x: Array) -> Array:
    """Mean absolute derivative of a model's outputs by its inputs over ``x[n, dx]``: ``[dy, dx]``."""
    return jnp.mean(jnp.abs(jax.vmap(jax.jacfwd(model))(x)), axis=0)
