"""What one raw value of a row is: a number, a yes or no, a point in time, a word, or nothing."""

from __future__ import annotations

import datetime
import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

__all__ = [
    "BOOLEAN",
    "MISSING",
    "NUMBER",
    "TEXT",
    "TIME",
    "as_row",
    "fits",
    "has_holes",
    "kept_row",
    "label",
    "read_value",
    "seconds_of",
    "shown",
]

MISSING, NUMBER, BOOLEAN, TIME, TEXT = "missing", "number", "boolean", "time", "text"

_ABSENT = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})
_TRUTH = {"true": True, "false": False}
# dates without dashes (20240131) would swallow plain numbers, so they stay numbers
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$")
_LONGEST = 80
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def read_value(value: Any) -> tuple[str, Any]:
    """Kind and content of one value.

    Args:
        value: None, a number (also of NumPy, Decimal, Fraction), a bool, a date or datetime, or text. Text that is a
            number, ``true``/``false`` or an ISO date is read as such; ``""``, ``NA``, ``N/A``, ``NaN``, ``null`` and
            ``None`` are missing, and so is a number that is NaN.

    Returns:
        ``(MISSING, None)``, ``(NUMBER, float)`` (which may be infinite), ``(BOOLEAN, bool)``, ``(TIME, datetime)``
        or ``(TEXT, str)``.

    Raises:
        TypeError: for anything else, such as a list or an object.
    """
    if type(value) is float or type(value) is int:
        return _number(value)
    if isinstance(value, str):
        return _text(value.strip())
    if isinstance(value, np.datetime64):
        # microseconds are all that a datetime holds; nanoseconds would come back as an int
        value = value.astype("datetime64[us]").item()
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas writes "missing" so
        return MISSING, None
    if isinstance(value, bool):
        return BOOLEAN, value
    if isinstance(value, Real | Decimal):
        return _number(value)
    if isinstance(value, str):
        return _text(value.strip())
    if isinstance(value, dt.datetime):
        return TIME, value
    if isinstance(value, dt.date):
        return TIME, dt.datetime(value.year, value.month, value.day)
    raise TypeError(
        f"got a {type(value).__name__} as one value, expected a number, text, a bool, a datetime or None; "
        "spread what is nested over columns of its own"
    )


def seconds_of(when: dt.datetime) -> float:
    """Seconds since 1970 in UTC; a time without a zone is taken as UTC."""
    aware = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH).total_seconds()


def label(kind: str, content: Any) -> str:
    """The name of a value as a category: 1, 1.0 and "1" are the same one. Long words are cut."""
    if kind == NUMBER:
        return f"{content:.12g}"
    if kind == BOOLEAN:
        return "true" if content else "false"
    return content.isoformat() if kind == TIME else content[:_LONGEST]


def _number(value: Any) -> tuple[str, Any]:
    try:
        number = float(value)
    except OverflowError:  # an int beyond the range of floats
        number = math.inf if value > 0 else -math.inf
    return (NUMBER, number) if number == number else (MISSING, None)


def _text(text: str) -> tuple[str, Any]:
    if text in _ABSENT:
        return MISSING, None
    if text[0] in "0123456789+-.iIN" and "_" not in text:
        if len(text) >= 10 and _ISO.match(text):
            try:
                return TIME, dt.datetime.fromisoformat(text)
            except ValueError:  # such as 2024-02-31: a word like any other
                return TEXT, text
        try:
            return _number(float(text))
        except ValueError:
            return TEXT, text
    truth = _TRUTH.get(text.lower())
    return (TEXT, text) if truth is None else (BOOLEAN, truth)


# Rows as an estimator keeps them: vectors of floats, or dicts of values that JSON can hold.


def as_row(row: Any) -> Mapping[str, Any]:
    """A row as a mapping from column name to value.

    Args:
        row: a mapping; or a sequence or 1-D array, whose columns are called x0, x1, …; or one number.

    Raises:
        TypeError: for text, or an array of more than one dimension.
    """
    if isinstance(row, Mapping):
        return row
    if isinstance(row, str | bytes):
        raise TypeError(f"got the text {row[:40]!r} as a row, expected a dict or a sequence of values")
    if isinstance(row, Sequence):
        values: Any = row
    else:
        values = np.atleast_1d(np.asarray(row))
        if values.ndim != 1:
            raise TypeError(
                f"got an array of shape {values.shape} as one row, expected [dx]; pass its rows one by one"
            )
    return {f"x{place}": value for place, value in enumerate(values)}


_MOST = float(np.finfo(np.float32).max)
_SHORT = 32


def kept_row(x: Any, length: int | None, name: str) -> Any:
    """A row as it is kept: a vector of floats, or a dict of plain values.

    Args:
        x: a mapping from column to value, a sequence of values, or one number.
        length: values that sequences had so far; None if there was none.
        name: of the estimator, for errors.

    Raises:
        ValueError: if it is nothing of these, a sequence of another length than before, or holds what is no value.
    """
    if isinstance(x, Mapping):
        return _plain_row(x, name)
    try:
        values = np.asarray(x)
    except ValueError as error:
        raise _wrong(x, name) from error
    numbers = values.dtype.kind in "fiub"
    if values.ndim > 1 or not values.size or not (numbers or isinstance(x, list | tuple)):
        raise _wrong(x, name)
    if length not in (None, values.size):
        raise ValueError(
            f"{name} got x of {values.size} values; expected {length}, as before. Nothing was learned; pass a dict if "
            "columns come and go."
        )
    if numbers:
        return values.astype(float).reshape(values.size)
    return _plain_row(as_row(x), name)


def has_holes(row: Any) -> bool:
    """Whether a kept row lacks a value, or holds one that is not finite."""
    if isinstance(row, dict):
        return any(value is None for value in row.values())
    return not fits(row, math.inf)


def fits(values: np.ndarray, most: float = _MOST) -> bool:
    """Whether floats ``[n]`` are finite and (if not told otherwise) within the range of float32.

    A few are looked at one by one: after a compiled step NumPy's functions are out of the processor's caches, and each
    of them takes longer than that.
    """
    if values.size <= _SHORT:
        return all(-most <= value <= most and math.isfinite(value) for value in values.tolist())
    return bool(np.all(np.abs(values) <= most) and np.all(np.isfinite(values)))


def _wrong(x: Any, name: str) -> ValueError:
    return ValueError(
        f"{name} got x={shown(x)}; expected one row: a dict from column to value, or a sequence of values. Nothing was "
        "learned; learn_many takes several rows."
    )


def _plain_row(row: Mapping[Any, Any], name: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for column, value in row.items():
        if not isinstance(column, str):
            raise ValueError(  # noqa: TRY004  a wrong row is wrong data
                f"{name} got a column called {column!r}; expected text, rename it. Nothing was learned."
            )
        try:
            plain[column] = _plain(value)
        except TypeError as error:
            raise ValueError(f"{name} got column {column!r} with {error}. Nothing was learned.") from error
    return plain


def _plain(value: Any) -> Any:
    """A value that JSON can hold, and that is read as the given one: a time as its text, infinity as a word."""
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()  # nanoseconds would become an int
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool):
        return value
    if type(value).__name__ in ("NAType", "NaTType"):  # what is missing in pandas
        return None
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, Real | Decimal):
        return _plain_number(value)
    raise TypeError(f"a {type(value).__name__}; expected a number, text, a bool, a time or None")


def _plain_number(value: Any) -> float | str | None:
    try:
        number = float(value)
    except OverflowError:  # an int beyond the range of floats
        number = math.inf if value > 0 else -math.inf
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else str(number)


def shown(value: Any) -> str:
    """A value in an error, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
