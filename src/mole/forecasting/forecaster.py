"""Forecasts of a series: a regressor on the series' own past, beside simple forecasts, with an interval per horizon.

A row's way: the past becomes inputs (`mole.forecasting.lags`), an `OnlineRegressor` learns the next value from them and
from the columns beside the series, and an `ExpertPool` weighs its forecasts against simple ones, for each horizon by
the forecasts whose truth has arrived.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mole._expect import expect_number, expect_whole
from mole._float32 import methods_in_float32
from mole.estimators.regressor import OnlineRegressor
from mole.estimators.saving import Parts, damage_told, load_parts, save_parts
from mole.estimators.step import Step
from mole.forecasting.experts import EXPERTS, ExpertPool, simple_forecasts
from mole.forecasting.incoming import (
    Clock,
    checked_lags,
    checked_season,
    read_columns,
    read_future,
    read_target,
)
from mole.forecasting.past import PastModel

__all__ = ["OnlineForecaster"]

_NAME, _KIND = "OnlineForecaster", "online-forecaster"
_OFTEN, _SELDOM = (
    256,
    4,
)  # values up to which all horizons are forecast at each row, then at one row in so many
_ENTRIES = ("settings", "past", "clock", "counts", "x")


@methods_in_float32
class OnlineForecaster:
    """Forecasts a series some rows ahead, and learns from every value as it arrives.

    Inputs are the series' own past, chosen by what predicts its history best whenever it has grown by a quarter,
    and the columns beside it. Its values stay in float64, so that an offset costs no digits. Among the experts are
    always the last value, the seasonal one, the mean, the seasonal change, the drift and smoothed values.

    Args:
        horizon: rows ahead for which intervals are learned; the longest forecast.
        lags: "auto"; or so many of the last values; or the lags themselves. The season's are added.
        season: "auto"; or rows of a season; or None for none.
        level: share that the intervals are to cover.
        width: as of `mole.OnlineRegressor`, and so are ``seed``, ``memory``, ``history`` and ``mixture``.

    Attributes:
        n_seen_: values learned.

    Raises:
        ValueError: for settings out of range.
        TypeError: for settings of another type.

    Examples:
        >>> model = OnlineForecaster(horizon=3)
        >>> for t in range(60):
        ...     _ = model.learn_one([5.0, 7.0, 9.0, 4.0][t % 4])
        >>> [round(value) for value in model.forecast(3)]
        [5, 7, 9]
    """

    def __init__(
        self,
        horizon: int = 12,
        *,
        lags: str | int | Sequence[int] = "auto",
        season: str | int | None = "auto",
        level: float = 0.9,
        width: int = 32,
        seed: int = 0,
        memory: int = 4096,
        history: int = 10_000,
        mixture: Mapping[str, Any] | None = None,
    ) -> None:
        """See the class."""
        self.horizon = expect_whole(_NAME, "horizon", horizon)
        self.lags, self.season = checked_lags(_NAME, lags), checked_season(_NAME, season)
        model = OnlineRegressor(
            level=level, width=width, seed=seed, memory=memory, history=history, mixture=mixture
        )
        self.level = float(level)
        self._past = PastModel(model, self.lags, self.season or 0)
        self._pool = ExpertPool(self.horizon, level)
        self._clock = Clock()
        self._mean, self.n_seen_, self._gap = 0.0, 0, 0  # the gap is of missing rows since the last value
        self._x: dict[str, Any] = {}  # the newest columns beside the series

    @property
    def model(self) -> OnlineRegressor:
        """The regressor: its tasks, history and faults. Its rows are in standard units."""
        return self._past.model

    @property
    def season_(self) -> int | None:
        """Rows of a season as found so far, or as given; None without one."""
        return self._past.season or None

    @property
    def inputs_(self) -> tuple[str, ...]:
        """The inputs from the series' own past that are in use."""
        return tuple(tap.name for tap in self._past.inputs.taps) if self._past.inputs else ()

    @property
    def weights_(self) -> dict[str, np.ndarray]:
        """Expert → its weight for each horizon ``[horizon]``; see `mole.forecasting.experts.EXPERTS`."""
        return dict(zip(EXPERTS, self._pool.weights(self._forecasts(self.horizon, [self._x])).T, strict=True))

    @property
    def tasks_(self) -> np.ndarray:
        """As of the regressor, ``[tasks]``, like the next two."""
        return self.model.tasks_

    @property
    def n_tasks_(self) -> int:
        """Tasks known now."""
        return self.model.n_tasks_

    @property
    def history_(self) -> dict[str, np.ndarray]:
        """Figures ``[n]`` of the values that the regressor learned: all but the first few."""
        return self.model.history_

    # Learn and forecast.

    def learn_one(self, y: Any, x: Any = None, t: Any = None) -> OnlineForecaster:
        """Learn the next value of the series.

        Args:
            y: the value; None or NaN if it is missing. Then the series goes on with what was expected.
            x: a dict of columns beside the series, known when its value is forecast; or None.
            t: time of the row: a number, a datetime or ISO text. If most steps are equal, the rows that are missing in
                a larger one count as missing values.

        Raises:
            ValueError: for a wrong value, row or time; nothing is learned then.
        """
        self.step_one(y, x, t)
        return self

    def step_one(self, y: Any, x: Any = None, t: Any = None) -> Step:
        """Forecast the next value, then learn it; arguments and errors as of `learn_one`.

        Returns:
            The forecast with its interval, made before the value was seen, and what the regressor did with it. The
            loss is the squared error in units of the typical error.

        """
        value, row = read_target(y), read_columns(x)
        for _ in range(self._clock.advance(t, self._past.season)):
            self._advance(None, self._x)
        return self._advance(value, row)

    def forecast(
        self, horizon: int | None = None, xs: Sequence[Mapping[str, Any]] | None = None
    ) -> np.ndarray:
        """Expected values of the next rows ``[horizon]``.

        Args:
            horizon: rows ahead; those of the forecaster if None. More than that is possible without intervals.
            xs: columns beside the series, one row for each; the newest ones go on if None. With them, the experts are
                weighed as for the next row, and intervals are as wide as without: rather too wide than too narrow.

        Raises:
            ValueError: for another number of rows than of steps, or a wrong row.
        """
        wanted = self._wanted(horizon)
        found = self._forecasts(wanted, read_future(xs, wanted, self._x))
        # Further ahead, the experts were compared without the columns that are given now, as they are for the next row.
        return self._pool.combined(found, None if xs is None else np.zeros(wanted, int))

    def forecast_interval(
        self,
        horizon: int | None = None,
        xs: Sequence[Mapping[str, Any]] | None = None,
        level: float | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of the intervals of the next rows, each ``[horizon]``; infinite while nothing is known.

        Args:
            horizon: as of `forecast`, and so is ``xs``.
            level: another share than the forecaster's, in (0, 1); for it the width is changed by the ratio of a normal
                distribution.

        Raises:
            ValueError: for more rows than the horizon of the forecaster, or as `forecast`.
        """
        wanted = self._wanted(horizon)
        if wanted > self.horizon:
            raise ValueError(
                f"OnlineForecaster got horizon={wanted}; expected at most {self.horizon}, for which intervals were "
                f"learned. Make it with horizon={wanted}."
            )
        if level is not None:
            remedy = "It is a share, such as 0.9."
            expect_number("OnlineForecaster", "level", level, above=0.0, below=1.0, remedy=remedy)
        middle, half = self.forecast(wanted, xs), self._pool.half_width(level)[:wanted]
        return middle - half, middle + half

    # One row.

    def _advance(self, value: float | None, x: dict[str, Any]) -> Step:
        """Forecast, score, learn and go on by one row."""
        past = self._past
        step, model = past.learn(value, x)
        expected, half, loss = 0.0, math.inf, math.nan
        if value is None and not self.n_seen_:
            return step._replace(low=-half, high=half)  # the series begins with its first value
        if self.n_seen_:
            # With the columns of this very row: the forecast made before it had to go on with the newest ones.
            expected, half, typical = self._pool.amend(past.row, model)
            if self._gap:
                expected, half = self._in_a_gap(model if x else None)
            elif value is not None and typical > 0:
                loss = ((value - expected) / typical) ** 2
            self._pool.score(past.row, value)
        self._gap = self._gap + 1 if value is None else 0
        past.append(expected if value is None else value)
        self._x = x or self._x
        if value is not None:
            self.n_seen_ += 1
            self._mean += (value - self._mean) / self.n_seen_
            if past.choose(self.n_seen_, self._clock.periods):
                self._pool.reconsider(past.values, past.season)
        if self.n_seen_:
            # Further ahead only now and then, once enough is known of the errors there.
            whole = self.n_seen_ <= _OFTEN or past.row % _SELDOM == 0
            ahead = self.horizon if whole else 1
            self._pool.remember(past.row, self._forecasts(ahead, [self._x], whole=whole))
        return step._replace(prediction=expected, low=expected - half, high=expected + half, loss=loss)

    def _in_a_gap(self, model: float | None) -> tuple[float, float]:
        """Forecast of a row after missing ones, as far ahead of the last value as it is; half its width."""
        ahead = min(self._gap, self.horizon - 1)
        known = self._past.values[: len(self._past.values) - ahead]
        found = self._forecasts(ahead + 1, [self._x], past=known)[-1:]
        if model is not None:
            found[0, -1] = model
        return float(self._pool.combined(found, np.array([ahead]))[0]), float(self._pool.half_width()[ahead])

    def _forecasts(
        self,
        horizon: int,
        xs: Sequence[dict[str, Any]],
        *,
        past: np.ndarray | None = None,
        whole: bool = True,
    ) -> np.ndarray:
        """Of all experts ``[horizon, experts]``; NaN where one has no answer yet, and the model unless ``whole``."""
        past = self._past.values if past is None else past
        if not self.n_seen_:
            return np.zeros((horizon, len(EXPERTS)))
        found = simple_forecasts(past, horizon, self._past.season, self._mean)
        if whole:
            found[:, -1] = self._past.path(past, horizon, xs)
        return found

    def _wanted(self, horizon: int | None) -> int:
        return self.horizon if horizon is None else expect_whole("OnlineForecaster", "horizon", horizon)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to go on exactly here to one file, atomically."""
        past, arrays = self._past.to_parts()
        config = {
            "settings": {name: getattr(self, name) for name in ("horizon", "lags", "season", "level")},
            "past": past,
            "clock": self._clock.to_json(),
            "counts": [self.n_seen_, self._gap, self._mean],
            "x": self._x,
        }
        save_parts(path, _KIND, Parts(config, None, None, {**arrays, **self._pool.arrays}), None)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OnlineForecaster:
        """Read what `save` wrote; forecasts and learning go on bit for bit.

        Raises:
            FileNotFoundError: if there is no such file.
            mole.files.checkpoint.CheckpointError: if it is damaged, of a newer format or another kind.
        """
        parts = load_parts(path, _KIND, frozenset(_ENTRIES))
        config, arrays = parts.config, parts.arrays
        with damage_told(path):
            made = cls(**config["settings"])
            made._past.restore(config["past"], arrays)
            made._pool.restore(arrays)
            made._clock = Clock.from_json(config["clock"])
            made._x = dict(config["x"])
            made.n_seen_, made._gap, made._mean = config["counts"]
        return made
