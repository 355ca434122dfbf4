"""Schedules: which hidden value holds at which step, as a pure function of (step, seed).

A schedule knows nothing of environments. It is an endless sequence of segments (value, steps), possibly drawn
from a seeded generator; the same seed always gives the same values. `mole.envs.schedules.text` reads them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, repeat
from typing import Any

import numpy as np

from mole._expect import expect_callable, expect_items, expect_whole

__all__ = ["Sampler", "Schedule", "TaskNumbers", "Timeline", "Value", "real_numbers", "whole_steps"]

Value = Any
Segment = tuple[Value, int | None]
Sampler = Callable[[np.random.Generator], Value]

_REDRAWS = 1000  # a sampler that repeats itself this often is taken to be a constant


class Timeline:
    """One realisation of a schedule. `at` is a pure function of the step; what was drawn is remembered."""

    def __init__(self, segments: Iterator[Segment]):
        """Reads `segments` as far as it is asked for."""
        self._segments = segments
        self._values: list[Value] = []
        self._ends: list[float] = []  # the step after each segment; infinite after one without end

    def at(self, step: int) -> Value:
        """The value that governs the transition from step `step` (0 is the first) to the next.

        Raises:
            ValueError: if `step` is negative, or the schedule ended before it.
        """
        if step < 0:
            raise ValueError(f"got step={step} of a schedule; expected 0 or more.")
        while not self._ends or self._ends[-1] <= step:
            self._extend()
        return self._values[bisect_right(self._ends, step)]

    def _extend(self) -> None:
        segment = next(self._segments, None)
        if segment is None:
            raise ValueError("the schedule's segments ended; expected an endless sequence of (value, steps).")
        value, steps = segment
        start = self._ends[-1] if self._ends else 0
        end = math.inf if steps is None else start + whole_steps(steps, "a segment's duration")
        # A function of the step has segments of one step each: equal neighbours are merged, or they would pile up.
        if self._values and _same(self._values[-1], value):
            self._ends[-1] = end
        else:
            self._values.append(value)
            self._ends.append(end)


@dataclass(frozen=True)
class Schedule:
    """An endless sequence of segments (value, steps), a function of a seeded generator.

    Attributes:
        name: what to print.
        segments: ``rng -> iterator of (value, steps)``; steps None means for ever.
        drifts: the value moves continuously, so that there are no discrete tasks to number.
    """

    name: str
    segments: Callable[[np.random.Generator], Iterator[Segment]]
    drifts: bool = False

    def timeline(self, seed: int) -> Timeline:
        """The realisation for `seed`, 0 or more: the same seed always gives the same one."""
        expect_whole("Schedule.timeline", "seed", seed, 0)
        return Timeline(self.segments(np.random.default_rng(seed)))

    def value(self, step: int, seed: int = 0) -> Value:
        """The value at `step`. For many steps of one seed, keep the `timeline`."""
        return self.timeline(seed).at(step)

    @staticmethod
    def constant(value: Value, name: str = "fixed") -> Schedule:
        """`value` throughout."""
        return Schedule(name, lambda rng: iter([(value, None)]))

    @staticmethod
    def drawn(sampler: Sampler, name: str = "drawn") -> Schedule:
        """One draw of `sampler`, kept throughout."""
        expect_callable("Schedule.drawn", "sampler", sampler, "It draws a value: rng -> value.")
        # A generator of one segment: the value is drawn for each timeline, not once when the schedule is made.
        return Schedule(name, lambda rng: ((sampler(rng), None) for _ in range(1)))

    @staticmethod
    def cycle(pairs: Iterable[tuple[Value, int]], name: str = "cycle") -> Schedule:
        """The given (value, steps) in order, again and again.

        Raises:
            ValueError: if there are none, or a duration is not a whole number of at least 1.
        """
        fixed = []
        for pair in expect_items("Schedule.cycle", "pairs", pairs, "Pairs (value, steps)."):
            if not isinstance(pair, Sequence) or len(pair) != 2:
                raise ValueError(f"got {pair!r} as a part of a cycle; expected a pair (value, steps).")
            fixed.append((pair[0], whole_steps(pair[1], "a duration")))
        if not fixed:
            raise ValueError("got an empty list of (value, steps); expected at least one pair.")
        return Schedule(name, lambda rng: (pair for turn in repeat(fixed) for pair in turn))

    @staticmethod
    def redrawn(sampler: Sampler, steps: int, name: str = "redrawn") -> Schedule:
        """A new draw of `sampler` every `steps` steps, never the same twice in a row.

        Raises:
            ValueError: if `steps` is not a whole number of at least 1; later, if the sampler is constant.
        """
        expect_callable("Schedule.redrawn", "sampler", sampler, "It draws a value: rng -> value.")
        period = whole_steps(steps, "the number of steps between draws")

        def segments(rng: np.random.Generator) -> Iterator[Segment]:
            value = sampler(rng)
            while True:
                yield value, period
                value = _other(sampler, rng, value)

        return Schedule(name, segments)

    @staticmethod
    def drift(
        values: Iterable[Value],
        steps: int,
        name: str = "drift",
        check: Callable[[Value], Value] = lambda value: value,
    ) -> Schedule:
        """Moves in a straight line from each of `values` to the next in `steps` steps, from the last to the first.

        The step that begins a leg has exactly the value that the leg starts from.

        Args:
            values: two or more numbers or arrays of one shape.
            steps: steps from one value to the next.
            name: what to print.
            check: validates every value on the way and returns its canonical form.

        Raises:
            ValueError: if there are fewer than two values, they cannot be mixed, or `check` refuses a mixture.
        """
        values = expect_items("Schedule.drift", "values", values, "Two or more numbers.")
        corners, period = [check(value) for value in values], whole_steps(steps, "the steps of a drift")
        if len(corners) < 2:
            raise ValueError(f"a drift goes over {len(corners)} value(s); expected two or more.")
        try:
            points = [real_numbers(corner) for corner in corners]
        except (TypeError, ValueError):
            raise ValueError(
                f"a drift goes over {corners!r:.80}; expected numbers or arrays of numbers."
            ) from None
        if len({point.shape for point in points}) > 1:
            shapes = ", ".join(str(point.shape) for point in points)
            raise ValueError(f"a drift goes over values of shapes {shapes}; expected one shape.")

        def value(step: int) -> Value:
            leg, past = divmod(step, period)
            if not past:
                return corners[leg % len(corners)]
            start, end = points[leg % len(points)], points[(leg + 1) % len(points)]
            return check(start + (end - start) * (past / period))

        # Values that cannot be mixed (whole numbers) are refused now, not in the middle of an episode.
        for leg in range(len(corners)):
            value(leg * period + 1)
        return Schedule(name, lambda rng: ((value(step), 1) for step in count()), drifts=True)

    @staticmethod
    def function(fn: Callable[[int], Value], name: str = "function") -> Schedule:
        """``fn(step)`` at every step. `fn` must be pure: it is called once per step, in order."""
        expect_callable("Schedule.function", "fn", fn, "It gives the value of a step.")
        return Schedule(name, lambda rng: ((fn(step), 1) for step in count()))


class TaskNumbers:
    """Numbers values 0, 1, … by first appearance: equal values get equal numbers."""

    def __init__(self, drifts: bool = False) -> None:
        """Starts with no value seen. With `drifts` (a schedule's), there are no tasks: every number is -1."""
        self._drifts = drifts
        self._numbers: dict[tuple[Any, ...], int] = {}

    def number(self, value: Value) -> int:
        """The number of `value`, a new one if it was not seen before; -1 while values drift."""
        if self._drifts:
            return -1
        # Arrays cannot be keys of a dictionary; their bytes can.
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            key = (array.shape, (array.astype(np.float64) + 0.0).tobytes())  # + 0.0: -0 and 0 are one task
        else:
            key = (array.shape, repr(value))
        return self._numbers.setdefault(key, len(self._numbers))


def whole_steps(steps: Any, what: str) -> int:
    """`steps` as an int of at least 1.

    Raises:
        ValueError: naming `what`, if it is anything else.
    """
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"got {steps!r} for {what}; expected a whole number of steps from 1 on.")
    return int(steps)


def real_numbers(value: Any) -> np.ndarray:
    """A copy of `value` as float64 of any shape; -0 becomes 0.

    Raises:
        ValueError: for text, truth values and whatever else is no number, which NumPy would convert.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"got {value!r:.80}; expected real numbers.")
    numbers = array.astype(np.float64)
    numbers += 0.0  # in place: a sum of an array without axes would be a scalar
    return numbers


def _same(a: Value, b: Value) -> bool:
    return a is b or bool(np.array_equal(np.asarray(a), np.asarray(b)))


def _other(sampler: Sampler, rng: np.random.Generator, value: Value) -> Value:
    # A draw that repeats the value would be no change of task: draw again.
    for _ in range(_REDRAWS):
        new = sampler(rng)
        if not _same(new, value):
            return new
    raise ValueError(
        f"the sampler drew {value!r} {_REDRAWS} times in a row; expected one that varies. "
        "For a constant use 'fixed:VALUE'."
    )
