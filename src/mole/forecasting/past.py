"""A regressor on a series' own past: which inputs it has, in which unit it learns, and its forecasts further ahead.

Everything that goes through float32 is relative to a centre and in units of a scale that are kept in float64, so that
an offset costs no digits.
"""

from __future__ import annotations

import collections
import math
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mole.estimators.regressor import OnlineRegressor
from mole.estimators.step import Step, Taps
from mole.forecasting.choice import choose_inputs, robust_scale
from mole.forecasting.incoming import OWN
from mole.forecasting.lags import Inputs, Tap, tap_matrix, taps_among
from mole.online.guard import Fault
from mole.rows.scaling import Units

__all__ = ["PastModel"]

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
        self._positive = True  # all values so far
        self._buffer, self._length = np.zeros(64), 0  # the newest rows
        self._known: collections.deque[int] = collections.deque(
            maxlen=self.memory
        )  # rows that the model learned
        # Rows with a value before the first inputs were chosen, and their columns.
        self._early: collections.deque[tuple[int, dict[str, Any]]] = collections.deque(maxlen=self.memory)
        self._centre, self._scale, self._usual = 0.0, 1.0, 1.0
        self._names: tuple[str, ...] = ()
        self._matrix = np.zeros((0, 1))  # of the inputs, on the window of the past
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
                self._fits(value)
                self._early.append((self.row, x))
            return _NOTHING, float(past[-1]) if len(past) else 0.0
        row, base = {**self._own_row(past), **x}, self._base(past)
        fits = value is None or self._fits(value)
        step = self.model.step_one(row, self._target(value, base) if value is not None and fits else None)
        expected = self._natural(base + self._scale * step.prediction)
        if value is not None:
            if not fits:
                # Predicted as before, and learned without the logarithm, which such a value does not have.
                self._select(())
                self.model.learn_one({**self._own_row(past), **x}, self._target(value, self._base(past)))
            self._known.append(self.row)
        return step, expected

    def append(self, value: float) -> None:
        """Go on by one row."""
        if value <= 0.0 and self.inputs is not None and self.inputs.log:
            # Only an expectation comes here so: a value ends the logarithms.
            value = float(self.values[-1])
        if self._length == 2 * self.memory + 2:
            # The longest season is half of the memory, and is looked back at twice.
            self._buffer[: self.memory] = self.values[-self.memory :]
            self._length = self.memory
        if self._length == len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.zeros(self._length)])
        self._buffer[self._length] = value
        self._length += 1
        self.row += 1

    def choose(self, seen: int, periods: Sequence[int]) -> bool:
        """Choose inputs from the history, if it has grown by a quarter; for others the regressor learns it again.

        Args:
            seen: values known so far.
            periods: of the calendar, to look at too.

        Returns:
            Whether the season is another one now.
        """
        if not _is_mark(seen) or self.row > self.memory:
            return False
        season = self.season
        self._select(periods)
        return self.season != season

    def _select(self, periods: Sequence[int]) -> None:
        history, before = self.values[-self.memory :], self.inputs
        positive = self._positive and bool(history.min() > 0.0)
        inputs = choose_inputs(history, periods, before, self._lags, self._season, positive=positive)
        self._use(inputs)
        if before is None or inputs._replace(season=0) != before._replace(season=0):
            formed = self._formed(history)
            self._scale = robust_scale(np.diff(formed) if inputs.change else formed)
            self._centre = float(formed[-1] if inputs.change else formed.mean())
            self._usual = 1.0
            self._relearn(begin=before is None)

    def _use(self, inputs: Inputs) -> None:
        self.inputs, self._ready = inputs, None
        self._names = tuple(OWN + tap.name for tap in inputs.taps)
        # A power of two, so that few programs are compiled.
        self._matrix = tap_matrix(inputs.taps, 1 << max(inputs.reach - 1, 15).bit_length())

    def path(self, past: np.ndarray, horizon: int, xs: Sequence[dict[str, Any]]) -> np.ndarray:
        """The regressor's forecasts of the next rows ``[horizon]``, each from those before it, in one compiled call.

        Args:
            past: values so far ``[n]``.
            horizon: rows ahead.
            xs: columns beside the series of every row, or one of all rows.
        """
        engine = self.model._engine
        if self.inputs is None or engine is None:
            return np.full(horizon, past[-1])
        taps, own = self._prepared(engine.dx)
        rows = np.zeros((horizon, engine.dx), np.float32)
        if any(xs):
            schema = self.model.schema_
            zeros = dict.fromkeys(self._names, 0.0)
            rows[:, : schema.size] = np.stack([schema.encode({**zeros, **x}) for x in xs])
            rows[:, own] = 0.0
        window = self._window(past).astype(np.float32)
        units = self.model._units or Units((0.0,), (1.0,))
        target = np.array([self.inputs.change, units.offset[0], 1.0 / units.factor[0]], np.float32)
        formed = engine.rollout(rows, window, taps, target)
        return self._natural(self._centre + self._scale * formed)

    def _fits(self, value: float) -> bool:
        """Whether the value has the form that is learned; remembered if not."""
        self._positive = self._positive and value > 0.0
        return self._positive or not (self.inputs is not None and self.inputs.log)

    def _formed(self, values: Any) -> Any:
        """Values as they are learned: their logarithm, or themselves."""
        return np.log(values) if self.inputs is not None and self.inputs.log else values

    def _natural(self, formed: Any) -> Any:
        """The inverse of `_formed`."""
        if self.inputs is None or not self.inputs.log:
            return formed
        with np.errstate(
            over="ignore"
        ):  # a path that runs away has no forecast, which is seen where they are weighed
            return np.exp(formed)

    def _target(self, value: float, base: float) -> float:
        """The target, drawn in if it is wild beside what is usual; what is usual follows it."""
        target = float(self._formed(value) - base) / self._scale
        size = min(abs(target), _WILD * self._usual)
        # 1.25: from the mean distance to the standard deviation of a normal distribution.
        self._usual += 0.01 * (1.25 * size - self._usual)
        return math.copysign(size, target)

    def _base(self, past: np.ndarray) -> float:
        # What the regressor's target is counted from.
        return (
            float(self._formed(past[-1])) if self.inputs is not None and self.inputs.change else self._centre
        )

    def _window(self, past: np.ndarray) -> np.ndarray:
        """The newest values, the last one first, in the regressor's unit; before the first value as it."""
        size = self._matrix.shape[1]
        window = np.full(size, past[max(len(past) - size, 0)])
        newest = past[-size:]
        window[: len(newest)] = newest[::-1]
        return (self._formed(window) - self._centre) / self._scale

    def _own_row(self, past: np.ndarray) -> dict[str, float]:
        """The inputs from the past, by name."""
        return dict(zip(self._names, (self._matrix @ self._window(past)).tolist(), strict=True))

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
            target = self._target(value, self._base(before))
            pairs.append(({**self._own_row(before), **x}, target))
            self._known.append(row)
        if begin:
            for pair in pairs:
                model.learn_one(*pair)
            return
        model.relearn([row for row, _ in pairs], [target for _, target in pairs])

    def _prepared(self, dx: int) -> tuple[Taps, np.ndarray]:
        """How the past becomes inputs of the schema in use, and which of the ``dx`` inputs those are."""
        schema = self.model.schema_
        if self._ready is None or self._ready[0] is not schema:
            self._ready = schema, *taps_among(schema, dict(zip(self._names, self._matrix, strict=True)), dx)
        return self._ready[1:]

    def to_parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Everything, as plain JSON data and arrays, for a file; the regressor's own file is one of them."""
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder, "model.mole")
            self.model.save(inner)
            content = inner.read_bytes()
        config = {
            "row": self.row,
            "inputs": None if self.inputs is None else [list(self.inputs.taps), *self.inputs[1:]],
            "positive": self._positive,
            "known": list(self._known),
            "early": [list(pair) for pair in self._early],
            "unit": [self._centre, self._scale, self._usual],
            "bytes": len(content),
        }
        # Whole words, which a file of ours can hold; the length says how many bytes count.
        words = np.frombuffer(content + bytes(-len(content) % 4), np.int32)
        return config, {"model": words, "values": self.values.copy()}

    def restore(self, data: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on where `to_parts` were taken."""
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder, "model.mole")
            inner.write_bytes(arrays["model"].tobytes()[: int(data["bytes"])])
            self.model = OnlineRegressor.load(inner)
        self.memory = self.model._settings["memory"]
        self.row = int(data["row"])
        self._length, self._buffer = len(arrays["values"]), np.concatenate([arrays["values"], np.zeros(64)])
        if data["inputs"] is not None:
            taps, season, change, log = data["inputs"]
            made = (
                Tap(str(n), tuple(map(int, lags)), tuple(map(float, weights))) for n, lags, weights in taps
            )
            self._use(Inputs(tuple(made), int(season), bool(change), bool(log)))
        self._positive = bool(data["positive"])
        self._known = collections.deque(map(int, data["known"]), maxlen=self.memory)
        early = ((int(row), dict(x)) for row, x in data["early"])
        self._early = collections.deque(early, maxlen=self.memory)
        self._centre, self._scale, self._usual = map(float, data["unit"])


def _is_mark(values: int) -> bool:
    """4, 8, 10, 12, 14, 16, 20, 24, …: the history has grown by about a quarter."""
    return values == _FIRST or (values >= 8 and values % (1 << (values.bit_length() - 3)) == 0)
