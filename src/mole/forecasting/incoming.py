"""What a forecaster is given, checked: settings, values, columns beside the series, and times."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mole._expect import expect_choice, expect_items, expect_whole
from mole.rows.values import NUMBER, TIME, kept, read_row, read_value, seconds_of

__all__ = ["OWN", "Clock", "checked_lags", "checked_season", "read_columns", "read_future", "read_target"]

OWN = "own "
"""Begins the names of the inputs that come from the past, so that they are told from the columns beside the series."""
_STEPS, _GAP = 64, 1000  # newest steps that are kept; missing rows that are gone through one by one
_SPANS = (86400.0, 604800.0, 365.25 * 86400.0)  # a day, a week, a year


class Clock:
    """Which rows are missing between two times, if most steps are equal.

    Attributes:
        last: time of the newest row; None before the first, or without times.
    """

    def __init__(self) -> None:
        """No row yet."""
        self.last: float | None = None
        self._steps: collections.deque[float] = collections.deque(maxlen=_STEPS)
        self._real = False  # whether times are of the calendar, and not plain numbers

    @property
    def step(self) -> float | None:
        """The usual step, if at least nine in ten are equal up to a fifth (months are); else None."""
        if len(self._steps) < 3:
            return None
        steps = np.asarray(self._steps)
        usual = steps[np.abs(steps - np.median(steps)) <= 0.2 * np.median(steps)]
        return float(usual.mean()) if len(usual) >= 0.9 * len(steps) and usual.mean() > 0 else None

    @property
    def periods(self) -> tuple[int, ...]:
        """Rows of a day, a week and a year, where they are at least two."""
        step = self.step
        if step is None or not self._real:
            return ()
        return tuple(rows for rows in (round(span / step) for span in _SPANS) if rows >= 2)

    def advance(self, time: Any, season: int) -> int:
        """Go on to the time of the next row; how many rows are missing before it.

        At most a thousand and a season are counted, so that the place in the season stays right.

        Raises:
            ValueError: for a time that cannot be read, or is before the last one; the clock stays where it is.
        """
        if time is None:
            self.last = None if self.last is None or self.step is None else self.last + self.step
            return 0
        now, real = _seconds(time)
        if self.last is not None and now < self.last:
            raise ValueError(
                f"OnlineForecaster got t={time!r}, which is before the row before it; expected rows in order of time. "
                "Nothing was learned."
            )
        missing, usual = 0, self.step
        if self.last is not None:
            if usual is not None:
                missing = max(round((now - self.last) / usual) - 1, 0)
            # A gap is no step: only what is not explained by the usual one may change it.
            self._steps.append((now - self.last) / (missing + 1))
        self.last, self._real = now, real
        whole = max(season, 1)
        return missing if missing <= _GAP else _GAP + (missing - _GAP) % whole

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        return {"last": self.last, "steps": list(self._steps), "real": self._real}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Clock:
        """The inverse of `to_json`."""
        made = cls()
        made.last = None if data["last"] is None else float(data["last"])
        made._steps.extend(float(step) for step in data["steps"])
        made._real = bool(data["real"])
        return made


def _seconds(time: Any) -> tuple[float, bool]:
    """A time as a number, and whether it is one of the calendar."""
    content: Any
    try:
        kind, content = read_value(time)
    except TypeError:  # a list or an object: told as any other value that is no time
        kind, content = "", math.nan
    if kind == TIME:
        return seconds_of(content), True
    if kind != NUMBER or not math.isfinite(content):
        raise ValueError(f"OnlineForecaster got t={time!r}; expected a number, a datetime or ISO text.")
    return content, False


def read_target(y: Any) -> float | None:
    """A value of the series; None if it is missing."""
    if y is None or type(y).__name__ in ("NAType", "NaTType"):
        return None
    try:
        value = float(y)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"OnlineForecaster got y={y!r}; expected a number. Nothing was learned.") from error
    if math.isinf(value):
        raise ValueError(f"OnlineForecaster got y={y!r}; expected a finite number. Nothing was learned.")
    return None if math.isnan(value) else value


def checked_lags(owner: str, lags: Any) -> Any:
    """The setting ``lags``: "auto", a number of lags, or lags in order."""
    if isinstance(lags, str):
        expect_choice(owner, "lags", lags, ["auto"])
        return lags
    remedy = "It is 'auto', so many of the last values, or the lags themselves."
    if isinstance(lags, Sequence | np.ndarray):
        if not len(lags):
            raise ValueError(f"{owner} got lags={lags!r}; expected one or more. {remedy}")
        return tuple(sorted({expect_whole(owner, "lags", lag, remedy=remedy) for lag in lags}))
    return expect_whole(owner, "lags", lags, remedy=remedy)


def checked_season(owner: str, season: Any) -> Any:
    """The setting ``season``: "auto", rows of a season, or None for none."""
    if isinstance(season, str):
        expect_choice(owner, "season", season, ["auto"])
        return season
    return None if season is None else expect_whole(owner, "season", season, 2, "None is for no season.")


def read_columns(x: Any) -> dict[str, Any]:
    """Columns beside the series as JSON can hold them, since they may be kept."""
    if x is None:
        return {}
    if not isinstance(x, Mapping):
        raise ValueError(  # noqa: TRY004  a wrong row is wrong data
            f"OnlineForecaster got x of type {type(x).__name__}; expected a dict from column to value, or None."
        )
    own = [name for name in x if str(name).startswith(OWN)]
    if own:
        raise ValueError(
            f"OnlineForecaster got the columns {own}; expected other names: those that begin with {OWN!r} are of "
            "its own inputs. Rename them."
        )
    return kept(read_row(x, None, "OnlineForecaster"), x)


def read_future(xs: Any, horizon: int, now: dict[str, Any]) -> list[dict[str, Any]]:
    """Columns beside the series of the next rows; one row, the newest, if they are not given."""
    if xs is None:
        return [now]
    rows = [read_columns(x) for x in expect_items("OnlineForecaster", "xs", xs)]
    if len(rows) != horizon:
        raise ValueError(
            f"OnlineForecaster got {len(rows)} rows in xs; expected {horizon}, one for each step."
        )
    return rows
