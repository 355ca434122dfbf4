"""Checks at the doors of the package: each error says what was got, what was expected and what to do.

They read types and shapes alone, so that they cost nothing in a compiled program.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "expect_callable",
    "expect_file",
    "expect_items",
    "expect_key",
    "expect_number",
    "expect_type",
    "expect_vector",
    "expect_whole",
]


def expect_whole(owner: str, name: str, value: Any, least: int = 1, remedy: str = "") -> int:
    """A whole number of at least ``least``; truth values and floats are none."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError  # noqa: TRY301
        number = operator.index(value)
    except TypeError:
        raise TypeError(_text(owner, name, value, f"a whole number from {least} on", remedy)) from None
    if number < least:
        raise ValueError(_text(owner, name, value, f"at least {least}", remedy, typed=False))
    return number


def expect_number(
    owner: str,
    name: str,
    value: Any,
    *,
    above: float | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    remedy: str = "",
) -> float:
    """A real number above ``above`` and from ``low`` to ``high``, which NaN is not; without bounds any number."""
    ends = f"above {above:g}" if above is not None else f"of at least {low:g}" if low > -math.inf else ""
    expected = f"a number {ends}{f' and at most {high:g}' if high < math.inf else ''}".strip()
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(_text(owner, name, value, expected, remedy))
    bounded = above is not None or low > -math.inf or high < math.inf
    if bounded and not ((above is None or value > above) and low <= value <= high):
        raise ValueError(_text(owner, name, value, expected, remedy, typed=False))
    return float(value)


def expect_type(owner: str, name: str, value: Any, kind: type | tuple[type, ...], remedy: str = "") -> None:
    """An instance of one of the types."""
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = " or ".join(f"{one.__module__.split('.')[0]}.{one.__qualname__}" for one in kinds)
        raise TypeError(_text(owner, name, value, names, remedy))


def expect_callable(owner: str, name: str, value: Any, remedy: str = "") -> None:
    """A function, or an object that can be called like one."""
    if not callable(value):
        raise TypeError(_text(owner, name, value, "a function", remedy))


def expect_items(owner: str, name: str, value: Any, remedy: str = "") -> list[Any]:
    """Something to go over that is no text."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(_text(owner, name, value, "a list", remedy))
    return list(value)


def expect_key(owner: str, key: Any) -> None:
    """One PRNG key, typed or raw."""
    shape, dtype = getattr(key, "shape", None), getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    raw = dtype == np.uint32 and len(shape or ()) == 1
    if not (typed or raw):
        raise TypeError(_text(owner, "key", key, "one PRNG key", "Make one: jax.random.key(0)."))


def expect_vector(owner: str, name: str, value: Any, size: int, remedy: str = "") -> None:
    """One vector of ``size`` real numbers."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None:
        array = np.asarray(value)
        shape, dtype = array.shape, array.dtype
    if dtype is None or not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
        raise TypeError(_text(owner, name, f"{dtype}{list(shape)}", f"({size},) numbers", remedy))
    if shape != (size,):
        raise ValueError(f"{owner} got {name} of shape {shape}; expected ({size},). {remedy}".strip())


def expect_file(owner: str, path: Any) -> Path:
    """Something that names a file."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(_text(owner, "path", path, "a file name (a string or a pathlib.Path)", ""))
    return Path(path)


def _text(owner: str, name: str, value: Any, expected: str, remedy: str, *, typed: bool = True) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    of = f" ({type(value).__name__})" if typed else ""
    return f"{owner} got {name}={shown}{of}; expected {expected}. {remedy}".strip()
