"""Targets as they are kept: labels, or numbers, one or several, by name or in order, some of them missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mole.rows.batches import is_missing
from mole.rows.values import fits

__all__ = ["Label", "read_label", "read_target"]

Label = int | str | bool

_OWNER = "OnlineRegressor"


def read_target(
    y: Any, outputs: int | None, names: tuple[str, ...] | None, *, begun: bool, gaps: str
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Numbers ``[dy]``, NaN where one of several is missing, and the names that targets have.

    Args:
        y: a number, a sequence of numbers, or a dict from name to number.
        outputs: dy of the targets before; None before the first.
        names: of the targets before; None if they had none.
        begun: whether a target was learned before.
        gaps: why no target may be missing; empty if some may.

    Raises:
        ValueError: for anything else, or targets unlike those before.
    """
    if isinstance(y, Mapping):
        known = names or tuple(y)
        anew = names is None and (begun or outputs not in (None, len(known)))
        if anew or not known or not set(y) <= set(known) or not all(isinstance(name, str) for name in known):
            expected = (
                "numbers without names, as before" if anew else f"some of {list(known)}, called by text"
            )
            raise ValueError(f"{_OWNER} got the targets {list(y)}; expected {expected}. Nothing was learned.")
        numbers: Any = [np.nan if is_missing(y.get(name)) else y[name] for name in known]
        names = known
    elif names is not None:
        raise ValueError(
            f"{_OWNER} got y={y!r:.80}; expected a dict with {list(names)}, as before. Nothing was learned."
        )
    else:
        numbers = y
    try:
        values = np.asarray(numbers, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_OWNER} got y={y!r}; expected numbers. Nothing was learned.") from error
    values = values.reshape(1) if values.ndim == 0 else values
    missing = np.isnan(values)
    some = values.ndim == 1 and len(values) > 1 and bool(missing.any()) and not missing.all()
    if some and gaps:
        raise ValueError(f"{_OWNER} got y={y!r}; expected no missing target: {gaps}. Nothing was learned.")
    if (
        values.ndim != 1
        or not fits(values[~missing] if some else values)
        or len(values) != (outputs or max(len(values), 1))
    ):
        raise ValueError(
            f"{_OWNER} got y={y!r}; expected {outputs or 'one or more'} finite numbers. Leave out pairs without a "
            "target; nothing was learned."
        )
    return values, names


def read_label(y: Any) -> Label:
    """A label as it is kept; a float that is a whole number is that number.

    Raises:
        ValueError: unless it is an int, a str or a bool.
    """
    value = y.item() if isinstance(y, np.generic) else y
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int | str):
        raise ValueError(  # noqa: TRY004  a wrong label is wrong data, as in scikit-learn
            f"OnlineClassifier got the label {y!r} of type {type(y).__name__}; expected an int, a str or a bool. "
            "Nothing was learned."
        )
    return value
