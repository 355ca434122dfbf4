"""A series in ``mole stream``: whether the rows are one, and the forecaster as the loop of the command takes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mole.estimators.step import Step
from mole.forecasting import OnlineForecaster
from mole.pipeline.sources import Row
from mole.rows.encoding import Schema
from mole.rows.values import MISSING, TIME, ReadRow, read_value

__all__ = ["SeriesEstimator", "is_series"]

_LOOKED_AT = 20  # rows that decide whether there is anything beside the target and its time


class SeriesEstimator:
    """`mole.OnlineForecaster` as a `mole.pipeline.runner.StreamEstimator`; the first column of times is its clock.

    Args:
        prior: none: a series makes its own.
        level: of the intervals.
        seed: of the forecaster.
        model: a forecaster to go on with, instead of a new one.
    """

    def __init__(
        self, prior: None = None, *, level: float = 0.9, seed: int = 0, model: OnlineForecaster | None = None
    ) -> None:
        """See the class."""
        self.model = OnlineForecaster(level=level, seed=seed) if model is None else model

    def step_one(self, x: ReadRow, y: Any) -> Step:
        """Forecast a row, then learn it; without a target the row is a request."""
        clock = next((name for name, kind in x.kinds.items() if kind == TIME), None)
        beside = {name: value for name, value in x.items() if name != clock and x.kinds[name] != MISSING}
        return self.model.step_one(y, beside, None if clock is None else x[clock])

    @property
    def schema_(self) -> Schema:
        """Inputs of the regressor within, those from the past among them."""
        return self.model.model.schema_

    def importance_(self, task: int) -> np.ndarray:
        """As of `mole.OnlineRegressor`."""
        return self.model.model.importance_(task)

    @property
    def n_events_(self) -> int:
        """Regime events of the regressor within."""
        return self.model.model.n_events_

    @property
    def events_(self) -> list[dict[str, Any]]:
        """Them without what is different, which is about the regressor's own units and not about the series."""
        return [{**event, "outputs": [], "columns": []} for event in self.model.model.events_]

    def save(self, path: Any) -> None:
        """Write the forecaster."""
        self.model.save(path)

    @classmethod
    def load(cls, path: Path) -> SeriesEstimator:
        """Read what `save` wrote."""
        return cls(model=OnlineForecaster.load(path))


def is_series(rows: Iterable[Row], target: str, *, live: bool) -> tuple[bool, Iterator[Row]]:
    """Whether the first rows have nothing beside the target but a time; the rows looked at come again.

    Args:
        rows: the rows.
        target: column to predict.
        live: whether they come as they are made: then the first one decides, since the next may not come before the
            prediction of this one is asked for.
    """
    rows, looked_at, times = iter(rows), list[Row](), set[str]()
    # Of a pipe, a column without a value in the first row may have one in the next.
    some, nothing = False, {TIME} if live else {TIME, MISSING}
    for row in itertools.islice(rows, 1 if live else _LOOKED_AT):
        looked_at.append(row)
        some = some or bool(row.values)
        kinds = {name: _kind(value) for name, value in (row.values or {}).items() if name != target}
        times |= {name for name, kind in kinds.items() if kind == TIME}
        if len(times) > 1 or not nothing.issuperset(kinds.values()):
            return False, itertools.chain(looked_at, rows)
    return some, itertools.chain(looked_at, rows)


def _kind(value: Any) -> str:
    try:
        return read_value(value)[0]
    except TypeError:  # a list or an object: a bad row, whatever is predicted
        return "other"
