"""Several rows or targets at once, as sequences of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["rows_of", "targets_of"]


def rows_of(x: Any) -> Sequence[Any]:
    """Rows one by one: those of an array ``[n, dx]``, a data frame, or a sequence of dicts or sequences.

    Raises:
        ValueError: if it is none of these.
    """
    if hasattr(x, "to_dict") and hasattr(x, "columns"):  # a data frame, whoever's
        return x.to_dict("records")
    if isinstance(x, str | bytes | Mapping) or not (isinstance(x, Sequence) or hasattr(x, "__array__")):
        raise ValueError(
            f"got {type(x).__name__}; expected several rows: an array [n, dx] or a list of rows."
        )
    if isinstance(x, Sequence):
        return x
    values = np.asarray(x)
    if values.ndim != 2:
        raise ValueError(
            f"got an array of shape {values.shape}; expected rows [n, dx]: x.reshape(1, -1) is one row."
        )
    return list(values)


def targets_of(y: Any) -> Sequence[Any]:
    """Targets one by one.

    Raises:
        ValueError: if ``y`` has no length.
    """
    if isinstance(y, str | bytes | Mapping) or not (hasattr(y, "__len__") or hasattr(y, "__array__")):
        raise ValueError(f"got y of type {type(y).__name__}; expected one target per row.")
    if isinstance(y, list | tuple):
        return y
    values = np.asarray(y)
    if values.ndim == 0:
        raise ValueError("got a single number as y; expected one target per row.")
    return list(values)
