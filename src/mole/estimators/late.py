"""Rows whose labels come late: kept by the caller's id until then, with the forecast that was made of each."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["MOST_PENDING", "Pending", "PendingRow", "row_from", "row_json"]

MOST_PENDING = 10_000
"""Rows that wait for their labels at most; the oldest are forgotten first, since some labels never come."""

Id = int | str


class PendingRow(NamedTuple):
    """A row that waits for its label.

    Attributes:
        x: the row, as files keep it.
        mean, scale: of the forecast that was made of it, one number per output in the target's unit; None if nothing
            was known. Intervals are corrected by how this forecast missed, and not by a newer one.
    """

    x: Any
    mean: list[float] | None
    scale: list[float] | None


class Pending:
    """The rows that wait, oldest first.

    Args:
        owner: name of the estimator, for errors.
    """

    def __init__(self, owner: str) -> None:
        """No row waits."""
        self._owner = owner
        self._rows: collections.OrderedDict[Id, PendingRow] = collections.OrderedDict()

    def __len__(self) -> int:
        """Rows that wait."""
        return len(self._rows)

    def put(self, name: Any, row: PendingRow) -> int:
        """Keep a row until its label comes.

        Returns:
            How many older rows were forgotten for it.

        Raises:
            TypeError: for an id that is no text and no whole number.
            ValueError: for an id that waits already.
        """
        name = self._checked(name)
        if name in self._rows:
            raise ValueError(
                f"{self._owner} got the id {name!r} for a second row; expected another one, as long as the first waits "
                "for its label."
            )
        self._rows[name] = row
        if len(self._rows) > MOST_PENDING:
            self._rows.popitem(last=False)
            return 1
        return 0

    def get(self, name: Any) -> PendingRow:
        """The row of an id; it waits until `drop`.

        Raises:
            KeyError: if no such row waits.
        """
        name = self._checked(name)
        if name not in self._rows:
            raise KeyError(
                f"{self._owner} knows no row {name!r} that waits for its label ({len(self._rows)} do); expected an id "
                f"given to predict_one and not yet learned. Only the newest {MOST_PENDING:,} are kept. Nothing was "
                "learned."
            )
        return self._rows[name]

    def drop(self, name: Id) -> None:
        """The label of this row has come."""
        del self._rows[name]

    def to_json(self) -> list[Any]:
        """Everything as plain JSON data."""
        return [[name, row_json(row.x), row.mean, row.scale] for name, row in self._rows.items()]

    def restore(self, data: Any) -> None:
        """Go on where `to_json` was taken.

        Raises:
            ValueError: if the data is damaged.
        """
        for name, x, mean, scale in data:
            row = row_from(x)
            if not isinstance(row, np.ndarray | Mapping):
                raise ValueError(f"got {x!r:.80} as a row that waits; expected numbers or columns")  # noqa: TRY004
            self.put(name, PendingRow(row, mean, scale))

    def _checked(self, name: Any) -> Id:
        name = name.item() if isinstance(name, np.generic) else name
        if isinstance(name, bool) or not isinstance(name, int | str):
            raise TypeError(
                f"{self._owner} got the id {name!r:.80} of type {type(name).__name__}; expected text or a whole number."
            )
        return name


def row_json(row: Any) -> Any:
    """A vector as JSON, which has neither NaN nor infinity: None, and the words inf and -inf; a dict as it is."""
    if not isinstance(row, np.ndarray):
        return row
    return [
        value if math.isfinite(value) else None if math.isnan(value) else str(value) for value in row.tolist()
    ]


def row_from(row: Any) -> Any:
    """The inverse of `row_json`."""
    if not isinstance(row, list):
        return row
    return np.asarray([np.nan if value is None else float(value) for value in row], float)
