"""What is known of one column after some rows: bounded in memory, exact in its counts, plain JSON."""

from __future__ import annotations

import math
from typing import Any

from mole.streams._values import BOOLEAN, MISSING, NUMBER, TIME, label, read_value, seconds_of

__all__ = ["CATEGORY", "EMPTY", "ColumnStatistics"]

CATEGORY, EMPTY = "category", "empty"

_SAMPLE = 512
_WORDS = 256
_CODES = 16  # numbers that take more values than this are hardly codes
_STRAY = 0.1  # share of words among numbers that are slips rather than categories


class ColumnStatistics:
    """Counts of one column, a sample of its numbers and the most frequent of its words.

    The sample takes every 2^i-th number, with i growing as the column does: the same rows give the same sample.

    Attributes:
        first_row: number of rows that came before the column first had a key.
        numbers, booleans, times, texts: values seen of each kind.
        missing: rows without a value, also those before ``first_row`` and those without the key.
        infinite: numbers that were infinite; they count as missing too.
    """

    _COUNTS = ("first_row", "numbers", "booleans", "times", "texts", "missing", "infinite", "stride")

    def __init__(self, first_row: int = 0) -> None:
        """A column that nobody has seen in the rows before ``first_row``."""
        self.first_row = first_row
        self.missing = first_row
        self.numbers = self.booleans = self.times = self.texts = self.infinite = 0
        self.stride = 1
        self.sample: list[float] = []
        self.low, self.high = math.inf, -math.inf
        self.words: dict[str, int] = {}
        self.many_numbers = False

    def observe(self, value: Any) -> None:
        """Take in one value; None where the row has none."""
        kind, content = read_value(value)
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
        self.low, self.high = min(self.low, number), max(self.high, number)
        if (self.numbers + self.times - 1) % self.stride == 0:
            self.sample.append(number)
            if len(self.sample) == _SAMPLE:
                self.sample, self.stride = self.sample[::2], 2 * self.stride

    def _count(self, word: str) -> None:
        self.words[word] = self.words.get(word, 0) + 1
        if len(self.words) <= _WORDS:
            return
        self.many_numbers = self.many_numbers or self.numbers + self.times > self.texts
        # the rarest half is forgotten; among equals the older ones stay, so that the order of rows alone decides
        kept = sorted(self.words.items(), key=lambda item: -item[1])[: _WORDS // 2]
        self.words = dict(kept)
