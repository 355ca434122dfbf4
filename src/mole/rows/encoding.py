"""Rows of a table, or plain vectors, as finite float32 inputs of fixed length.

encoder = RowEncoder()
for row in first_rows:              # {"temperature": 21.5, "colour": "red", "at": "2026-01-31T12:00"}
    encoder.observe(row)
schema = encoder.schema()
x = schema.encode(row)              # [dx] float32

It knows no learner: the estimators and the command line build on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mole.rows.columns import LARGEST, ColumnInputs, column_inputs
from mole.rows.statistics import EMPTY, ColumnStatistics
from mole.rows.values import MISSING, NUMBER, ReadRow, as_row, read_value

__all__ = ["ColumnInputs", "ColumnStatistics", "RowEncoder", "Schema"]

_FORMAT = "mole-schema/1"
_ENCODER_FORMAT = "mole-row-encoder/1"


class Schema:
    """How rows become vectors; made by `RowEncoder.schema`, and never changed afterwards.

    A number stays as it is (the learner scales it), unless float32 would lose it: see `ColumnInputs`. The column's
    median replaces a missing number. A column that had missing values has one more input, 0 or 1, which says whether
    the value is missing. A category is one-hot, with one input for all words that are rare or unseen. A time becomes
    seven inputs: the time elapsed since the earliest one seen, in units of the span seen, and sine and cosine of the
    hour of the day, the day of the week and the day of the year.

    Attributes:
        columns: one `ColumnInputs` per column, in the order in which they were first seen.
        names: of the dx inputs.
        sources: the column that each of the dx inputs comes from.
        size: dx.
        growing: places of the inputs that are a time or a counter: later values are beyond all that were seen.
        known: names of the columns.
        required: of those that every row had with a value.
    """

    def __init__(self, columns: Sequence[ColumnInputs]) -> None:
        """Use `RowEncoder.schema` or `Schema.from_json`."""
        self.columns = tuple(columns)
        self.names = tuple(name for column in self.columns for name in column.names)
        self.sources = tuple(column.name for column in self.columns for _ in column.names)
        self.size = len(self.names)
        # Of a time, the first input alone grows; the others are waves.
        first = [(c, place == 0) for c in self.columns for place, _ in enumerate(c.names)]
        self.growing = tuple(place for place, (c, is_first) in enumerate(first) if c.grows and is_first)
        self.known = frozenset(column.name for column in self.columns)
        self.required = frozenset(c.name for c in self.columns if not c.flag and c.kind != EMPTY)

    def encode(self, row: Any) -> np.ndarray:
        """One row as a vector ``[dx]`` float32, always finite.

        Args:
            row: a mapping, or a sequence (columns x0, x1, …). Columns that the schema does not know are left out;
                known ones that the row lacks are missing values.

        Raises:
            TypeError: if a known column holds something that is no single value.
        """
        # The usual row of the estimators: whole-array operations, where the loop below asks every column for its kind.
        if isinstance(row, np.ndarray) and row.dtype.kind in "fiu" and (medians := self._plain) is not None:
            return self._encode_numbers(row, medians)
        row = as_row(row)
        # A row that was read on its way in must not be read again: that costs more than the encoding.
        kinds = row.kinds if isinstance(row, ReadRow) else None
        found: list[float] = []
        for column in self.columns:
            name = column.name
            if kinds is not None:
                found += column.inputs(kinds.get(name, MISSING), row.get(name))
                continue
            try:
                found += column.inputs(*read_value(row.get(name)))
            except TypeError as error:
                raise TypeError(f"column {name!r}: {error}") from error
        return np.array(found, np.float32)

    @cached_property
    def _plain(self) -> np.ndarray | None:
        """The medians, if every column is an ordinary number without a flag, called x0, x1, …"""
        ordinary = all(
            (column.name, column.kind, column.flag, column.offset, column.factor, column.log)
            == (f"x{place}", NUMBER, False, 0.0, 1.0, False)
            for place, column in enumerate(self.columns)
        )
        return np.array([column.fill for column in self.columns]) if ordinary else None

    def _encode_numbers(self, row: np.ndarray, medians: np.ndarray) -> np.ndarray:
        """To the bit what the loop of `encode` gives, for an array of ordinary numbers."""
        if row.ndim != 1:
            as_row(row)  # says what is wrong
        values = np.full(self.size, np.nan)
        values[: len(row)] = row[: self.size]
        holes = ~np.isfinite(values)
        values[holes] = medians[holes]
        # Clipped in double: the cast to float32 would make infinity of larger numbers.
        return np.clip(values, -LARGEST, LARGEST).astype(np.float32)

    @cached_property
    def ranges(self) -> list[tuple[float, float]] | None:
        """The range of every input, if all columns are numbers called x0, x1, …, none of which may be missing."""
        ends = []
        for place, column in enumerate(self.columns):
            if column.name != f"x{place}" or column.kind != NUMBER or column.flag:
                return None
            free = column.grows or column.low is None or column.high is None
            ends.append((-math.inf, math.inf) if free else (column.low, column.high))
        return ends

    def __eq__(self, other: object) -> bool:
        """The same columns, encoded alike."""
        return isinstance(other, Schema) and self.columns == other.columns

    def __hash__(self) -> int:
        """Equal schemas have equal hashes."""
        return hash(self.columns)

    def __repr__(self) -> str:
        """Columns with their kinds."""
        return f"Schema({', '.join(f'{column.name}: {column.kind}' for column in self.columns)})"

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        columns = [
            {**{name: getattr(column, name) for name in _FIELDS}, "categories": list(column.categories)}
            for column in self.columns
        ]
        return {"format": _FORMAT, "columns": columns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """The inverse of `to_json`.

        Raises:
            ValueError: if the data is not that of a schema.
        """
        _check_format(data, _FORMAT, "a schema")
        # The data may come from a stranger's file: whatever is wrong with it is a ValueError, told before it is used.
        try:
            columns = [
                ColumnInputs(**{**column, "categories": tuple(column["categories"])})
                for column in data["columns"]
            ]
        except (KeyError, TypeError) as error:
            raise ValueError(f"the schema is damaged ({error}); make it again from the rows") from error
        numbers = {c.name: (c.offset, c.factor, c.fill, c.low or 0.0, c.high or 0.0) for c in columns}
        wrong = [
            name for name, found in numbers.items() if not all(map(math.isfinite, found)) or found[1] <= 0
        ]
        if wrong:
            raise ValueError(f"the schema has numbers that are not finite in {wrong}; make it again")
        return cls(columns)


_FIELDS = ("name", "kind", "flag", "offset", "factor", "log", "fill", "low", "high", "grows")


class RowEncoder:
    """Observes rows and makes a `Schema` from them. Memory is bounded, and the same rows give the same schema.

    Args:
        most_categories: words of one column that get an input of their own at most, the most frequent first. A word
            that was seen once never gets one.
        most_columns: columns that are observed at most. The values of further columns are counted in ``ignored``.

    Attributes:
        rows: rows observed.
        columns: name → `ColumnStatistics`, which also counts missing and infinite values.
        ignored: values in columns beyond ``most_columns``.

    Raises:
        ValueError: for a limit below 1.
    """

    def __init__(self, *, most_categories: int = 32, most_columns: int = 1000) -> None:
        """See the class."""
        if most_categories < 1 or most_columns < 1:
            raise ValueError(
                f"RowEncoder got most_categories={most_categories}, most_columns={most_columns}; expected at least 1"
            )
        self.most_categories, self.most_columns = most_categories, most_columns
        self.rows = self.ignored = 0
        self.columns: dict[str, ColumnStatistics] = {}

    def observe(self, row: Any) -> None:
        """Add one row to the statistics: a mapping, or a sequence (columns x0, x1, …).

        A column may appear late or disappear. A row that lacks it counts as one with a missing value.

        Raises:
            TypeError: if a value is no single value; the other values are added all the same.
        """
        row = as_row(row)
        for name in row:
            if name not in self.columns:
                if not isinstance(name, str):
                    raise TypeError(f"got a column called {name!r}, expected text; rename it")
                if len(self.columns) >= self.most_columns:
                    self.ignored += 1
                else:
                    self.columns[name] = ColumnStatistics(self.rows)
        self.rows += 1
        # All known columns, not those of the row: one that is not there is missing.
        if isinstance(row, ReadRow):
            for name, column in self.columns.items():
                column.observe(row.kinds.get(name, MISSING), row.get(name))
            return
        wrong: list[str] = []
        for name, column in self.columns.items():
            try:
                column.observe(*read_value(row.get(name)))
            except TypeError as error:
                column.observe(MISSING, None)
                wrong.append(f"column {name!r}: {error}")
        # Only now: every column has as many values as there are rows, whatever one of them was.
        if wrong:
            raise TypeError("; ".join(wrong))

    def schema(self) -> Schema:
        """The description of what was observed so far; later rows do not change it.

        Raises:
            ValueError: if nothing was observed that could be an input.
        """
        made = [column_inputs(name, seen, self.most_categories) for name, seen in self.columns.items()]
        if all(column.kind == EMPTY for column in made):
            raise ValueError(
                f"RowEncoder saw {self.rows} rows and no value in {len(made)} columns; expected at least one: "
                "observe rows first"
            )
        return Schema(made)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        return {
            "format": _ENCODER_FORMAT,
            "most_categories": self.most_categories,
            "most_columns": self.most_columns,
            "rows": self.rows,
            "ignored": self.ignored,
            "columns": [[name, column.to_json()] for name, column in self.columns.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RowEncoder:
        """The inverse of `to_json`; it goes on exactly there.

        Raises:
            ValueError: if the data is not that of an encoder.
        """
        _check_format(data, _ENCODER_FORMAT, "a row encoder")
        try:
            made = cls(most_categories=int(data["most_categories"]), most_columns=int(data["most_columns"]))
            made.rows, made.ignored = int(data["rows"]), int(data["ignored"])
            made.columns = {str(name): ColumnStatistics.from_json(value) for name, value in data["columns"]}
        except (KeyError, TypeError) as error:
            raise ValueError(f"the row encoder is damaged ({error}); observe the rows again") from error
        return made


def _check_format(data: Mapping[str, Any], expected: str, what: str) -> None:
    if data.get("format") != expected:
        raise ValueError(
            f"got data of format {data.get('format')!r}, expected {expected!r}: this is not {what} of this version"
        )
