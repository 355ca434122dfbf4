"""Settings of the estimators that cannot work are refused before the first row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mole._expect import expect_type, expect_whole
from mole.estimators.growing import MARKS

__all__ = ["check_settings"]


def check_settings(
    owner: str, level: Any, width: Any, seed: Any, memory: Any, history: Any, mixture: Any
) -> None:
    """Raise unless all are of the right type and within their ranges.

    Args:
        owner: name of the estimator.
        level: share that intervals are to cover, above 0 and below 1.
        width: hidden units, at least one.
        seed: a whole number.
        memory: pairs kept, at least as many as the first prior is made of.
        history: entries kept, at least one.
        mixture: settings of the mixture by name, or None.

    Raises:
        TypeError: for settings of another type.
        ValueError: for a number out of range.
    """
    if not isinstance(level, float | np.floating) or not 0.0 < level < 1.0:
        raise ValueError(f"{owner} got level={level}; expected a share between 0 and 1, such as 0.9.")
    for name, value, least in (("width", width, 1), ("memory", memory, MARKS[0]), ("history", history, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{owner} got {name}={value!r}; expected a whole number from {least} on.")
    expect_whole(owner, "seed", seed, least=0)
    if mixture is not None:
        expect_type(owner, "mixture", mixture, Mapping, "It is settings by name, such as {'alpha': 2.0}.")
