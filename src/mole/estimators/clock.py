"""The clock of a series: how many rows are missing between two times, and the periods of the calendar."""

from __future__ import annotations

import collections
import math
from typing import Any

import numpy as np

from mole.rows.values import NUMBER, TIME, read_value, seconds_of

__all__ = ["Clock"]

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
        try:
            kind, content = read_value(time)
        except TypeError:
            kind, content = "", None
        if kind not in (NUMBER, TIME) or (kind == NUMBER and not math.isfinite(content)):
            raise ValueError(f"OnlineForecaster got t={time!r}; expected a number, a datetime or ISO text.")
        now = seconds_of(content) if kind == TIME else content
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
        self.last, self._real = now, kind == TIME
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
