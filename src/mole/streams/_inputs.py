"""How one column becomes inputs of a network: fixed when the schema is made, plain JSON."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mole.streams._columns import CATEGORY, EMPTY, ColumnStatistics
from mole.streams._values import BOOLEAN, MISSING, NUMBER, TIME, label, read_value, seconds_of

__all__ = ["LARGEST", "ColumnInputs", "column_inputs"]

LARGEST = 1e18  # float32 still holds its square
_EXTREME = 1e300  # twice this is still a float
_PERIODS = ("hour", "weekday", "yearday")
_DECADES = 1e4  # between the 5th and the 95th percentile of |v|: more is read on a logarithmic scale
_ROUNDING = 1e-12  # variation below this share of the value is rounding, not signal


@dataclass(frozen=True)
class ColumnInputs:
    """The inputs of one column.

    A number ``v`` becomes ``(v - offset) * factor``, or ``sign(v) * log(1 + |v| * factor)`` if ``log``. Offset and
    factor are 0 and 1 for ordinary columns; they keep what float32 would lose (a small variation around a large
    value) and what it could not hold.

    Attributes:
        name: the column.
        kind: ``number``, ``boolean``, ``time``, ``category`` or ``empty``.
        flag: whether a 0/1 input says that the value is missing.
        offset, factor, log: of a number as above; of a time the first second (UTC) and 1 / the span.
        fill: what stands for a missing number, boolean or time, in the column's own units.
        categories: of a category column; all other words share one further input.
    """

    name: str
    kind: str
    flag: bool
    offset: float = 0.0
    factor: float = 1.0
    log: bool = False
    fill: float = 0.0
    categories: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """One per input."""
        flag = (f"{self.name} (missing)",) if self.flag else ()
        if self.kind in (NUMBER, BOOLEAN):
            return (self.name, *flag)
        if self.kind == TIME:
            waves = [f"{self.name} ({wave} of {period})" for period in _PERIODS for wave in ("sin", "cos")]
            return (f"{self.name} (elapsed)", *waves, *flag)
        if self.kind == CATEGORY:
            return (*(f"{self.name}={word}" for word in self.categories), f"{self.name} (unseen)", *flag)
        return ()

    def write(self, value: Any, out: np.ndarray) -> None:
        """Write the inputs of one value into ``out [inputs]``, which is zero on entry."""
        kind, content = read_value(value)
        if self.kind == CATEGORY:
            missing = kind == MISSING or (kind == NUMBER and not math.isfinite(content))
            if not missing:
                word = label(kind, content)
                known = self.categories.index(word) if word in self.categories else len(self.categories)
                out[known] = 1.0
        elif self.kind == TIME:
            missing = kind != TIME
            elapsed = (self.fill if missing else seconds_of(content)) - self.offset
            out[0] = elapsed * self.factor
            if not missing:
                out[1:7] = _waves(content)
        elif self.kind == EMPTY:
            return
        else:
            missing = kind not in (NUMBER, BOOLEAN) or not math.isfinite(content)
            out[0] = self._number(self.fill if missing else float(content))
        if self.flag:
            out[-1] = missing

    def _number(self, value: float) -> float:
        if self.log:
            return math.copysign(math.log1p(min(abs(value) * self.factor, _EXTREME)), value)
        return min(max((value - self.offset) * self.factor, -LARGEST), LARGEST)


def column_inputs(name: str, seen: ColumnStatistics, most_categories: int) -> ColumnInputs:
    """Choose the inputs of a column from its statistics."""
    kind, flag = seen.kind, seen.missing > 0
    if kind == CATEGORY:
        words = sorted(
            (word for word, count in seen.words.items() if count > 1), key=lambda word: -seen.words[word]
        )
        return ColumnInputs(name, kind, flag, categories=tuple(words[:most_categories]))
    if kind == BOOLEAN:
        return ColumnInputs(name, kind, flag, fill=float(seen.words.get("true", 0) * 2 > seen.booleans))
    if kind == EMPTY:
        return ColumnInputs(name, kind, False)
    sample = np.clip(seen.sample or [0.0], -_EXTREME, _EXTREME)
    fill = float(np.median(sample))
    if kind == TIME:
        span = seen.high - seen.low
        return ColumnInputs(
            name, kind, flag, offset=seen.low, factor=1.0 / span if span > 0 else 1.0, fill=fill
        )
    offset, factor, log = _scale(sample, max(seen.low, -_EXTREME), min(seen.high, _EXTREME))
    return ColumnInputs(name, kind, flag, offset, factor, log, fill)


def _scale(sample: np.ndarray, low: float, high: float) -> tuple[float, float, bool]:
    """Offset, factor and whether to take the logarithm; (0, 1, False) wherever float32 copes."""
    sizes = np.sort(np.abs(sample[sample != 0.0]))
    if len(sizes) >= 20:
        small, large = sizes[len(sizes) // 20], sizes[-1 - len(sizes) // 20]
        if small > 1 / _EXTREME and large > _DECADES * small:
            return 0.0, float(1.0 / small), True
    centre = float(np.median(sample))
    quarters = np.quantile(sample, [0.25, 0.75])
    spread = (
        float(quarters[1] - quarters[0]) or high / 2 - low / 2
    )  # halves: their difference cannot overflow
    size = max(abs(low), abs(high))
    if spread <= _ROUNDING * size:
        return centre, 1.0, False
    offset = centre if abs(centre) > 1e3 * spread else 0.0
    factor = 1.0 if 1e-4 <= spread <= 1e6 else 2.0 ** -round(math.log2(spread))
    return offset, factor, False


def _waves(when: dt.datetime) -> list[float]:
    """Sine and cosine of the hour of the day, the day of the week and the day of the year, local as written."""
    day = (when.hour + (when.minute + (when.second + when.microsecond / 1e6) / 60) / 60) / 24
    angles = (
        2 * math.pi * turn
        for turn in (day, (when.weekday() + day) / 7, (when.timetuple().tm_yday - 1 + day) / 365.25)
    )
    return [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
