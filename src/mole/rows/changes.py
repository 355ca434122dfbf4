"""Rows that differ from those before: other columns, new words, numbers out of range, and when to act on them.

A schema is made from the rows so far, and rows change: a sensor is added, a machine gets a new mode, a constant begins
to move. What a row has that the schema cannot say is its news. News that is repeated makes the inputs grow
(`InputChanges`). A row that hardly has a column in common with those before is refused (`check_names`): most likely its
columns were renamed, or their order was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mole.rows.encoding import Schema
from mole.rows.values import MISSING, ReadRow, as_row, read_value

__all__ = ["InputChanges", "News", "check_names", "explained", "news_of"]

News = tuple[str, str]
"""A column, and what is new in it: ``column`` (all of it), ``missing`` (there always was a value), ``kind`` (a value of
another kind), ``range`` (a number far from those seen), ``=word`` (a word without an input of its own), ``matters`` (an
input of a wide row that is not learned from goes with what the forecasts miss)."""

_ENOUGH = 8  # rows with the same news: fewer may be slips, and no weight is learned from them
_AFTER = (32, 128, 512, 2048)  # rows after a change, when there is more to train on with the new inputs
_MOST = 1024  # different news that are counted: in a column of identifiers every word is new
_LISTED = 12  # columns that an error names


def news_of(row: np.ndarray | ReadRow | Mapping[str, Any], schema: Schema) -> list[News]:
    """What a row has that the schema cannot say; most often nothing."""
    if isinstance(row, np.ndarray) and schema.ranges is not None:
        # Python's comparisons: for the few inputs of a usual row they take less time than NumPy's.
        found = zip(row.tolist(), schema.ranges, strict=False)
        return [
            (f"x{k}", "range" if v == v else "missing")  # NaN alone differs from itself
            for k, (v, (low, high)) in enumerate(found)
            if not low <= v <= high
        ]
    row = as_row(row)
    kinds = row.kinds if isinstance(row, ReadRow) else None
    news: list[News] = []
    for column in schema.columns:
        name = column.name
        read = read_value(row.get(name)) if kinds is None else (kinds.get(name, MISSING), row.get(name))
        if what := column.news(*read):
            news.append((name, what))
    if not schema.known >= row.keys():
        others = (name for name in row if name not in schema.known)
        news += [(name, "column") for name in others if kinds is None or kinds[name] != MISSING]
    return news


def check_names(owner: str, row: np.ndarray | ReadRow, schema: Schema) -> None:
    """Refuse a row whose columns are hardly those of the rows before.

    Columns may come and go. But a row that has columns which nobody knows, and lacks more than half of those that every
    row had, is most likely a row of something else; and so is one whose only difference is capitals or spaces.

    Args:
        owner: name of the estimator, for the error.
        row: as `mole.rows.values.read_row` gives it; the columns of a vector are called x0, x1, …
        schema: of the rows before.

    Raises:
        ValueError: with both lists of names.
    """
    if isinstance(row, ReadRow):
        names = row.keys()
        if schema.required <= names:
            return
    else:
        # The usual vector, after vectors.
        if "x0" in schema.known or not schema.known:
            return
        names = {f"x{place}": None for place in range(len(row))}.keys()
    unknown = [name for name in names if name not in schema.known]
    lacking = schema.required - names
    alike = {_plain(name) for name in unknown} & {_plain(name) for name in schema.known - names}
    if unknown and (2 * len(lacking) > len(schema.required) or alike):
        before = [column.name for column in schema.columns]
        what = (
            "columns" if isinstance(row, ReadRow) and "x0" not in names else "values without names, that is"
        )
        raise ValueError(
            f"{owner} got a row with the {what} {_listed(names)}; expected {_listed(before)}, as in the rows before. "
            "Nothing was learned; rename the columns, or begin a new estimator for other rows."
        )


def _plain(name: str) -> str:
    return name.strip().casefold()


def _listed(names: Any) -> str:
    shown = [repr(name) for name in names][:_LISTED]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


class InputChanges:
    """Counts the news of rows, and says when the inputs have to be made anew.

    The number of times is bounded: after each the next change waits for twice as many rows, until a whole memory has
    passed without one.

    Attributes:
        counts: news → rows that had it since the inputs were made.
        changed: pairs that were learned when the inputs last changed; None if they never did.
        wait: rows that have to pass between two changes.
    """

    def __init__(self) -> None:
        """Nothing has changed."""
        self.counts: dict[News, int] = {}
        self.changed: int | None = None
        self.looked = 0
        self.wait = _ENOUGH

    def add(self, news: list[News]) -> None:
        """Count what one row had."""
        for item in news:
            self.counts[item] = self.counts.get(item, 0) + 1
        if len(self.counts) > _MOST:
            frequent = sorted(self.counts, key=lambda item: -self.counts[item])[: _MOST // 2]
            self.counts = {item: self.counts[item] for item in frequent}

    def pressing(self, pairs: int, memory: int) -> list[News]:
        """The news that so many rows had that the inputs may have to change now, after so many pairs."""
        if pairs - self.looked < self.wait:
            return []
        found = [item for item, count in self.counts.items() if count >= _ENOUGH]
        if found:
            # Whatever is found when it is looked into: to look costs as much as the kept rows take to read.
            quiet = pairs - self.looked > memory
            self.looked, self.wait = pairs, 2 * _ENOUGH if quiet else min(2 * self.wait, memory)
            for item in found:
                del self.counts[item]
        return found

    def renew(self, pairs: int) -> None:
        """The inputs were made anew, since they had changed."""
        self.changed = pairs

    def follow_up(self, pairs: int) -> bool:
        """Whether by now there is so much more to train on with the changed inputs that it is worth doing."""
        return self.changed is not None and pairs - self.changed in _AFTER

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        counts = [[*item, count] for item, count in self.counts.items()]
        return {"counts": counts, "changed": self.changed, "looked": self.looked, "wait": self.wait}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InputChanges:
        """The inverse of `to_json`."""
        made = cls()
        made.counts = {(str(column), str(what)): int(count) for column, what, count in data["counts"]}
        made.changed = None if data["changed"] is None else int(data["changed"])
        made.looked, made.wait = int(data["looked"]), int(data["wait"])
        return made


def explained(item: News, before: Schema, after: Schema) -> bool:
    """Whether the newer schema says what was news to the one before.

    Not always: words beyond the most frequent ones, and a few slips in a column of numbers, never get an input.
    """
    name, what = item
    if what == "matters":  # the inputs are chosen anew then
        return True
    old, new = ({c.name: c for c in schema.columns}.get(name) for schema in (before, after))
    if new is None or not new.names:
        return False
    if old is None or what == "missing":
        return old is None or new.flag
    if what.startswith("="):
        return what[1:] in new.categories
    if what == "range":
        ends = (old.low, old.high, new.low, new.high)
        return None in ends or new.low < old.low or new.high > old.high  # pyright: ignore[reportOperatorIssue]
    return new.kind != old.kind
