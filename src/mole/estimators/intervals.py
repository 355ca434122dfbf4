"""Prediction intervals that cover the promised share: their width is corrected by how often they missed.

Adaptive conformal inference (I. Gibbs, E. Candès, NeurIPS 2021) on standardised residuals: a quantile grows after a
miss and shrinks after a hit, so that in the long run the promised share is covered, whatever the data. There are two
quantiles, one for the steps after a change of task and one for all others, since errors are of another kind there.

And what the model of one task depends on (`task_importance`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array

__all__ = ["IntervalTracker", "ManyIntervals", "task_importance"]

_YOUNG = 20  # steps after a change of task that have a quantile of their own
_RATES = (0.05, 0.02)
"""Steps of the two quantiles. The first is larger, since there are few steps after a change to learn from."""
_RANGE = (0.05, 50.0)  # of a quantile, so that it comes back in time after a long run of hits or misses


class ManyIntervals:
    """As many `IntervalTracker` as there are keys, as rows of one table: the same numbers, to the bit.

    Args:
        level: share that the intervals are to cover, in (0, 1).
        dy: outputs.

    Attributes:
        dtype: of a row.
        first_row: before the first prediction.
    """

    def __init__(self, level: float, dy: int) -> None:
        """See the class."""
        first = IntervalTracker(level, dy)
        self._factors = np.asarray(first._factors)
        self.dtype = np.dtype(
            [("quantiles", "<f8", (2, dy)), ("missed", "?", (dy,)), ("age", "<i8"), ("task", "<i8")]
        )

        self.first_row = np.zeros((), self.dtype)
        self.first_row["quantiles"], self.first_row["age"] = first.quantiles, first.age

    def half_width(self, rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Half of the widths ``[m, dy]`` at predictive scales ``[m, dy]``, for rows ``[m]``."""
        return scale * rows["quantiles"][np.arange(len(rows)), (rows["age"] >= _YOUNG).astype(int)]

    def update(
        self, rows: np.ndarray, target: np.ndarray, mean: np.ndarray, scale: np.ndarray, task: np.ndarray
    ) -> np.ndarray:
        """The rows ``[m]`` after one prediction each; as `IntervalTracker.update`, with ``[m, dy]`` and ``[m]``."""
        rows, at, settled = rows.copy(), np.arange(len(rows)), (rows["age"] >= _YOUNG).astype(int)
        missed = np.abs(target - mean) > rows["quantiles"][at, settled] * scale
        changed = task != rows["task"]
        back = np.flatnonzero(changed & (settled == 1))
        for place, undo in ((1, True), (0, False)):
            self._move(rows, back, place, rows["missed"][back], undo)
        settled[changed], rows["age"][changed], rows["task"] = 0, 0, task
        self._move(rows, at, settled, missed)
        rows["age"] += 1
        rows["missed"] = missed
        return rows

    def _move(
        self, rows: np.ndarray, at: np.ndarray, place: Any, missed: np.ndarray, undo: bool = False
    ) -> None:
        factor = self._factors[np.broadcast_to(place, at.shape)[:, None], missed.astype(int)]
        quantiles = rows["quantiles"][at, place]
        moved = quantiles / factor if undo else quantiles * factor
        rows["quantiles"][at, place] = np.clip(moved, *_RANGE)


class IntervalTracker:
    """Quantiles of |residual| / scale per output. Plain numbers: for so few, a call of NumPy costs more than the sum.

    Args:
        level: share that the intervals are to cover, in (0, 1).
        dy: outputs.
    """

    def __init__(self, level: float, dy: int) -> None:
        """Start with the quantile of a normal distribution; after a change, with that for half as many misses."""
        self.level = level
        young, normal = (_quantile(1.0 - share * (1.0 - level)) for share in (0.25, 0.5))
        self.quantiles = [[young] * dy, [normal] * dy]
        self.age = _YOUNG
        self.task = 0
        self._missed: list[bool | None] = [False] * dy
        # In logarithms a miss adds rate x level and a hit takes off rate x (1 - level): they balance where a share of
        # 1 - level misses.
        self._factors = [(math.exp(rate * (level - 1.0)), math.exp(rate * level)) for rate in _RATES]

    @property
    def settled(self) -> int:
        """1 if the task has lasted for some steps, 0 just after a change."""
        return int(self.age >= _YOUNG)

    def half_width(self, scale: Iterable[float], level: float | None = None) -> list[float]:
        """Half of the interval's width at a predictive scale ``[dy]``, for another level by the normal's ratio."""
        ratio = 1.0
        if level is not None and level != self.level:
            ratio = _quantile(0.5 + 0.5 * level) / _quantile(0.5 + 0.5 * self.level)
        return [s * q * ratio for s, q in zip(scale, self.quantiles[self.settled], strict=True)]

    def update(self, target: list[float], mean: list[float], scale: list[float], task: int) -> None:
        """Take in one prediction.

        Args:
            target: what came, one number per output; NaN where one is missing, which moves no quantile.
            mean: what was expected.
            scale: predictive standard deviations.
            task: that the pair was attributed to.
        """
        place = self.settled
        missed = [
            None if y != y else abs(y - m) > q * s
            for y, m, s, q in zip(target, mean, scale, self.quantiles[place], strict=True)
        ]
        if task != self.task:
            if place == 1:
                # The pair before may have been the first of the new task, which is noticed a step later. Its miss
                # counts for the steps after the change, and no longer for the others.
                self._move(1, self._missed, undo=True)
                self._move(0, self._missed)
            place, self.age, self.task = 0, 0, task
        self._move(place, missed)
        self.age += 1
        self._missed = missed

    def _move(self, place: int, missed: list[bool | None], undo: bool = False) -> None:
        quantiles = self.quantiles[place]
        for output, miss in enumerate(missed):
            if miss is None:
                continue
            factor = self._factors[place][miss]
            moved = quantiles[output] / factor if undo else quantiles[output] * factor
            quantiles[output] = min(max(moved, _RANGE[0]), _RANGE[1])

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        return {
            "level": self.level,
            "quantiles": self.quantiles,
            "age": self.age,
            "task": self.task,
            "missed": self._missed,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> IntervalTracker:
        """The inverse of `to_json`."""
        made = cls(float(data["level"]), len(data["missed"]))
        made.quantiles = [[float(q) for q in row] for row in data["quantiles"]]
        made.age, made.task = int(data["age"]), int(data["task"])
        made._missed = [None if miss is None else bool(miss) for miss in data["missed"]]
        return made


def _quantile(share: float) -> float:
    """Of the standard normal distribution. `scipy.stats` would take longer to import than all of JAX."""
    return NormalDist().inv_cdf(share) if share < 1.0 else math.inf


def task_importance(learner: Any, state: Any, slot: int | None, recent: np.ndarray) -> np.ndarray:
    """Mean |dy / dx| of a task's model over recent inputs, in standard deviations of target and input.

    Args:
        learner: the mixture.
        state: its state.
        slot: where the task is; the model that predicts now if None.
        recent: inputs ``[n, dx]``.

    Returns:
        Importances ``[dy, dx]``.
    """
    model = learner.model(state) if slot is None else learner.model_in(state, slot)
    return np.asarray(_gradient(model, jax.vmap(learner.prior.x_norm)(jnp.asarray(recent))))


@eqx.filter_jit
def _gradient(model: Any, x: Array) -> Array:
    """Mean absolute derivative of a model's outputs by its inputs over ``x[n, dx]``: ``[dy, dx]``."""
    return jnp.mean(jnp.abs(jax.vmap(jax.jacfwd(model))(x)), axis=0)
