"""A regressor on a series' own past: which inputs it has, in which unit it learns, and its forecasts further ahead.

Everything that goes through float32 is relative to a centre and in units of a scale that are kept in float64, so that
an offset costs no digits.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mole.estimators.lags import Inputs, Tap, choose_inputs, find_periods, robust_scale, tap_matrix
from mole.estimators.regressor import OnlineRegressor
from mole.estimators.step import Step, Taps
from mole.online.guard import Fault
from mole.rows.encoding import RowEncoder

__all__ = ["OWN", "PastModel"]

OWN = "own "
"""Begins the names of the inputs that come from the past, so that they are told from the columns beside the series."""
_FIRST = 4  # values from which the first inputs are chosen
# In usual sizes of a target, beyond which it is drawn in: one outage must not bend what holds on all other days.
_WILD = 8.0
_NOTHING = Step(0.0, 0.0, 0.0, None, math.nan, 0, 1.0, 1, False, Fault(0), {0: 1.0})


class PastModel:
    """The values so far, and an `OnlineRegressor` that predicts the next one from them and from other columns.

    Args:
        model: which has learned nothing yet.
        lags: "auto", a number of lags, or lags.
        season: "auto", or rows of a season, 0 for none.

    Attributes:
        row: rows so far, with and without a value.
        inputs: those in use; None before the first choice.
    """

    def __init__(self, model: OnlineRegressor, lags: Any, season: Any) -> None:
        """No row yet."""
        self.model, self._lags, self._season = model, lags, season
        self.memory: int = model._settings["memory"]
        self.row = 0
        self.inputs: Inputs | None = None
        self._buffer, self._length = np.zeros(64), 0  # the newest rows
        self._known: collections.deque[int] = collections.deque(
            maxlen=self.memory
        )  # rows that the model learned
        # Rows with a value before the first inputs were chosen, and their columns.
        self._early: collections.deque[tuple[int, dict[str, Any]]] = collections.deque(maxlen=self.memory)
        self._centre, self._scale, self._usual = 0.0, 1.0, 1.0
        self._ready: tuple[Any, Taps, np.ndarray] | None = None  # a schema, and what `path` needs of it

    @property
    def values(self) -> np.ndarray:
        """The newest values ``[n]``, the last one last; where one was missing, what was expected."""
        return self._buffer[: self._length]

    @property
    def season(self) -> int:
        """Rows of a season; 0 without one."""
        if self.inputs is not None:
            return self.inputs.season
        return self._season if isinstance(self._season, int) else 0

    def learn(self, value: float | None, x: dict[str, Any]) -> tuple[Step, float]:
        """Predict the next value, and learn it if it is known.

        Returns:
            What the regressor made of it, in its own unit, and its prediction in the unit of the series.
        """
        past = self.values
        if self.inputs is None:
            if value is not None:
                self._early.append((self.row, x))
            return _NOTHING, float(past[-1]) if len(past) else 0.0
        base, target = self._base(past), None
        row = {**self._own_row(past), **x}
        if value is not None:
            target = self._tame((value - base) / self._scale)
            self._known.append(self.row)
        step = self.model.step_one(row, target)
        return step, base + self._scale * step.prediction

    def append(self, value: float) -> None:
        """Go on by one row."""
        if self._length == 2 * self.memory + 2:
            # The longest season is half of the memory, and is looked back at twice.
            self._buffer[: self.memory] = self.values[-self.memory :]
            self._length = self.memory
        if self._length == len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.zeros(self._length)])
        self._buffer[self._length] = value
        self._length += 1
        self.row += 1

    def choose(self, seen: int, periods: Sequence[int]) -> None:
        """Choose inputs from the history, if it has grown by half, and let the regressor learn it again for others.

        Args:
            seen: values known so far.
            periods: of the calendar, to look at too.
        """
        if not _is_mark(seen) or self.row > self.memory:
            return
        history, before = self.values[-self.memory :], self.inputs
        found = find_periods(history, periods) if self._season == "auto" else ()
        inputs = choose_inputs(history, found, before, self._lags, self._season)
        self.inputs, self._ready = inputs, None
        if before is None or (inputs.taps, inputs.change) != (before.taps, before.change):
            self._scale = robust_scale(np.diff(history) if inputs.change else history)
            self._centre = float(history[-1] if inputs.change else history.mean())
            self._usual = 1.0
            self._relearn(begin=before is None)

    def path(self, horizon: int, xs: Sequence[dict[str, Any]]) -> np.ndarray:
        """The regressor's forecasts of the next rows ``[horizon]``, each from those before it, in one compiled call.

        Args:
            horizon: rows ahead.
            xs: columns beside the series of every row, or one of all rows.
        """
        engine, past = self.model._engine, self.values
        if self.inputs is None or engine is None:
            return np.full(horizon, past[-1])
        taps, own = self._prepared(engine.dx)
        rows = np.zeros((horizon, engine.dx), np.float32)
        if any(xs):
            schema = self.model.schema_
            zeros = dict.fromkeys((OWN + tap.name for tap in self.inputs.taps), 0.0)
            rows[:, : schema.size] = np.stack([schema.encode({**zeros, **x}) for x in xs])
            rows[:, own] = 0.0
        window = np.full(taps.weights.shape[1], past[max(len(past) - taps.weights.shape[1], 0)])
        newest = past[-len(window) :]
        window[: len(newest)] = newest[::-1]
        window = ((window - self._centre) / self._scale).astype(np.float32)
        return self._centre + self._scale * engine.rollout(rows, window, taps, float(self.inputs.change))

    def _tame(self, target: float) -> float:
        """The target, drawn in if it is wild beside what is usual; what is usual follows it."""
        size = min(abs(target), _WILD * self._usual)
        # 1.25: from the mean distance to the standard deviation of a normal distribution.
        self._usual += 0.01 * (1.25 * size - self._usual)
        return math.copysign(size, target)

    def _base(self, past: np.ndarray) -> float:
        """What the regressor's target is counted from."""
        return float(past[-1]) if self.inputs is not None and self.inputs.change else self._centre

    def _own_row(self, past: np.ndarray) -> dict[str, float]:
        """The inputs from the past, by name, in the regressor's unit."""
        assert self.inputs is not None
        row, n = {}, len(past)
        for tap in self.inputs.taps:
            # What is before the first value counts as it.
            values = (float(past[max(n - lag, 0)]) - self._centre for lag in tap.lags)
            row[OWN + tap.name] = sum(w * v for w, v in zip(tap.weights, values, strict=True)) / self._scale
        return row

    def _relearn(self, begin: bool) -> None:
        """Give the regressor the history anew, as inputs and targets are now."""
        past, model, first = self.values, self.model, self.row - self._length
        if begin:
            rows: Iterable[tuple[int, dict[str, Any]]] = [(row, x) for row, x in self._early if row > first]
            self._early.clear()
        else:
            rows = [
                (row, {name: value for name, value in old.items() if not name.startswith(OWN)})
                for row, old in zip(self._known, model._rows, strict=True)
            ]
        pairs = []
        self._known.clear()
        for row, x in rows:
            before, value = past[: row - first], float(past[row - first])
            target = self._tame((value - self._base(before)) / self._scale)
            pairs.append(({**self._own_row(before), **x}, target))
            self._known.append(row)
        if begin:
            for pair in pairs:
                model.learn_one(*pair)
            return
        # Its rows are replaced in place: it learns them again as at any other mark, and its tasks keep their numbers.
        model._encoder = RowEncoder()
        for row, _ in pairs:
            model._encoder.observe(row)
        model._rows = collections.deque((row for row, _ in pairs), maxlen=self.memory)
        model._targets = collections.deque((model._target(target) for _, target in pairs), maxlen=self.memory)
        model._refresh()

    def _prepared(self, dx: int) -> tuple[Taps, np.ndarray]:
        """How the past becomes inputs of the schema in use, and which of the ``dx`` inputs those are."""
        schema = self.model.schema_
        if self._ready is not None and self._ready[0] is schema:
            return self._ready[1:]
        assert self.inputs is not None
        # A power of two, so that few programs are compiled.
        size = 1 << max(self.inputs.reach - 1, 15).bit_length()
        made = Taps(np.zeros((dx, size), np.float32), *(np.full(dx, v, np.float32) for v in (0.0, 1.0, 0.0)))
        names = [OWN + tap.name for tap in self.inputs.taps]
        matrix = dict(zip(names, tap_matrix(self.inputs.taps, size), strict=True))
        own, place = [], 0
        for column in schema.columns:
            if column.name in matrix:
                made.weights[place] = matrix[column.name]
                made.offset[place], made.factor[place], made.log[place] = (
                    column.offset,
                    column.factor,
                    column.log,
                )
                own.append(place)
            place += len(column.names)
        self._ready = schema, made, np.asarray(own, int)
        return self._ready[1:]

    # Files.

    def to_json(self) -> dict[str, Any]:
        """Everything but the regressor, which has a file of its own, as plain JSON data."""
        return {
            "row": self.row,
            "inputs": None if self.inputs is None else [list(self.inputs.taps), *self.inputs[1:]],
            "known": list(self._known),
            "early": [list(pair) for pair in self._early],
            "unit": [self._centre, self._scale, self._usual],
        }

    def restore(self, data: dict[str, Any], values: np.ndarray) -> None:
        """Go on where `to_json` and ``values`` were taken."""
        self.row = int(data["row"])
        self._length, self._buffer = len(values), np.concatenate([values, np.zeros(64)])
        if data["inputs"] is not None:
            taps, season, change = data["inputs"]
            made = (
                Tap(str(n), tuple(map(int, lags)), tuple(map(float, weights))) for n, lags, weights in taps
            )
            self.inputs = Inputs(tuple(made), int(season), bool(change))
        self._known.extend(map(int, data["known"]))
        self._early.extend((int(row), dict(x)) for row, x in data["early"])
        self._centre, self._scale, self._usual = map(float, data["unit"])


def _is_mark(values: int) -> bool:
    """4, 8, 12, 16, 24, 32, 48, …: the history has grown by half or a third."""
    return values == _FIRST or (values >= 8 and values % (1 << (values.bit_length() - 2)) == 0)
