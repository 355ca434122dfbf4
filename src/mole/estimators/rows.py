"""Rows as an estimator keeps them: vectors of floats, or dicts of values that JSON can hold."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from mole.streams.encoding import as_row

__all__ = ["fits", "has_holes", "kept_row", "shown"]

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
        return _number(value)
    raise TypeError(f"a {type(value).__name__}; expected a number, text, a bool, a time or None")


def _number(value: Any) -> float | str | None:
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
