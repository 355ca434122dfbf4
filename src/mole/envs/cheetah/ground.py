"""Ground that rises and falls: slopes by column, their heights, and the courses of the tests.

A slope is a number: metres up per metre forward. Ground is cut into columns of `COLUMN` metres, each with one slope; it
has no end in either direction. Nothing here depends on a simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from mole.envs.schedules.schedule import Sampler, Schedule, Timeline, real_numbers
from mole.envs.schedules.text import Vocabulary

__all__ = ["COLUMN", "COURSES", "SCHEDULES", "STEEPEST", "Ground", "any_slope", "check_slope", "low_slope"]

COLUMN = 0.1
"""Width of a column in metres."""
STEEPEST = 1.0
"""The steepest slope that ground may have, up or down."""
_LOW, _ANY, _LEVEL = 0.2, 0.4, 0.125


def _drawn(rng: np.random.Generator, limit: float) -> float:
    return 0.0 if rng.random() < _LEVEL else float(rng.uniform(-limit, limit))


def low_slope(rng: np.random.Generator) -> float:
    """Level with probability 1/8, else uniform between -0.2 and 0.2."""
    return _drawn(rng, _LOW)


def any_slope(rng: np.random.Generator) -> float:
    """Level with probability 1/8, else uniform between -0.4 and 0.4: more than the tests contain."""
    return _drawn(rng, _ANY)


DISTRIBUTIONS: Mapping[str, Sampler] = {
    "slopes": low_slope,
    "any-slopes": any_slope,
    "flat": lambda rng: 0.0,
}
"""Slopes of a whole episode, the first the default."""


def check_slope(value: Any) -> float:
    """`value` as one slope.

    Raises:
        ValueError: unless it is one finite number between -`STEEPEST` and `STEEPEST`.
    """
    try:
        array = real_numbers(value)
    except ValueError:
        raise ValueError(f"got the slope {value!r}; expected a number of metres up per metre.") from None
    if array.size != 1:
        raise ValueError(f"got a slope of shape {array.shape}; expected one number of metres up per metre.")
    slope = float(array.reshape(()))
    if not abs(slope) <= STEEPEST:
        raise ValueError(f"got the slope {slope}; expected one between -{STEEPEST} and {STEEPEST}.")
    return slope


def _course(name: str, *parts: tuple[float, float]) -> Schedule:
    """(slope, metres) again and again."""
    return Schedule.cycle([(slope, round(metres / COLUMN)) for slope, metres in parts], name)


COURSES: Mapping[str, Schedule] = {
    course.name: course
    for course in (
        _course("basin", (-0.18, 15), (0.18, 15)),
        _course("hill", (0.2, 15), (-0.2, 15)),
        _course("gentle", (1 / 18, 18), (0.0, 6)),
        _course("steep", (0.3, 18), (0.0, 6)),
        _course("course", (0.2, 8), (-0.2, 8), (0.0, 8), (0.3, 8), (-0.2, 8), (0.2, 8), (0.0, 8), (0.3, 8)),
    )
}
"""Ground of the tests by name; each begins anew when it ends."""

SCHEDULES = Vocabulary(
    values={"flat": 0.0},
    samplers={"random": low_slope, "random-any": any_slope},
    check=check_slope,
    courses=COURSES,
)
"""The words of schedules that count columns of ground instead of steps."""


class Ground:
    """Ground without end: level for `run_up` columns, then as `slopes` says; behind the start it is mirrored.

    The slope at -x is the slope at x, so height is an odd function of x: a hill ahead is a valley behind.
    """

    def __init__(self, slopes: Timeline, run_up: int):
        """Ground through the origin.

        Args:
            slopes: slope by column after the run-up.
            run_up: level columns on either side of the origin.
        """
        self._slopes = slopes
        self._run_up = run_up
        self._heights = [0.0]  # at the left edge of column 0, 1, …

    def slope(self, x: float) -> float:
        """Slope of the column at `x` metres."""
        column = int(np.floor(x / COLUMN))
        return self._slope(max(column, -1 - column))  # column -1 mirrors column 0

    def _slope(self, column: int) -> float:
        return 0.0 if column < self._run_up else self._slopes.at(column - self._run_up)

    def heights(self, first: int, count: int) -> Float64[np.ndarray, " columns"]:
        """Heights in metres at ``COLUMN * (first + i)`` for i below `count`; straight lines join them."""
        farthest = max(abs(first), abs(first + count - 1))
        # Only as far as somebody has looked: the ground has no end.
        while len(self._heights) <= farthest:
            self._heights.append(self._heights[-1] + COLUMN * self._slope(len(self._heights) - 1))
        edges = np.arange(first, first + count)
        return np.sign(edges) * np.array(self._heights)[np.abs(edges)]
