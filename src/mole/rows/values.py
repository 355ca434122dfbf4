"""What a raw value is (a number, a truth value, a time, a word or nothing), and rows whose values have been read.

A value is read once, where its row enters: the checks, the statistics of the columns and the encoding all use what was
found then.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from mole.rows.foreign import plain_time, series_as_row

__all__ = [
    "BOOLEAN", "FLOAT32", "MISSING", "NUMBER", "TEXT", "TIME", "ReadRow",
    "as_row", "fits", "has_holes", "kept", "label", "read_row", "read_value", "seconds_of", "shown",
]  # fmt: skip

MISSING, NUMBER, BOOLEAN, TIME, TEXT = "missing", "number", "boolean", "time", "text"

_ABSENT = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})
_TRUTH = {"true": True, "false": False}
# What can only be a time: 20240131 may as well be a plain number, and 2024-01 or 2024Q1 the name of a product.
_TIME = re.compile(r"\d{4}([-/])\d{2}\1\d{2}([T ]\d{2}:\d{2}.*)?$|\d{8}T\d{4}")
_LONGEST = 80  # characters of a word as a category: words are kept in every checkpoint
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def read_value(value: Any) -> tuple[str, Any]:
    """Kind and content of one value.

    Args:
        value: None, a number (also of NumPy, Decimal, Fraction), a bool, a date or datetime, a duration (seconds), or
            text. Text that is a number, ``true``/``false`` or an ISO time (also with slashes, compact, or with UTC
            behind it) is read as such; ``""``, ``NA``, ``N/A``, ``NaN``, ``null`` and ``None`` are missing, and so is a
            number that is NaN.

    Returns:
        ``(MISSING, None)``, ``(NUMBER, float)`` (which may be infinite), ``(BOOLEAN, bool)``, ``(TIME, datetime)``
        or ``(TEXT, str)``.

    Raises:
        TypeError: for anything else, such as a list or an object.
    """
    # First and by the exact type, which leaves bools out: `isinstance(value, Real)` takes longer than reading a number.
    if type(value) is float or type(value) is int:
        return _number(value)
    if isinstance(value, str):
        return _text(value.strip())
    value = plain_time(value)
    if isinstance(value, np.datetime64):
        # microseconds are all that a datetime holds; nanoseconds would come back as an int
        value = value.astype("datetime64[us]").item()
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas writes "missing" so
        return MISSING, None
    # A bool is an int too, and below a datetime a date: the narrower type is asked for first.
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
    # Not `timestamp()`, which would take it as local: the result must not depend on the machine.
    aware = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH).total_seconds()


def label(kind: str, content: Any) -> str:
    """The name of a value as a category: 1, 1.0 and "1" have the same one. Words are cut after 80 characters."""
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
    return (NUMBER, number) if number == number else (MISSING, None)  # NaN alone differs from itself


def _text(text: str) -> tuple[str, Any]:
    if text in _ABSENT:
        return MISSING, None
    # A number begins with one of these: for other words `float` need not fail first. 1_000, a number to Python, is a
    # code in data.
    if text[0] in "0123456789+-.iIN" and "_" not in text:
        # Numbers first: they are the most frequent, and no time is one.
        try:
            return _number(float(text))
        except ValueError:
            return _time(text)
    truth = _TRUTH.get(text.lower())
    return (TEXT, text) if truth is None else (BOOLEAN, truth)


def _time(text: str) -> tuple[str, Any]:
    if len(text) >= 10 and _TIME.match(text):
        zone = "+00:00" if text.endswith((" UTC", " GMT")) else ""
        try:
            return TIME, dt.datetime.fromisoformat(text[: -4 if zone else None].replace("/", "-") + zone)
        except ValueError:  # such as 2024-02-31: a word like any other
            pass
    return TEXT, text


class ReadRow(dict[str, Any]):
    """A row whose values have been read: column → content as of `read_value`, with the kind of each in ``kinds``.

    Attributes:
        kinds: column → kind, one of ``MISSING``, ``NUMBER``, ``BOOLEAN``, ``TIME``, ``TEXT``.
        holes: whether a value is missing; for the count of such rows in ``faults_``.
    """

    __slots__ = ("holes", "kinds")

    def __init__(self) -> None:
        """A row without columns; see `put`."""
        super().__init__()
        self.kinds: dict[str, str] = {}
        self.holes = False

    def put(self, column: str, kind: str, content: Any) -> None:
        """Add what was read of one column."""
        self[column], self.kinds[column] = content, kind


def as_row(row: Any) -> Mapping[str, Any]:
    """A row as a mapping from column name to value.

    Args:
        row: a mapping; or a sequence or 1-D array, whose columns are called x0, x1, …; or one number.

    Raises:
        TypeError: for text, or an array of more than one dimension.
    """
    if isinstance(row := series_as_row(row), Mapping):
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
        # Python's floats are read several times as quickly as NumPy's.
        values = values.tolist() if values.dtype.kind in "fiub" else values
    return {f"x{place}": value for place, value in enumerate(values)}


FLOAT32 = float(np.finfo(np.float32).max)
"""The largest number of float32."""
_SHORT = 32  # entries that are faster to look at one by one


def read_row(x: Any, length: int | None, name: str) -> np.ndarray | ReadRow:
    """A row as the estimators take it: numbers as a vector ``[dx]`` float64, any other row as a `ReadRow`.

    Args:
        x: a mapping from column to value, a sequence of values, or one number.
        length: number of values in the sequences before; None if there were none.
        name: of the estimator, for errors.

    A vector is a copy: the estimator keeps it, and the caller may put the next row into the same array.

    Raises:
        ValueError: for any other type, a sequence of another length than before, or an entry that is no single value.
    """
    if isinstance(x, ReadRow):
        return x
    if isinstance(x := series_as_row(x), Mapping):
        return _read(x, name)
    try:
        values = np.asarray(x)
    except ValueError as error:
        raise _wrong(x, name) from error
    numbers = values.dtype.kind in "fiub"
    if values.ndim > 1 or not values.size or not (numbers or isinstance(x, list | tuple)):
        raise _wrong(x, name)
    if length is not None and length != values.size:
        raise ValueError(
            f"{name} got x of {values.size} values; expected {length}, as before. Nothing was learned; pass a dict if "
            "columns come and go."
        )
    if numbers:
        return values.astype(float).reshape(values.size)
    return _read(as_row(x), name)


def kept(row: np.ndarray | ReadRow, x: Any) -> Any:
    """A row that was read from ``x`` as it is kept in files: a vector, or a dict of what JSON can hold.

    Text stays as it was given: it is read again as the same value. A time becomes ISO text, infinity the text inf.
    """
    if not isinstance(row, dict):
        return row
    return {column: _plain(value) for column, value in as_row(x).items()}


def has_holes(row: np.ndarray | ReadRow) -> bool:
    """Whether a row lacks a value, or is a vector with a number that is not finite."""
    return row.holes if isinstance(row, ReadRow) else not fits(row, math.inf)


def fits(values: np.ndarray, most: float = FLOAT32) -> bool:
    """Whether floats ``[n]`` are finite and (without ``most``) within the range of float32.

    A few are looked at one by one: after a compiled step NumPy's functions are out of the processor's caches, and each
    of them takes longer than that.
    """
    if values.size <= _SHORT:
        # NaN fails the first test. Infinity passes it where ``most`` is infinite, and fails the second.
        return all(-most <= value <= most and value - value == 0.0 for value in values.tolist())
    return bool(np.all(np.abs(values) <= most) and np.all(np.isfinite(values)))


def _wrong(x: Any, name: str) -> ValueError:
    return ValueError(
        f"{name} got x={shown(x)}; expected one row: a dict from column to value, or a sequence of values. Nothing was "
        "learned; learn_many takes several rows."
    )


def _read(row: Mapping[Any, Any], name: str) -> ReadRow:
    found = ReadRow()
    for column, value in row.items():
        if not isinstance(column, str):
            raise ValueError(  # noqa: TRY004  a wrong row is wrong data
                f"{name} got a column called {column!r}; expected text, rename it. Nothing was learned."
            )
        try:
            kind, content = read_value(value)
        except TypeError as error:
            plain = value.item() if isinstance(value, np.generic) else value
            raise ValueError(
                f"{name} got column {column!r} with a {type(plain).__name__}; expected a number, text, a bool, a time "
                "or None. Nothing was learned."
            ) from error
        found.put(column, kind, content)
        # A word for "missing", such as NA, is not counted as a missing value: it is in the row.
        if kind == MISSING and not isinstance(value, str):
            found.holes = True
    return found


def _plain(value: Any) -> Any:
    """A value that was read without an error, as JSON can hold it."""
    if type(value) is float and math.isfinite(value):
        return value
    value = plain_time(value)
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()  # nanoseconds would become an int
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, dt.date):  # a datetime is one too
        return value.isoformat()
    kind, number = read_value(value)
    return None if kind == MISSING else number if math.isfinite(number) else str(number)


def shown(value: Any) -> str:
    """A value in an error, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
