"""What other libraries mean: names of columns, a Series as a row, durations, periods and missing times."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np

__all__ = ["column_names", "plain_time", "series_as_row"]

_SHOWN = 5  # names of an error


def column_names(labels: Iterable[Any], owner: str) -> list[str] | None:
    """The names of columns if they are text; None if all are whole numbers, as of a frame made from an array.

    Args:
        labels: what the columns are called.
        owner: what has the columns, for errors.

    Raises:
        ValueError: for two columns of one name, or names that are neither all text nor all whole numbers.
    """
    labels = list(labels)
    try:
        twice = [label for label, count in Counter(labels).items() if count > 1]
    except TypeError:  # a label that cannot be hashed is no name either
        twice = []
    if twice:
        raise ValueError(
            f"got {owner} with several columns called {_shown(twice)}; expected each name once: rename them."
        )
    if all(isinstance(label, str) for label in labels):
        return [str(label) for label in labels]  # NumPy's text is a subclass, and would end up in files
    if all(isinstance(label, Integral) for label in labels):
        return None
    strange = [label for label in labels if not isinstance(label, str)]
    raise ValueError(
        f"got {owner} with columns called {_shown(strange)}; expected text for all of them, or whole numbers for all "
        "of them (then they are places, not names): rename them."
    )


def series_as_row(row: Any) -> Any:
    """A pandas Series as a dict from its index to its values, or as a list if its index is whole numbers.

    Anything else is returned as it is.

    Raises:
        ValueError: for an index of neither, or with a name twice.
    """
    # By its methods: no library of frames has to be imported, and no other sequence of values has keys.
    if not (hasattr(row, "keys") and hasattr(row, "tolist")):
        return row
    names, values = column_names(row.keys(), "a Series"), row.tolist()
    return values if names is None else dict(zip(names, values, strict=True))


def plain_time(value: Any) -> Any:
    """A duration as its seconds, a period of pandas as the time of its start, a missing time as None.

    Anything else is returned as it is.
    """
    if isinstance(value, np.timedelta64):
        return float(
            value / np.timedelta64(1, "s")
        )  # NaN if it is missing; `item` makes an int of nanoseconds
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    # By name, so that pandas need not be imported. To Python a missing time is a datetime.
    name = type(value).__name__
    return None if name == "NaTType" else value.start_time if name == "Period" else value


def _shown(labels: list[Any]) -> str:
    rest = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return ", ".join(repr(label) for label in labels[:_SHOWN]) + rest
