"""Checks of arguments: each error says what was got, what was expected and what to do.

``owner`` is the function or class that was called, ``name`` the argument, ``remedy`` a sentence that ends the error. A
check raises TypeError for a value of another type and ValueError for one out of range. In a traced function it reads
types and shapes alone, so it costs nothing in a compiled program.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = [
    "did_you_mean",
    "expect_callable",
    "expect_choice",
    "expect_file",
    "expect_items",
    "expect_key",
    "expect_number",
    "expect_numbers",
    "expect_type",
    "expect_vector",
    "expect_whole",
]


def expect_whole(
    owner: str,
    name: str,
    value: Any,
    least: int = 1,
    remedy: str = "",
    *,
    most: int | None = None,
    even: bool = False,
) -> int:
    """A whole number from ``least`` to ``most``, even if so asked; truth values and floats raise TypeError."""
    expected = (
        f"{'an even' if even else 'a whole'} number from {least} {'on' if most is None else f'to {most}'}"
    )
    try:
        # `operator.index` would take True for 1.
        if isinstance(value, bool | np.bool_):
            raise TypeError  # noqa: TRY301
        number = operator.index(value)
    except TypeError:
        raise TypeError(_text(owner, name, value, expected, remedy)) from None
    if number < least or (most is not None and number > most) or (even and number % 2):
        raise ValueError(_text(owner, name, value, expected, remedy, typed=False))
    return number


def expect_number(
    owner: str,
    name: str,
    value: Any,
    *,
    above: float | None = None,
    below: float | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    remedy: str = "",
) -> Any:
    """A real number within bounds; NaN is within none, but passes without bounds.

    In a traced function the value of an array is not known: only its type is checked.

    Args:
        owner: who was called, for the error.
        name: of the argument.
        value: what was given: a Python or NumPy number, or a JAX array without axes.
        above: exclusive lower bound.
        below: exclusive upper bound.
        low: inclusive lower bound.
        high: inclusive upper bound.
        remedy: a sentence that ends the error.
    """
    expected = _range(above, below, low, high)
    scalar = isinstance(value, jax.Array) and value.ndim == 0 and not jnp.issubdtype(value.dtype, jnp.bool_)
    if isinstance(value, bool) or not (scalar or isinstance(value, int | float | np.number)):
        raise TypeError(_text(owner, name, value, expected, remedy))
    # A traced value cannot be compared; without bounds there is nothing to compare.
    if expected == "a number" or isinstance(value, Tracer):
        return value
    inside = (above is None or value > above) and (below is None or value < below) and low <= value <= high
    # A comparison with NaN is false: hence `not inside`, and no comparison turned round.
    if not inside:
        raise ValueError(_text(owner, name, value, expected, remedy, typed=False))
    return value


def expect_numbers(
    owner: str,
    name: str,
    values: Any,
    *,
    size: int | None = None,
    nonzero: bool = False,
    remedy: str = "",
    **bounds: float,
) -> list[Any]:
    """A list of numbers (``size`` of them if given, else at least one), each within the ``bounds`` of `expect_number`.

    With ``nonzero`` they may not all be zero.
    """
    if isinstance(values, np.ndarray | jax.Array) and values.ndim == 1:
        items = list(values)
    else:
        items = expect_items(owner, name, values, remedy)
    if not items or len(items) != (size or len(items)):
        many = "one or more numbers" if size is None else f"{size} numbers"
        raise ValueError(_text(owner, name, values, many, remedy, typed=False))
    for item in items:
        expect_number(owner, name, item, remedy=remedy, **bounds)
    known = not any(isinstance(item, Tracer) for item in items)
    if nonzero and known and not any(item != 0 for item in items):
        raise ValueError(_text(owner, name, values, "numbers that are not all zero", remedy, typed=False))
    return items


def _range(above: float | None, below: float | None, low: float, high: float) -> str:
    if above is not None and below is not None:
        return f"a number above {above:g} and below {below:g}"
    if low > -math.inf and high < math.inf:
        return f"a number between {low:g} and {high:g}"
    ends = [f"above {above:g}"] if above is not None else [f"of at least {low:g}"] if low > -math.inf else []
    ends += [f"below {below:g}"] if below is not None else [f"at most {high:g}"] if high < math.inf else []
    return " ".join(["a number", " and ".join(ends)]).strip()


def expect_choice(owner: str, name: str, value: Any, choices: Iterable[Any]) -> None:
    """One of the values in ``choices``; the error names the nearest one."""
    choices = list(choices)
    # Compared by type too: True equals 1, and an array compares element by element.
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
        near = get_close_matches(str(value), [str(choice) for choice in choices], n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else ""
        expected = f"one of {', '.join(map(repr, choices))}"
        raise ValueError(_text(owner, name, value, expected, hint, typed=False))


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
    """An iterable that is no text, as a list."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(_text(owner, name, value, "a list", remedy))
    return list(value)


def expect_key(owner: str, key: Any) -> None:
    """One PRNG key, typed or raw."""
    shape, dtype = getattr(key, "shape", None), getattr(key, "dtype", None)
    # Old-style keys are still common: a raw key is a vector of uint32.
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    raw = dtype == np.uint32 and len(shape or ()) == 1
    if not (typed or raw):
        raise TypeError(_text(owner, "key", key, "one PRNG key", "Make one: jax.random.key(0)."))


def expect_vector(owner: str, name: str, value: Any, size: int, remedy: str = "") -> None:
    """One vector ``[size]`` of numbers."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    # A tracer has a shape and no values: only what has none is made an array.
    if shape is None:
        array = np.asarray(value)
        shape, dtype = array.shape, array.dtype
    real = dtype is not None and any(
        jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)
    )
    if not real:
        raise TypeError(_text(owner, name, f"{dtype}{list(shape)}", f"({size},) numbers", remedy))
    if shape != (size,):
        raise ValueError(f"{owner} got {name} of shape {shape}; expected ({size},). {remedy}".strip())


def expect_file(owner: str, path: Any) -> Path:
    """A file name, as a path; the file need not exist."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(_text(owner, "path", path, "a file name (a string or a pathlib.Path)", ""))
    return Path(path)


def _text(owner: str, name: str, value: Any, expected: str, remedy: str, *, typed: bool = True) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    of = f" ({type(value).__name__})" if typed else ""
    return f"{owner} got {name}={shown}{of}; expected {expected}. {remedy}".strip()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest known one, if any, and the whole list."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"{guess}Known: {', '.join(names) if names else '(none)'}."
