"""The compiled steps of the estimators, and the record of one: a row's forecast and learning are one call.

All results of a pair come back in one array: to fetch an array takes as long as a small network takes to run.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array
from mole.learning.compiled import Layout, Structure, layout_of, pack, take_apart, unpack
from mole.online.guard import Fault

__all__ = ["Engine", "Learned", "Step", "Taps", "shares_of"]

_FIGURES = 6  # what `_figures` gives


class Step(NamedTuple):
    """What `step_one` of an estimator predicted for one row, and what learning the row did.

    Attributes:
        prediction: made before the row was learned, as `predict_one` gives it.
        low, high: ends of the interval (regression), made before the row was learned, at the estimator's level, as
            `predict_interval_one` gives them; None for a classification.
        probabilities: label → probability (classification), made before the row was learned; None for a regression.
        loss: how surprising the target was: the standardised squared error of the prediction. NaN while nothing was
            known, for a row that was refused, and without a target.
        task: number of the task that predicts from now on.
        probability: of that task.
        n_tasks: tasks known.
        spawned: whether a task was discovered at this row.
        fault: what was wrong with the row; ``Fault(0)`` if nothing.
        shares: task → its probability after the row, that of candidates together under -1 (or under the number that
            the next task will get, while a candidate leads). Empty if they are not finite.
    """

    prediction: Any
    low: Any
    high: Any
    probabilities: dict[Any, float] | None
    loss: float
    task: int
    probability: float
    n_tasks: int
    spawned: bool
    fault: Fault
    shares: dict[int, float]


def shares_of(responsibilities: list[float], tasks: list[Any], lead: int) -> dict[int, float]:
    """Task → its probability, as `Step.shares`.

    Args:
        responsibilities: of every slot.
        tasks: number of the task in every slot, −1 where there is none.
        lead: number of the task that predicts.
    """
    free: list[float] = []
    found: dict[Any, float] = {}
    for share, task in zip(responsibilities, tasks, strict=True):
        if share - share != 0.0:  # NaN or infinity, of which no sum and no picture can be made
            return {}
        if task < 0:
            free.append(share)
        else:
            found[task] = found.get(task, 0.0) + share
    ordered = {-1: float(np.add.reduce(free))} if free else {}
    for task in sorted(found):
        ordered[int(task)] = found[task]
    if lead not in ordered:
        # As long as a new task is only suspected, its number stands for all suspicions together.
        ordered[lead] = ordered.pop(-1, 0.0)
    return ordered


class Learned(NamedTuple):
    """What the learner did with one pair; see `mole.online.Info`.

    Attributes:
        mean, scale: of the prediction made before, one number per output, in the target's unit.
        loss: its standardised squared error.
        probability: of the task that the pair was attributed to.
        task: its number.
        n_tasks: tasks known.
        spawned: whether one was discovered.
        fault: what was wrong with the pair, bits of `mole.online.Fault`.
        responsibilities: of every slot after the pair.
        tasks: number of the task in every slot, −1 where there is none, as floats.
    """

    mean: list[float]
    scale: list[float]
    loss: float
    probability: float
    task: int
    n_tasks: int
    spawned: bool
    fault: int
    responsibilities: list[float]
    tasks: list[float]


class Engine:
    """A learner and its state, in a few vectors, so that a call costs little.

    A pytree of many classes and arrays takes longer to pass to a compiled function than a small network takes to run.

    Args:
        learner: an `mole.online.OnlineLearner`.
        state: to go on from; its first if None.
    """

    def __init__(self, learner: Any, state: Any = None) -> None:
        """See the class."""
        self.learner = learner
        state = learner.init() if state is None else state
        structure, arrays = take_apart(learner)
        fixed, self._layout = layout_of(arrays), layout_of(state)
        self._kind = (structure, fixed, self._layout)
        self._programs = _programs(*self._kind)
        # Apart, since a step writes the new state in place of the old one, and leaves the learner as it is.
        self._fixed, self._moving = _pack(fixed, arrays), _pack(self._layout, state)
        self.dx, self.dy = learner.prior.input_size, learner.prior.target_size

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made of learner and state: JAX restores structures of classes wrongly (0.10)."""
        return type(self), (self.learner, self.state)

    def ask(self, question: Any, *given: Any) -> Any:
        """What ``question(structure, fixed, moving)``, compiled like `_programs`, finds in learner and state."""
        return question(*self._kind)(self._fixed, self._moving, *given)

    @property
    def state(self) -> Any:
        """The state after the last pair."""
        return _unpack(self._layout, self._moving)

    def step(self, pair: np.ndarray, weight: float = 1.0) -> Learned:
        """Predict, then learn one pair, ``[dx + dy]`` float32: the input, then the target; as often as ``weight``."""
        # A weight makes a program of its own, which is compiled when the first one arrives.
        weights = () if weight == 1.0 else (np.float32(weight),)
        self._moving, packed = self._programs.step(self._fixed, self._moving, pair, *weights)
        values, dy = np.asarray(packed).tolist(), self.dy
        first = 2 * dy + _FIGURES
        loss, probability, task, n_tasks, spawned, fault = values[2 * dy : first]
        slots = first + (len(values) - first) // 2  # as many responsibilities as numbers of tasks
        return Learned(
            values[:dy], values[dy : 2 * dy], loss, probability, int(task), int(n_tasks), spawned > 0, int(fault),
            values[first:slots], values[slots:],
        )  # fmt: skip

    def predict(self, x: np.ndarray) -> list[list[float]]:
        """Mean and scale of the prediction for one input ``[dx]``, each ``[dy]``: to the bit those of `step`."""
        values = np.asarray(self._programs.predict(self._fixed, self._moving, x)).tolist()
        return [values[: self.dy], values[self.dy :]]

    def rollout(self, rows: np.ndarray, window: np.ndarray, taps: Taps, target: np.ndarray) -> np.ndarray:
        """Predict one row after another, each from the predictions before it, in one compiled call.

        Args:
            rows: inputs ``[h, dx]``, without what comes from the past.
            window: past values, the last one first ``[k]``.
            taps: how they become inputs.
            target: how a prediction becomes a value ``[3]``: share of the last value that is added, offset, and factor.

        Returns:
            Values ``[h]``.
        """
        return np.asarray(
            self._programs.rollout(self._fixed, self._moving, rows, window, taps, target), float
        )


