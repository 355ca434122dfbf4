"""A run in bounded memory: binned curves, the regimes with their visits, and the bad rows.

A run of any length has at most `BINS` bins: when they are full, neighbours are merged. The digest is plain JSON data,
since checkpoints and reports hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["BINS", "Bin", "Regime", "RunDigest"]

BINS = 480  # an even number: neighbours are merged in pairs
_TASKS, _VISITS, _BAD = 200, 40, 200  # most that are kept; beyond them rows are counted, not listed
_LEAST = 1e-3  # probabilities below it are not kept
_SETTLED = 5  # rows in a row after which a change of task counts as a visit


class Bin:
    """Sums over neighbouring rows.

    Attributes:
        rows: all rows; ``scored``: those with prediction and target.
        loss: sum over the scored rows; ``hits``: rows whose label was right, ``judged``: rows with an interval;
            ``covered``: those inside of it; ``width``: sum of the widths; ``attributed``: rows with a task.
        shares: task → sum of its probability over the rows with a task.
    """

    _SUMS = ("rows", "scored", "loss", "hits", "judged", "covered", "width", "attributed")

    def __init__(self) -> None:
        """Nothing yet."""
        self.rows = self.scored = self.hits = self.judged = self.covered = self.attributed = 0
        self.loss = self.width = 0.0
        self.shares: dict[int, float] = {}

    def merge(self, other: Bin) -> Bin:
        """Add the sums of another bin."""
        for name in self._SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for task, share in other.shares.items():
            self.shares[task] = self.shares.get(task, 0.0) + share
        return self

    def to_json(self) -> list[Any]:
        """As plain JSON data."""
        return [*(getattr(self, name) for name in self._SUMS), [[t, s] for t, s in self.shares.items()]]

    @classmethod
    def from_json(cls, data: list[Any]) -> Bin:
        """The inverse of `to_json`."""
        made = cls()
        for name, value in zip(cls._SUMS, data, strict=False):  # the shares come after the sums
            setattr(made, name, value)
        made.shares = {int(task): float(share) for task, share in data[-1]}
        return made


class Regime:
    """One task: its rows, their summed loss, and its visits.

    Attributes:
        rows: rows that were attributed to it; ``scored``: those with a loss; ``loss``: sum of their losses.
        n_visits: times that it became the current task; 0 if it never lasted.
        visits: [first row, last row] of the first of them.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.rows = self.scored = self.n_visits = 0
        self.loss = 0.0
        self.visits: list[list[int]] = []

    def to_json(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {**vars(self), "visits": [list(visit) for visit in self.visits]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Regime:
        """The inverse of `to_json`."""
        made = cls()
        for name in vars(made):
            setattr(made, name, data[name])
        return made


class RunDigest:
    """Takes in rows one by one.

    Attributes:
        bins: neighbouring rows, ``size`` rows each but for the last.
        total: sums over all rows.
        regimes: task → `Regime`, in the order of appearance.
        bad: kind of problem → rows; ``bad_rows``: the first of them as [row, line, what is wrong].
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.size = 1
        self.bins: list[Bin] = []
        self.total = Bin()
        self.regimes: dict[int, Regime] = {}
        self.bad: dict[str, int] = {}
        self.bad_rows: list[list[Any]] = []
        self._current = -1  # task of the last visit
        self._pending: list[int] = [-1, 0, 0]  # a change that has not lasted yet: task, first row, rows

    @property
    def visited(self) -> dict[int, Regime]:
        """The regimes that lasted. The others were candidates for a few rows."""
        return {task: regime for task, regime in self.regimes.items() if regime.n_visits}

    def add_bad(self, row: int, line: int, problem: str, detail: str) -> None:
        """Count a bad row."""
        self.bad[problem] = self.bad.get(problem, 0) + 1
        if len(self.bad_rows) < _BAD:
            self.bad_rows.append([row, line, detail])

    def add(
        self,
        row: int,
        *,
        task: int | None = None,
        shares: Mapping[int, float] | None = None,
        loss: float | None = None,
        hit: bool = False,
        width: float | None = None,
        covered: bool = False,
    ) -> None:
        """Take in one row, bad ones too.

        Args:
            row: its number.
            task: the task that it was attributed to; None if it was not learned.
            shares: task → its probability; -1 is none of them.
            loss: of the prediction; None without one.
            hit: whether the label was right.
            width: of the interval; None without one.
            covered: whether the target was inside.
        """
        if not self.bins or self.bins[-1].rows >= self.size:
            if len(self.bins) == BINS:
                self.bins = [a.merge(b) for a, b in zip(self.bins[::2], self.bins[1::2], strict=True)]
                self.size *= 2
            self.bins.append(Bin())
        attributed = task is not None and (task in self.regimes or len(self.regimes) < _TASKS)
        kept: dict[int, float] = {}
        if task is not None and attributed:
            self._attribute(row, task, loss)
            kept = {t: p for t, p in (shares or {}).items() if p >= _LEAST and t in self.regimes}
        for sums in (self.bins[-1], self.total):
            sums.rows += 1
            if loss is not None:
                sums.scored, sums.loss, sums.hits = sums.scored + 1, sums.loss + loss, sums.hits + int(hit)
            if width is not None:
                sums.judged, sums.width, sums.covered = (
                    sums.judged + 1,
                    sums.width + width,
                    sums.covered + int(covered),
                )
            sums.attributed += int(attributed)
            for number, share in kept.items():
                sums.shares[number] = sums.shares.get(number, 0.0) + share

    def _attribute(self, row: int, task: int, loss: float | None) -> None:
        regime = self.regimes.setdefault(task, Regime())
        regime.rows += 1
        if loss is not None:
            regime.scored, regime.loss = regime.scored + 1, regime.loss + loss
        # One outlier may lead a candidate for a row or two: a visit begins only when a change has lasted. It begins at
        # the first row of the change all the same.
        if task == self._current:
            self._pending = [-1, 0, 0]
            if regime.n_visits <= _VISITS:
                regime.visits[-1][1] = row
            return
        if self._pending[0] != task:
            self._pending = [task, row, 0]
        self._pending[2] += 1
        if self._pending[2] >= _SETTLED or self._current < 0:
            regime.n_visits += 1
            if regime.n_visits <= _VISITS:
                regime.visits.append([self._pending[1], row])
            self._current, self._pending = task, [-1, 0, 0]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        return {
            "size": self.size,
            "bins": [one.to_json() for one in self.bins],
            "total": self.total.to_json(),
            "regimes": [[task, regime.to_json()] for task, regime in self.regimes.items()],
            "bad": dict(self.bad),
            "bad_rows": [list(row) for row in self.bad_rows],
            "current": self._current,
            "pending": list(self._pending),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunDigest:
        """The inverse of `to_json`; it goes on exactly there."""
        made = cls()
        made.size = int(data["size"])
        made.bins = [Bin.from_json(one) for one in data["bins"]]
        made.total = Bin.from_json(data["total"])
        made.regimes = {int(task): Regime.from_json(one) for task, one in data["regimes"]}
        made.bad, made.bad_rows = dict(data["bad"]), [list(row) for row in data["bad_rows"]]
        made._current, made._pending = int(data["current"]), [int(part) for part in data["pending"]]
        return made
