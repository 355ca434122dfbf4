"""One column: what is known of it after some rows, and how it becomes inputs of a network.

The statistics are bounded in memory, exact in their counts and plain JSON. The inputs are fixed when a schema is made
from them.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mole.rows.values import BOOLEAN, MISSING, NUMBER, TIME, label, seconds_of

__all__ = ["CATEGORY", "EMPTY", "LARGEST", "ColumnInputs", "ColumnStatistics", "column_inputs"]

CATEGORY, EMPTY = "category", "empty"

_SAMPLE = 512  # numbers of a column that are kept, for its median and quartiles
_WORDS = 256  # different words of a column that are counted
_CODES = 16  # numbers that take more values than this are hardly codes
_STRAY = 0.1  # share of words among numbers that are slips rather than categories


class ColumnStatistics:
    """Counts of one column, a sample of its numbers and the most frequent of its words.

    The sample takes every 2^i-th number, with i growing as the column does. It needs no random numbers, so that
    the same rows give the same sample, also after a stop.

    Attributes:
        first_row: number of rows before the first one that has the column.
        numbers, booleans, times, texts: values seen of each kind.
        missing: rows without a value, also those before ``first_row`` and those that lack the column.
        infinite: numbers that were infinite; they count as missing too.
        stride: one number in so many goes into the sample.
        sample: numbers; of times, seconds since 1970 (UTC).
        low, high: smallest and largest of all numbers (or times); infinite before the first.
        words: word → rows, the most frequent ones.
        many_numbers: whether the numbers took so many values that they are no longer counted as words.
    """

    _COUNTS = ("first_row", "numbers", "booleans", "times", "texts", "missing", "infinite", "stride")

    def __init__(self, first_row: int = 0) -> None:
        """A column that the rows before ``first_row`` did not have."""
        self.first_row = first_row
        self.missing = first_row
        self.numbers = self.booleans = self.times = self.texts = self.infinite = 0
        self.stride = 1
        self.sample: list[float] = []
        self.low, self.high = math.inf, -math.inf
        self.words: dict[str, int] = {}
        self.many_numbers = False

    def observe(self, kind: str, content: Any) -> None:
        """Take in one value, as `read_value` read it; ``MISSING`` where the row has none."""
        if kind == NUMBER and not math.isfinite(content):
            self.infinite += 1
            kind = MISSING
        if kind == MISSING:
            self.missing += 1
            return
        if kind == NUMBER:
            self.numbers += 1
        elif kind == BOOLEAN:
            self.booleans += 1
        elif kind == TIME:
            self.times += 1
        else:
            self.texts += 1
        if kind in (NUMBER, TIME):
            self._sample(content if kind == NUMBER else seconds_of(content))
            # A column of measurements needs no counts of words, and to format every number takes the longest.
            if self.many_numbers:
                return
        self._count(label(kind, content))

    @property
    def present(self) -> int:
        """Values seen."""
        return self.numbers + self.booleans + self.times + self.texts

    @property
    def kind(self) -> str:
        """``number``, ``boolean``, ``time``, ``category`` or ``empty``.

        One kind of value makes a column of that kind, and booleans among numbers are numbers. Words among numbers
        (or times) make categories, unless they are few (at most a tenth) and the numbers take very many values: then
        the column is one of numbers, and the words are slips.
        """
        if not self.present:
            return EMPTY
        if self.booleans == self.present:
            return BOOLEAN
        most, kind = max((self.numbers + self.booleans, NUMBER), (self.times, TIME))
        others = self.present - most
        # A few slips must not turn a measurement into categories, which would lose the order of its numbers.
        return kind if others <= (_STRAY * self.present if self.many else 0) else CATEGORY

    @property
    def many(self) -> bool:
        """Whether its numbers (or times) take so many values that they are hardly codes."""
        others = self.present - max(self.numbers + self.booleans, self.times)
        return self.many_numbers or len(self.words) - others > _CODES

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        return {
            **{name: getattr(self, name) for name in self._COUNTS},
            "sample": list(self.sample),
            # Infinite before the first number, and JSON has no infinity.
            "range": [self.low, self.high] if self.sample else None,
            "words": [[word, count] for word, count in self.words.items()],
            "many_numbers": self.many_numbers,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ColumnStatistics:
        """The inverse of `to_json`."""
        made = cls()
        for name in cls._COUNTS:
            setattr(made, name, int(data[name]))
        made.sample = [float(value) for value in data["sample"]]
        if data["range"] is not None:
            made.low, made.high = (float(value) for value in data["range"])
        made.words = {str(word): int(count) for word, count in data["words"]}
        made.many_numbers = bool(data["many_numbers"])
        return made

    def _sample(self, number: float) -> None:
        if number < self.low:
            self.low = number
        if number > self.high:
            self.high = number
        if (self.numbers + self.times - 1) % self.stride == 0:
            self.sample.append(number)
            # Every second one goes: what stays is the sample that the longer stride would have taken from the start.
            if len(self.sample) == _SAMPLE:
                self.sample, self.stride = self.sample[::2], 2 * self.stride

    def _count(self, word: str) -> None:
        self.words[word] = self.words.get(word, 0) + 1
        if len(self.words) <= _WORDS:
            return
        self.many_numbers = self.many_numbers or self.numbers + self.times > self.texts
        # The rarest half is forgotten, since memory must stay bounded in a column where every word is new. Among equals
        # the older ones stay, so that the order of the rows alone decides.
        kept = sorted(self.words.items(), key=lambda item: -item[1])[: _WORDS // 2]
        self.words = dict(kept)


LARGEST = 1e18  # float32 still holds its square
_EXTREME = 1e300  # twice this is still a double: differences of two such numbers stay finite
_PERIODS = ("hour", "weekday", "yearday")
_DECADES = 1e4  # between the 5th and the 95th percentile of |v|: more is read on a logarithmic scale
_ROUNDING = 1e-12  # variation below this share of the value is rounding, not signal


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
        return ColumnInputs(
            name, kind, flag, offset=seen.low, factor=1.0 / span if span > 0 else 1.0, fill=fill
        )
    offset, factor, log = _scale(sample, max(seen.low, -_EXTREME), min(seen.high, _EXTREME))
    return ColumnInputs(name, kind, flag, offset, factor, log, fill)


def _scale(sample: np.ndarray, low: float, high: float) -> tuple[float, float, bool]:
    """Offset, factor and whether to take the logarithm; (0, 1, False) wherever float32 copes."""
    sizes = np.sort(np.abs(sample[sample != 0.0]))
    if len(sizes) >= 20:  # fewer have no 5th percentile
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