class Taps(NamedTuple):
    """How past values become inputs: input i is a function of ``weights[i] @ window``, added to what the row has there.

    Attributes:
        weights: ``[dx, k]``.
        offset, factor, log: as of `mole.rows.columns.ColumnInputs`, each ``[dx]``; log is 0 or 1.
    """

    weights: Any
    offset: Any
    factor: Any
    log: Any


_pack, _unpack = (jax.jit(function, static_argnums=0) for function in (pack, unpack))


class _Programs(NamedTuple):
    """The compiled functions of an engine: of the learner's vectors, the state's vectors, and numbers."""

    step: Any
    predict: Any
    rollout: Any


@functools.cache
def _programs(structure: Structure, fixed: Layout, moving: Layout) -> _Programs:
    """The same programs for all engines that differ in numbers alone, or each estimator would compile its own."""

    def forecast(learner: list[Array], state: list[Array], x: Array) -> Array:
        # XLA rounds a product and a sum once where it fuses them and twice where it does not, and what it fuses depends
        # on the rest of the program. The barriers keep the rest apart: without them `predict` and `step` differ in the
        # last bit for every fourth row.
        learner, state, x = jax.lax.optimization_barrier((learner, state, x))
        expected = structure.join(unpack(fixed, learner)).predict(unpack(moving, state), x)
        return jax.lax.optimization_barrier(jnp.concatenate(expected))

    @functools.partial(jax.jit, donate_argnums=1)
    def step(
        learner: list[Array], state: list[Array], pair: Array, weight: Array | None = None
    ) -> tuple[list[Array], Array]:
        whole, before = structure.join(unpack(fixed, learner)), unpack(moving, state)
        x, y = pair[: whole.prior.input_size], pair[whole.prior.input_size :]
        expected = forecast(learner, state, x)
        after, info = whole.update(before, x, y, weight)
        slots = (whole.responsibilities(after), whole.task_numbers(after).astype(jnp.float32))
        return pack(moving, after), jnp.concatenate([expected, _figures(info), *slots])

    @jax.jit
    def rollout(
        learner: list[Array], state: list[Array], rows: Array, window: Array, taps: Taps, target: Array
    ) -> Array:
        def one(window: Array, row: Array) -> tuple[Array, Array]:
            past = taps.weights @ window
            # The same two forms as of a column of numbers, since the inputs of the past are columns like others.
            sized = jnp.sign(past) * jnp.log1p(jnp.abs(past) * taps.factor)
            past = jnp.where(taps.log > 0, sized, (past - taps.offset) * taps.factor)
            keep, offset, factor = target
            value = keep * window[0] + offset + factor * forecast(learner, state, row + past)[0]
            return jnp.concatenate([value[None], window[:-1]]), value

        return jax.lax.scan(one, window, rows)[1]

    return _Programs(step, jax.jit(forecast), rollout)


def _figures(info: Any) -> Array:
    """Loss, probability, task, number of tasks, whether one was discovered, and fault ``[6]``."""
    # Whole numbers become float32, to fit into the one array: exact up to 2**24, 16.8 million tasks.
    chance = jnp.max(info.responsibilities)
    figures = (info.loss, chance, info.task, info.n_tasks, info.spawned, info.fault)
    return jnp.stack([figure.astype(jnp.float32) for figure in figures])
