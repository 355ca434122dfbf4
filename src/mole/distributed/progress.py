"""The amounts of a run, and how far it is: in figures and in one line."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

__all__ = ["Clock", "Limits", "Progress"]


class Limits(NamedTuple):
    """Amounts; see `mole.distributed.run`."""

    batch: int
    max_rows: int
    commit_seconds: float
    patience: float


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        rows: rows read from the source, those of earlier runs on the folder included.
        committed: all rows below this number are committed.
        waiting: rows that were read and are not committed yet.
        rows_per_second: read since this was last said.
        lag: seconds since the oldest row that waits was read.
        keys: keys of all shards.
        shards: shards of each actor; 0 for an actor that is being started.
        losses: how often an actor was lost.
    """

    rows: int
    committed: int
    waiting: int
    rows_per_second: float
    lag: float
    keys: int
    shards: tuple[int, ...]
    losses: int

    def __str__(self) -> str:
        """One line."""
        lost = f", actors lost {self.losses} times" if self.losses else ""
        return (
            f"{self.rows:,} rows, {self.rows_per_second:,.0f} a second, {self.waiting:,} not committed (lag "
            f"{self.lag:.1f} s), {self.keys:,} keys, shards {'+'.join(map(str, self.shards))}{lost}"
        )


class Clock:
    """When which row was read: for the speed and the lag.

    Args:
        rows: read before.
    """

    def __init__(self, rows: int) -> None:
        """See the class."""
        self._marks = deque([(rows, time.monotonic())])

    def mark(self, rows: int, oldest: int) -> tuple[float, float]:
        """Rows a second since the last call, and the age of row ``oldest`` in seconds, to one call exactly."""
        now = time.monotonic()
        before, when = self._marks[-1]
        self._marks.append((rows, now))
        while len(self._marks) > 2 and self._marks[1][0] <= oldest:
            self._marks.popleft()
        return (rows - before) / max(now - when, 1e-9), now - self._marks[0][1] if oldest < rows else 0.0
