"""The checks of a row before a learner sees it. A row that fails gets a reason.

One refused row must not spoil what later rows are compared with: only rows that pass change the statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mole.rows.encoding import RowEncoder
from mole.rows.values import BOOLEAN, MISSING, NUMBER, TIME, ReadRow, label, read_value

__all__ = ["Checked", "RowChecks"]

_HUGE = 1e18  # float32 still holds its square
_JUMP = 1e6  # times the largest target so far
_SETTLED = 30  # values of a column, or targets, before one is judged by the others
_LABELS = 100  # a target with more is probably a quantity, or a name for every row
_SHOWN = 40  # characters of a bad value in its reason


class Checked(NamedTuple):
    """One row after its checks.

    Attributes:
        x: the inputs as they were read; None if nothing can be predicted from the row.
        y: the target: a float for a regression, a label for a classification; None if nothing can be learned from it.
        problem: kind of problem, one of the fixed texts in docs/stream-columns.md; empty if there is none.
        detail: what exactly is wrong, with the column and its value.
    """

    x: ReadRow | None
    y: float | int | str | None
    problem: str = ""
    detail: str = ""


class RowChecks:
    """Checks rows against what the columns held so far. The same rows in the same order give the same results.

    Args:
        target: column to predict.
        features: columns to predict it from; all others if None.
        classify: whether the target is a label.
        series: whether the target is predicted from its own past: then a row needs no inputs, and one without a target
            is a request for a forecast.

    Attributes:
        seen: statistics of the input columns, from the rows that passed.
        targets: targets that passed.
        largest: largest absolute value among them (regression).
        labels: their labels, as text (classification).
    """

    def __init__(
        self, target: str, features: Sequence[str] | None, *, classify: bool, series: bool = False
    ) -> None:
        """See the class."""
        self.series = series
        self.target, self.features, self.classify = target, features, classify
        self.seen = RowEncoder()
        self.targets, self.largest = 0, 0.0
        self.labels: set[str] = set()

    def check(self, values: Mapping[str, Any]) -> Checked:
        """Read one row, and add its inputs to the statistics unless one of them is wrong.

        Args:
            values: column → raw value, as `mole.rows.values.read_value` takes it.
        """
        names = (
            self.features if self.features is not None else [name for name in values if name != self.target]
        )
        x, known = ReadRow(), False
        for name in names:
            try:
                kind, content = read_value(values.get(name))
            except TypeError as error:
                return Checked(None, None, "no single value", f"column {name!r}: {error}")
            if kind == MISSING:
                x.holes = True
            elif wrong := self._wrong_input(name, kind, content):
                return wrong
            else:
                known = True
            x.put(name, kind, content)
        if not known and not self.series:
            return Checked(None, None, "no input", "has no value in any of its inputs")
        # The inputs count even if the target turns out to be wrong: the row is predicted all the same.
        self.seen.observe(x)
        given = values.get(self.target)
        try:
            kind, content = read_value(given)
        except TypeError as error:
            return Checked(x, None, "target is no single value", f"target {self.target!r}: {error}")
        if kind == MISSING and self.series:
            return Checked(x, None)
        if kind == MISSING:
            return Checked(x, None, "no target", f"has no target {self.target!r}")
        return self._label(x, kind, content) if self.classify else self._number(x, kind, content)

    def _wrong_input(self, name: str, kind: str, content: Any) -> Checked | None:
        column = self.seen.columns.get(name)
        # Among very many times anything else is a slip too, and a 0 in the place of a time the more.
        if (
            kind != TIME
            and column is not None
            and column.times >= _SETTLED
            and column.kind == TIME
            and column.many
        ):
            shown = label(kind, content)[:_SHOWN]
            return Checked(
                None, None, "no time in a time column", f"column {name!r} is {shown!r}, expected a time"
            )
        if kind in (NUMBER, BOOLEAN):
            if -_HUGE <= content <= _HUGE:
                return None
            if math.isinf(content):
                return Checked(None, None, "infinite input", f"column {name!r} is infinite")
            return Checked(None, None, "huge input", f"column {name!r} is {content:g}, beyond {_HUGE:g}")
        # A word among very many different numbers is a slip; among few it may be one more code.
        if column is None or column.numbers < _SETTLED or column.kind != NUMBER or not column.many:
            return None
        shown = label(kind, content)[:_SHOWN]
        return Checked(
            None, None, "text in a number column", f"column {name!r} is {shown!r}, expected a number"
        )

    def _number(self, x: ReadRow, kind: str, content: Any) -> Checked:
        if kind not in (NUMBER, BOOLEAN):
            shown = label(kind, content)[:_SHOWN]
            return Checked(
                x, None, "target is no number", f"target {self.target!r} is {shown!r}, expected a number"
            )
        y = float(content)
        if not math.isfinite(y):
            return Checked(x, None, "infinite target", f"target {self.target!r} is infinite")
        size = abs(y)
        # Targets that were all zero give no scale to compare with.
        limit = min(_HUGE, _JUMP * self.largest) if self.targets >= _SETTLED and self.largest else _HUGE
        if size > limit:
            return Checked(x, None, "huge target", f"target {self.target!r} is {y:g}, beyond {limit:g}")
        self.targets, self.largest = self.targets + 1, max(self.largest, size)
        return Checked(x, y)

    def _label(self, x: ReadRow, kind: str, content: Any) -> Checked:
        # A bool becomes text: as a key of a dict True would be the same label as 1. Above 2**53 a float no longer holds
        # every whole number, so that an int made from it would claim digits that were not in the data.
        whole = kind == NUMBER and float(content).is_integer() and abs(content) < 2**53
        y = int(content) if whole else label(kind, content)
        if str(y) not in self.labels and len(self.labels) >= _LABELS:
            return Checked(
                x,
                None,
                "too many labels",
                f"target {self.target!r} is {str(y)[:_SHOWN]!r}, label {_LABELS + 1}",
            )
        self.labels.add(str(y))
        self.targets += 1
        return Checked(x, y)

    def to_json(self) -> dict[str, Any]:
        """The statistics of the columns and of the target, as plain JSON data."""
        return {
            "seen": self.seen.to_json(),
            "targets": self.targets,
            "largest": self.largest,
            "labels": sorted(self.labels),  # a set has another order in every process; the file must not
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where `to_json` was taken."""
        self.seen = RowEncoder.from_json(data["seen"])
        self.targets, self.largest = int(data["targets"]), float(data["largest"])
        self.labels = set(data["labels"])
