"""How one column becomes inputs of a network: chosen from its statistics, and fixed when a schema is made of them.

And how numbers whose digits float32 would lose are kept: offsets and factors in float64 (`float32_scale`).
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mole.rows.statistics import CATEGORY, EMPTY, ColumnStatistics
from mole.rows.values import BOOLEAN, MISSING, NUMBER, TIME, label, seconds_of

__all__ = ["LARGEST", "ColumnInputs", "column_inputs", "float32_scale"]

LARGEST = 1e18  # float32 still holds its square
_EXTREME = 1e300  # twice this is still a double: differences of two such numbers stay finite
_PERIODS = ("hour", "weekday", "yearday")
_DECADES = 1e4  # between the 5th and the 95th percentile of |v|: more is read on a logarithmic scale
_ROUNDING = 1e-12  # variation below this share of the value is rounding, not signal
_COUNTER = 16  # numbers in order: by chance, so many are once in 10^13


@dataclass(frozen=True)
class ColumnInputs:
    """The inputs of one column.

    A number ``v`` becomes ``(v - offset) * factor``, or ``sign(v) * log(1 + |v| * factor)`` if ``log``. Ordinary
    columns have offset 0 and factor 1. Others have values there that keep what float32 would round away (a small
    variation around a large value) and what it cannot hold.

    Attributes:
        name: the column.
        kind: ``number``, ``boolean``, ``time``, ``category`` or ``empty``.
        flag: whether a 0/1 input says that the value is missing.
        offset, factor, log: of a number as above; of a time the first second (UTC) and 1 / the span.
        fill: what stands for a missing number, boolean or time, in the column's own units.
        categories: of a category column; all other words share one further input.
        low, high: range within which a number is no news: half as far again as the numbers that were seen. None if it
            is not known, as in files of version 0.1.
        grows: whether the values rise (or fall) from row to row, as a time or a counter does: later ones will be beyond
            all that were seen, and are not wild for that.
    """

    name: str
    kind: str
    flag: bool
    offset: float = 0.0
    factor: float = 1.0
    log: bool = False
    fill: float = 0.0
    categories: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    grows: bool = False

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

    def inputs(self, kind: str, content: Any) -> list[float]:
        """The inputs of one value, as `read_value` read it: one finite number for each of ``names``.

        A value of another kind than the column's is missing, except in a column of categories.
        """
        if self.kind in (NUMBER, BOOLEAN):
            missing = kind not in (NUMBER, BOOLEAN) or not math.isfinite(content)
            found = [self._number(self.fill if missing else float(content))]
        elif self.kind == CATEGORY:
            missing = kind == MISSING or (kind == NUMBER and not math.isfinite(content))
            found = [0.0] * (len(self.categories) + 1)
            if not missing:
                word = label(kind, content)
                known = self.categories.index(word) if word in self.categories else len(self.categories)
                found[known] = 1.0
        elif self.kind == TIME:
            missing = kind != TIME
            elapsed = (self.fill if missing else seconds_of(content)) - self.offset
            # (0, 0) is the centre of the circle, as far from every hour as from every other.
            waves = [0.0] * (2 * len(_PERIODS)) if missing else _waves(content)
            found = [elapsed * self.factor, *waves]
        else:
            return []
        return [*found, float(missing)] if self.flag else found

    def news(self, kind: str, content: Any) -> str | None:
        """What a value has that these inputs cannot say, or None: the words of `Schema.news`."""
        if kind == MISSING or (kind == NUMBER and not math.isfinite(content)):
            return None if self.flag or self.kind == EMPTY else "missing"
        if self.kind == NUMBER:
            if kind not in (NUMBER, BOOLEAN):
                return "kind"
            known = self.grows or self.low is None or self.high is None or self.low <= content <= self.high
            return None if known else "range"
        if self.kind == CATEGORY:
            word = label(kind, content)
            return None if word in self.categories else f"={word}"
        return None if kind == self.kind else "kind"

    def _number(self, value: float) -> float:
        if self.log:
            return math.copysign(math.log1p(min(abs(value) * self.factor, _EXTREME)), value)
        return min(max((value - self.offset) * self.factor, -LARGEST), LARGEST)


def column_inputs(name: str, seen: ColumnStatistics, most_categories: int) -> ColumnInputs:
    """Choose the inputs of a column from its statistics.

    Args:
        name: of the column.
        seen: its statistics.
        most_categories: words that get an input of their own at most.
    """
    kind, flag = seen.kind, seen.missing > 0
    if kind == CATEGORY:
        # A word seen once has no input of its own: its weight would be learned from a single row.
        words = sorted(
            (word for word, count in seen.words.items() if count > 1), key=lambda word: -seen.words[word]
        )
        return ColumnInputs(name, kind, flag, categories=tuple(words[:most_categories]))
    if kind == BOOLEAN:
        # The more frequent of the two; there is no sample of truth values to take a median of.
        return ColumnInputs(name, kind, flag, fill=float(seen.words.get("true", 0) * 2 > seen.booleans))
    if kind == EMPTY:
        return ColumnInputs(name, kind, False)
    sample = np.clip(seen.sample or [0.0], -_EXTREME, _EXTREME)
    fill = float(np.median(sample))
    if kind == TIME:
        span = seen.high - seen.low
        factor = 1.0 / span if span > 0 else 1.0
        return ColumnInputs(name, kind, flag, offset=seen.low, factor=factor, fill=fill, grows=True)
    low, high = max(seen.low, -_EXTREME), min(seen.high, _EXTREME)
    offset, factor, log = float32_scale(sample, low, high)
    room = high / 2 - low / 2
    steps = np.diff(sample)
    grows = len(sample) >= _COUNTER and bool(np.all(steps > 0) or np.all(steps < 0))
    return ColumnInputs(
        name, kind, flag, offset, factor, log, fill, low=low - room, high=high + room, grows=grows
    )


def float32_scale(
    sample: np.ndarray, low: float, high: float, *, logs: bool = True
) -> tuple[float, float, bool]:
    """Offset, factor and whether to take the logarithm; (0, 1, False) wherever float32 copes.

    Args:
        sample: some of the values ``[n]`` float64, finite.
        low, high: smallest and largest of all of them.
        logs: whether a logarithm may be taken.
    """
    sizes = np.sort(np.abs(sample[sample != 0.0]))
    if logs and len(sizes) >= 20:  # fewer have no 5th percentile
        small, large = sizes[len(sizes) // 20], sizes[-1 - len(sizes) // 20]
        # Below that the factor 1 / small could overflow.
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
    # float32 has seven digits: a value a thousand times its spread would leave four for the variation.
    offset = centre if abs(centre) > 1e3 * spread else 0.0
    # A power of two, by which a product is exact.
    factor = 1.0 if 1e-4 <= spread <= 1e6 else 2.0 ** -round(math.log2(spread))
    return offset, factor, False


def _waves(when: dt.datetime) -> list[float]:
    """Sine and cosine of the hour of the day, the day of the week and the day of the year, local as written.

    Local, since people and machines follow the clock on the wall; what elapsed is in UTC (`seconds_of`).
    """
    day = (when.hour + (when.minute + (when.second + when.microsecond / 1e6) / 60) / 60) / 24
    angles = (
        2 * math.pi * turn
        for turn in (day, (when.weekday() + day) / 7, (when.timetuple().tm_yday - 1 + day) / 365.25)
    )
    return [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
