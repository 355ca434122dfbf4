"""`mole.OnlineForecaster` with the method names that sktime's forecasters have; sktime itself is not needed.

    model = SeriesForecaster().fit(y[:100])
    y_next = model.predict(fh=[1, 2, 3])
    model.update(y[100:])

It is no subclass of sktime's, which pins older packages than this one is tested with.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mole._expect import expect_items, expect_whole
from mole.forecasting import OnlineForecaster
from mole.rows.batches import rows_of

__all__ = ["SeriesForecaster"]


class SeriesForecaster:
    """Learns whole series: ``fit`` begins anew, ``update`` goes on, ``predict`` forecasts.

    Args:
        horizon: rows ahead for which intervals are learned.
        settings: further arguments of `mole.OnlineForecaster`.

    Attributes:
        model: the `mole.OnlineForecaster`; a new one after every ``fit``.

    Raises:
        ValueError: for settings out of range.

    Examples:
        >>> model = SeriesForecaster(horizon=4, season=4).fit([5.0, 7.0, 9.0, 4.0] * 8)
        >>> model.predict(fh=[1, 4]).round().tolist()
        [5.0, 4.0]
    """

    def __init__(self, horizon: int = 12, **settings: Any) -> None:
        """See the class."""
        self.horizon, self.settings = horizon, settings
        self._fh: list[int] | None = None
        self.model = OnlineForecaster(horizon, **settings)

    def fit(self, y: Any, X: Any = None, fh: Any = None) -> SeriesForecaster:
        """Forget everything, and learn a series in order.

        Args:
            y: values ``[n]``: a list, an array, or a column of a data frame, whose times tell which rows are missing.
            X: as many rows of columns beside the series: dicts, or a data frame.
            fh: steps ahead to forecast if ``predict`` is not told.

        Raises:
            ValueError: if there are not as many rows as values, or one of them is wrong; those before it were learned.
        """
        self.model = OnlineForecaster(self.horizon, **self.settings)
        self._fh = None if fh is None else _steps(fh)
        return self.update(y, X)

    def update(self, y: Any, X: Any = None) -> SeriesForecaster:
        """Learn the values that follow. Arguments and errors as of `fit`."""
        values, times = np.asarray(y, float), _times(y)
        rows = itertools.repeat(None, len(values)) if X is None else _rows(X, len(values))
        for value, row, time in zip(values.tolist(), rows, times, strict=False):
            self.model.learn_one(value, row, time)
        return self

    def predict(self, fh: Any = None, X: Any = None) -> np.ndarray:
        """Expected values at the steps ``fh`` after the last value, from 1 on.

        Args:
            fh: steps ahead: a number or several; those of ``fit``, or all up to the horizon, if None.
            X: columns beside the series of all rows up to the last step.

        Returns:
            ``[steps]``, in the unit of the series.

        Raises:
            TypeError: for steps that are no whole numbers.
            ValueError: for steps before the first, or another number of rows.
        """
        steps = self._wanted(fh)
        rows = None if X is None else _rows(X, max(steps))
        return self.model.forecast(max(steps), rows)[np.array(steps) - 1]

    def predict_interval(
        self, fh: Any = None, X: Any = None, coverage: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends ``[steps]``; arguments and errors as of `predict` and `forecast_interval`."""
        steps = self._wanted(fh)
        rows = None if X is None else _rows(X, max(steps))
        low, high = self.model.forecast_interval(max(steps), rows, coverage)
        return low[np.array(steps) - 1], high[np.array(steps) - 1]

    def _wanted(self, fh: Any) -> list[int]:
        return _steps(fh) if fh is not None else self._fh or list(range(1, self.horizon + 1))


def _steps(fh: Any) -> list[int]:
    remedy = "Steps count from 1, the row after the last one."
    steps = expect_items("SeriesForecaster", "fh", fh if np.ndim(fh) else [fh])
    if not steps:
        raise ValueError("SeriesForecaster got fh=[]; expected one or more steps.")
    return [expect_whole("SeriesForecaster", "fh", step, remedy=remedy) for step in steps]


def _times(y: Any) -> Sequence[Any]:
    """The times of a column of a data frame; otherwise none."""
    index = getattr(y, "index", None)
    # A list has a method of this name. Times know their zone; a running number says nothing about missing rows.
    if not hasattr(index, "tz"):
        return [None] * len(y)
    return list(y.index)


def _rows(X: Any, size: int) -> list[Mapping[str, Any]]:
    rows = list(rows_of(X))
    if len(rows) != size:
        raise ValueError(f"SeriesForecaster got {len(rows)} rows in X; expected {size}.")
    return rows
