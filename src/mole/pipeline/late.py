"""Targets that become known later than their rows: some rows later, or some time later by a column of times."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mole.estimators.late import MOST_PENDING
from mole.rows.values import MISSING, NUMBER, TIME, read_value, seconds_of

__all__ = ["LabelDelay", "LateTargets", "delay_from"]

_UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|min|h|d|w)")
_MICROSECONDS = 1_000_000  # as whole numbers, in which a time plus a delay equals the later time exactly


class LabelDelay(NamedTuple):
    """How much later a target becomes known than its row.

    Attributes:
        rows: that many rows later; 0 if by time, or at once.
        seconds: so much later; 0 if by rows.
    """

    rows: int = 0
    seconds: float = 0.0


def delay_from(text: str) -> LabelDelay:
    """``24`` is rows; ``90s``, ``30min``, ``24h``, ``7d``, ``2w`` (and ``ms``) is time.

    Raises:
        ValueError: for anything else.
    """
    text = text.strip()
    if (found := _DURATION.fullmatch(text)) and float(found[1]) > 0:
        return LabelDelay(seconds=float(found[1]) * _UNITS[found[2]])
    if text.isdecimal() and int(text) <= MOST_PENDING:
        return LabelDelay(int(text))
    raise ValueError(
        f"got --label-delay {text}, expected 0 to {MOST_PENDING:,} rows, or a time such as 90s, 30min, 24h or 7d"
    )


class LateTargets:
    """The targets that are not known yet, in the order of their rows; each is known no earlier than those before it.

    Args:
        delay: how much later they come.
        clock: column of times, or of seconds as numbers; the first column with a time if None.

    Attributes:
        forgotten: targets that waited for too many rows (`mole.estimators.late.MOST_PENDING`), and are never learned.
    """

    def __init__(self, delay: LabelDelay, clock: str | None) -> None:
        """Nothing waits."""
        self._delay, self._clock = delay, clock
        self._waiting: collections.deque[tuple[int, Any, int]] = (
            collections.deque()
        )  # row, target, when it is known
        self._now = 0
        self.forgotten = 0

    def __bool__(self) -> bool:
        """Whether targets come late at all."""
        return bool(self._delay.rows or self._delay.seconds)

    def due(self, row: int, values: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
        """The targets that became known before a row, each with its own row.

        Raises:
            ValueError: if there is no column of times to tell.
        """
        self._now = self._moment(row, values)
        while self._waiting and self._waiting[0][2] <= self._now:
            yield self._waiting.popleft()[:2]

    def wait(self, row: int, target: Any) -> None:
        """Keep the target of the row that was last asked about."""
        later = self._delay.rows or round(self._delay.seconds * _MICROSECONDS)
        self._waiting.append((row, target, self._now + later))
        if len(self._waiting) > MOST_PENDING:  # the estimator forgets its row just so
            self._waiting.popleft()
            self.forgotten += 1

    def _moment(self, row: int, values: Mapping[str, Any]) -> int:
        if not self._delay.seconds:
            return row
        if self._clock is None:
            self._clock = next((name for name in values if _kind(values[name])[0] == TIME), None)
            if self._clock is None:
                raise ValueError(
                    f"row {row} has no time among {', '.join(map(str, values))[:200]}, expected one since the targets "
                    "come a time later: name the column with --clock, say how times are written with --date-format, "
                    "or give --label-delay in rows"
                )
        kind, content = _kind(values.get(self._clock))
        if kind not in (TIME, NUMBER):
            return self._now  # a row without a time has that of the row before
        return round((content if kind == NUMBER else seconds_of(content)) * _MICROSECONDS)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        rows = {"late": [entry[:2] for entry in self._waiting]}
        if not self._delay.seconds:
            return rows if self._waiting else {}
        known = {"known": [entry[2] for entry in self._waiting], "now": self._now, "clock": self._clock}
        return {**rows, **known, "forgotten": self.forgotten}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where `to_json` was taken."""
        entries = [(int(row), target) for row, target in data.get("late", [])]
        known = data.get("known", [row + self._delay.rows for row, _ in entries])
        self._waiting.extend((*entry, int(when)) for entry, when in zip(entries, known, strict=True))
        self._now, self.forgotten = int(data.get("now", 0)), int(data.get("forgotten", 0))
        self._clock = data.get("clock", self._clock)


def _kind(value: Any) -> tuple[str, Any]:
    try:
        return read_value(value)
    except TypeError:  # a list or an object: a bad row, whatever its time
        return MISSING, None
