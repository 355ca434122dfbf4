"""What is known of one column after some rows: counts, a sample of its numbers, its most frequent words.

The statistics are bounded in memory, exact in their counts and plain JSON.
"""

from __future__ import annotations

import math
from typing import Any

from mole.rows.values import BOOLEAN, MISSING, NUMBER, TIME, label, seconds_of

__all__ = ["CATEGORY", "EMPTY", "ColumnStatistics"]

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
        sample: numbers; of times, seconds since 1970 (UTC). Where both occur, of the kind that is more frequent.
        low, high: smallest and largest of these numbers (or times); infinite before the first.
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
            self._sample(kind, content if kind == NUMBER else seconds_of(content))
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

    def _sample(self, kind: str, number: float) -> None:
        # Numbers and times have no common scale: a single 0 among dates would be one of 1970. The kind that is more
        # frequent so far has the sample, and begins it anew where it overtakes the other.
        mine, others = (self.numbers, self.times) if kind == NUMBER else (self.times, self.numbers)
        if mine <= others:
            return
        if others and mine == others + 1:
            self.sample, self.stride, self.low, self.high = [], 1, math.inf, -math.inf
        if number < self.low:
            self.low = number
        if number > self.high:
            self.high = number
        if (mine - 1) % self.stride == 0:
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
