"""What one raw value of a row is: a number, a yes or no, a point in time, a word, or nothing."""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

__all__ = ["BOOLEAN", "MISSING", "NUMBER", "TEXT", "TIME", "label", "read_value", "seconds_of"]

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
