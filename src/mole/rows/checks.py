"""Which rows a learner may see: everything else is told with a reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mole.rows.encoding import RowEncoder
from mole.rows.values import BOOLEAN, MISSING, NUMBER, ReadRow, label, read_value

__all__ = ["Checked", "RowChecks"]

_HUGE = 1e18  # float32 still holds its square
_JUMP = 1e6  # times the largest target so far
_SETTLED = 30  # values of a column, or targets, before one is judged by the others
_LABELS = 100
_SHOWN = 40


class Checked(NamedTuple):
    """One row after its checks.

    Attributes:
        x: the inputs as they were read; None if nothing can be predicted from the row.
        y: the target; None if nothing can be learned from it.
        problem: kind of problem, a fixed text; empty if there is none.
        detail: what exactly is wrong.
    """

    x: ReadRow | None
    y: float | int | str | None
    problem: str = ""
    detail: str = ""


class RowChecks:
    """Judges rows by what the columns held so far.

    Args:
        target: column to predict.
        features: columns to predict it from; all others if None.
        classify: whether the target is a label.
    """

    def __init__(self, target: str, features: Sequence[str] | None, *, classify: bool) -> None:
        """See the class."""
        self.target, self.features, self.classify = target, features, classify
        self.seen = RowEncoder()
        self.targets, self.largest = 0, 0.0
        self.labels: set[str] = set()

    def check(self, values: Mapping[str, Any]) -> Checked:
        """Read one row; a row that passes is remembered."""
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
        if not known:
            return Checked(None, None, "no input", "has no value in any of its inputs")
        self.seen.observe(x)
        given = values.get(self.target)
        try:
            kind, content = read_value(given)
        except TypeError as error:
            return Checked(x, None, "target is no single value", f"target {self.target!r}: {error}")
        if kind == MISSING:
            return Checked(x, None, "no target", f"has no target {self.target!r}")
        return self._label(x, kind, content) if self.classify else self._number(x, kind, content)

    def _wrong_input(self, name: str, kind: str, content: Any) -> Checked | None:
        if kind in (NUMBER, BOOLEAN):
            if -_HUGE <= content <= _HUGE:
                return None
            if math.isinf(content):
                return Checked(None, None, "infinite input", f"column {name!r} is infinite")
            return Checked(None, None, "huge input", f"column {name!r} is {content:g}, beyond {_HUGE:g}")
        column = self.seen.columns.get(name)
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
        limit = min(_HUGE, _JUMP * self.largest) if self.targets >= _SETTLED and self.largest else _HUGE
        if size > limit:
            return Checked(x, None, "huge target", f"target {self.target!r} is {y:g}, beyond {limit:g}")
        self.targets, self.largest = self.targets + 1, max(self.largest, size)
        return Checked(x, y)

    def _label(self, x: ReadRow, kind: str, content: Any) -> Checked:
        # a bool would be the same key of a dict as 0 or 1
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
        """What was learned about the columns, as plain JSON data."""
        return {
            "seen": self.seen.to_json(),
            "targets": self.targets,
            "largest": self.largest,
            "labels": sorted(self.labels),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where `to_json` was taken."""
        self.seen = RowEncoder.from_json(data["seen"])
        self.targets, self.largest = int(data["targets"]), float(data["largest"])
        self.labels = set(data["labels"])
