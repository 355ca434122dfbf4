"""What simple models would have said to the same rows, so that nobody is fooled by a low error on an easy stream.

The last value, the running mean and a linear model of the numbers of a row; of labels the last and the most frequent
one. They predict each row before they learn it, as the estimator does, and all are judged on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mole.rows.values import BOOLEAN, NUMBER, ReadRow

__all__ = ["SimpleModels"]

_MOST = 20  # columns of the linear model: those of the first row that are numbers
_FROM = 20  # targets before the first that counts: until then every model guesses
_EVERY = 16  # rows between two fits of the linear model, once it has seen 64
_RIDGE = 1e-6  # of the diagonal: columns that say the same must not make it singular
_LARGEST = 1e30  # its square is a double


class SimpleModels:
    """Predicts and learns targets one by one, and sums what the predictions cost.

    Args:
        classify: whether the targets are labels.

    Attributes:
        rows: predictions that were judged, of each model and of the estimator.
    """

    def __init__(self, *, classify: bool) -> None:
        """Nothing seen."""
        self._classify = classify
        self.rows = self._targets = 0
        self._costs: dict[str, float] = {}
        self._last: Any = None
        self._counts: dict[str, list[Any]] = {}  # text of a label → the label, and how often it came
        self._columns: list[str] | None = None
        self._first: list[
            float
        ] = []  # of the columns, then of the target: what is summed is the distance from it
        self._sums = np.zeros((0, 0))  # of the products of (1, columns, target)
        self._weights = np.zeros(0)

    def learn(self, x: ReadRow, y: Any, prediction: Any) -> None:
        """Judge what the models say to a row beside what the estimator said, then let them learn its target."""
        if self._classify:
            frequent = max(self._counts.values(), key=lambda pair: pair[1])[0] if self._counts else None
            told = {"": prediction, "last label": self._last, "most frequent label": frequent}
            self._judge({name: float(value == y) for name, value in told.items()})
            self._last = y
            self._counts.setdefault(f"{type(y).__name__} {y}", [y, 0])[1] += 1
            return
        z = self._numbers(x, float(y))
        count = self._sums[0, 0]
        if prediction is not None and count:
            told = {"": prediction - self._first[-1], "last value": self._last}
            told |= {"running mean": self._sums[0, -1] / count, "linear model": z[:-1] @ self._weights}
            self._judge({name: float((value - z[-1]) ** 2) for name, value in told.items()})
        self._last = float(z[-1])
        self._sums += np.outer(z, z)
        if count < 64 or (count + 1) % _EVERY == 0:
            inside, outside = self._sums[:-1, :-1], self._sums[:-1, -1]
            self._weights = np.linalg.solve(inside + np.diag(_RIDGE * np.diag(inside) + 1e-30), outside)

    def errors(self) -> dict[str, float]:
        """Model → root-mean-square error, or share of the labels that were right; the estimator is called ""."""
        found = {name: cost / self.rows for name, cost in self._costs.items()}
        return found if self._classify else {name: math.sqrt(cost) for name, cost in found.items()}

    def describe(self) -> str:
        """One line; empty before anything was judged."""
        found = self.errors()
        if not found:
            return ""
        own, of = found.pop(""), "right" if self._classify else "root-mean-square error"
        shown = {
            name: f"{100 * value:.1f} %" if self._classify else f"{value:.4g}"
            for name, value in found.items()
        }
        mine = f"{100 * own:.1f} %" if self._classify else f"{own:.4g}"
        return f"from target {_FROM} on, {of}: {mine}; " + ", ".join(
            f"{name} {value}" for name, value in shown.items()
        )

    @property
    def as_good(self) -> str:
        """The best simple model if it is at most 2 % worse than the estimator, or better; else empty."""
        found = self.errors()
        if not found:
            return ""
        own = found.pop("")
        if self._classify:
            name = max(found, key=lambda one: found[one])
            return name if found[name] >= 0.98 * own else ""
        name = min(found, key=lambda one: found[one])
        return name if found[name] <= 1.02 * own else ""

    def _judge(self, costs: dict[str, float]) -> None:
        self._targets += 1
        if self._targets >= _FROM:
            self.rows += 1
            for name, cost in costs.items():
                self._costs[name] = self._costs.get(name, 0.0) + cost

    def _numbers(self, x: ReadRow, y: float) -> np.ndarray:
        """One, the numbers of the row and the target, as distances from the first row's ``[2 + columns]``."""
        if self._columns is None:
            self._columns = [name for name, kind in x.kinds.items() if kind in (NUMBER, BOOLEAN)][:_MOST]
            self._first = [*(_finite(x[name], 0.0) for name in self._columns), y]
            self._sums = np.zeros((len(self._columns) + 2,) * 2)
            self._weights = np.zeros(len(self._columns) + 1)
        found = [1.0]
        for name, first in zip(self._columns, self._first, strict=False):
            number = x.kinds.get(name) in (NUMBER, BOOLEAN)
            found.append(_finite(x[name], first) - first if number else 0.0)
        return np.array([*found, y - self._first[-1]])

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        return {
            "rows": self.rows,
            "targets": self._targets,
            "costs": dict(self._costs),
            "last": self._last,
            "counts": self._counts,
            "columns": self._columns,
            "first": self._first,
            "sums": self._sums.tolist(),
            "weights": self._weights.tolist(),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where `to_json` was taken."""
        self.rows, self._targets = int(data["rows"]), int(data["targets"])
        self._costs = {str(name): float(cost) for name, cost in data["costs"].items()}
        self._last, self._columns = data["last"], data["columns"]
        self._counts = {str(name): [label, int(count)] for name, (label, count) in data["counts"].items()}
        self._first = [float(value) for value in data["first"]]
        size = len(self._first) + 1 if self._first else 0
        self._sums = np.asarray(data["sums"], float).reshape(size, size)
        self._weights = np.asarray(data["weights"], float)


def _finite(value: Any, instead: float) -> float:
    value = float(value)
    return min(max(value, -_LARGEST), _LARGEST) if math.isfinite(value) else instead
