"""Schedules: which hidden value holds at which step, as a pure function of (step, seed).

A schedule knows nothing of environments. It is an endless sequence of segments (value, duration), possibly
drawn from a seeded generator; the same seed always gives the same values. In text:

    SCHEDULE := VALUE                            that value throughout             negative
              | fixed:VALUE                      the same                          fixed:1/1/-1/-1/-1/1
              | alternate:VALUE,VALUE[,…]:STEPS  in turn, STEPS steps each         alternate:A,B:100
              | SAMPLER:STEPS                    a new draw every STEPS steps,     random:300
                                                 never the same twice in a row
    VALUE    := NAME | NUMBER[/NUMBER…]          a vector; `;` also separates, but a shell wants it quoted

NAME and SAMPLER come from the `Vocabulary` of whoever uses the schedule. In Python a schedule may also be a
function ``step -> value`` or a list of ``(value, steps)``, which is repeated for ever.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, repeat
from typing import Any

import numpy as np

from mole.envs._suggest import did_you_mean

__all__ = ["Schedule", "TaskNumbers", "Timeline", "Vocabulary", "as_schedule", "parse_schedule"]

Value = Any
Segment = tuple[Value, int | None]
Sampler = Callable[[np.random.Generator], Value]
Check = Callable[[Value], Value]

_REDRAWS = 1000  # a sampler that repeats itself this often is taken to be a constant


def _unchanged(value: Value) -> Value:
    return value


@dataclass(frozen=True)
class Vocabulary:
    """The words that a schedule's text may use.

    Attributes:
        values: named values (``A``, ``identity``).
        samplers: named draws, ``rng -> value`` (``random``).
        check: validates one value and returns its canonical form; raises ValueError otherwise.
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    samplers: Mapping[str, Sampler] = field(default_factory=dict)
    check: Check = _unchanged


class Timeline:
    """One realisation of a schedule. `at` is a pure function of the step; what was drawn is remembered."""

    def __init__(self, segments: Iterator[Segment]):
        """Reads `segments` as far as it is asked for."""
        self._segments = segments
        self._values: list[Value] = []
        self._ends: list[float] = []

    def at(self, step: int) -> Value:
        """The value that governs the transition from step `step` (0 is the first) to the next.

        Raises:
            ValueError: if `step` is negative, or the schedule ended before it.
        """
        if step < 0:
            raise ValueError(f"step must be 0 or more, got {step}.")
        while not self._ends or self._ends[-1] <= step:
            self._extend()
        return self._values[bisect_right(self._ends, step)]

    def _extend(self) -> None:
        segment = next(self._segments, None)
        if segment is None:
            raise ValueError("the schedule's segments ended; expected an endless sequence of (value, steps).")
        value, steps = segment
        start = self._ends[-1] if self._ends else 0
        end = math.inf if steps is None else start + _positive(steps, "a segment's duration")
        # Merging keeps a function of the step, whose segments last one step each, from piling up.
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
    """

    name: str
    segments: Callable[[np.random.Generator], Iterator[Segment]]

    def timeline(self, seed: int) -> Timeline:
        """The realisation for `seed`: the same seed always gives the same one."""
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
        return Schedule(name, lambda rng: ((sampler(rng), None) for _ in range(1)))

    @staticmethod
    def cycle(pairs: Iterable[tuple[Value, int]], name: str = "cycle") -> Schedule:
        """The given (value, steps) in order, again and again.

        Raises:
            ValueError: if there are none, or a duration is not a whole number of at least 1.
        """
        fixed = [(value, _positive(steps, "a duration")) for value, steps in pairs]
        if not fixed:
            raise ValueError("got an empty list of (value, steps); expected at least one pair.")
        return Schedule(name, lambda rng: (pair for turn in repeat(fixed) for pair in turn))

    @staticmethod
    def redrawn(sampler: Sampler, steps: int, name: str = "redrawn") -> Schedule:
        """A new draw of `sampler` every `steps` steps, never the same twice in a row.

        Raises:
            ValueError: if `steps` is not a whole number of at least 1; later, if the sampler is constant.
        """
        period = _positive(steps, "the number of steps between draws")

        def segments(rng: np.random.Generator) -> Iterator[Segment]:
            value = sampler(rng)
            while True:
                yield value, period
                value = _other(sampler, rng, value)

        return Schedule(name, segments)

    @staticmethod
    def function(fn: Callable[[int], Value], name: str = "function") -> Schedule:
        """``fn(step)`` at every step. `fn` must be pure: it is called once per step, in order."""
        return Schedule(name, lambda rng: ((fn(step), 1) for step in count()))


class TaskNumbers:
    """Numbers values 0, 1, … by first appearance: equal values get equal numbers."""

    def __init__(self) -> None:
        """Starts with no value seen."""
        self._numbers: dict[tuple[Any, ...], int] = {}

    def number(self, value: Value) -> int:
        """The number of `value`, a new one if it was not seen before."""
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            key = (array.shape, (array.astype(np.float64) + 0.0).tobytes())  # + 0.0: -0 and 0 are one task
        else:
            key = (array.shape, repr(value))
        return self._numbers.setdefault(key, len(self._numbers))


def parse_schedule(text: str, vocabulary: Vocabulary) -> Schedule:
    """Reads a schedule in the grammar of this module.

    Raises:
        ValueError: for text outside the grammar, unknown names (with the nearest known one) and bad values.
    """
    head, *rest = text.strip().split(":")
    if not rest and head in vocabulary.samplers:
        raise ValueError(f"schedule {text!r} lacks its number of steps; expected for example '{head}:300'.")
    if not rest:
        return Schedule.constant(_value(head, text, vocabulary), text)
    if head == "fixed" and len(rest) == 1:
        return Schedule.constant(_value(rest[0], text, vocabulary), text)
    if head == "alternate" and len(rest) == 2:
        steps = _steps(rest[1], text)
        values = [_value(word, text, vocabulary) for word in rest[0].split(",")]
        if len(values) < 2:
            raise ValueError(
                f"schedule {text!r} alternates over one value; expected two or more: alternate:A,B:100."
            )
        return Schedule.cycle([(value, steps) for value in values], text)
    if head in vocabulary.samplers and len(rest) == 1:
        sampler, check = vocabulary.samplers[head], vocabulary.check
        return Schedule.redrawn(lambda rng: check(sampler(rng)), _steps(rest[0], text), text)
    if head in ("fixed", "alternate", *vocabulary.samplers):
        form = {"fixed": "fixed:VALUE", "alternate": "alternate:VALUE,VALUE:STEPS"}.get(head, f"{head}:STEPS")
        raise ValueError(f"cannot read schedule {text!r}; expected {form}.")
    raise ValueError(
        f"unknown schedule {text!r}: "
        + did_you_mean(head, [*vocabulary.values, *vocabulary.samplers, "fixed", "alternate"])
    )


def as_schedule(source: Any, vocabulary: Vocabulary) -> Schedule:
    """Makes a schedule of what a user may pass.

    Args:
        source: a `Schedule`, text in the grammar of this module, a function ``step -> value``, or a list of
            ``(value, steps)`` (values may be names of the vocabulary) to be repeated for ever.
        vocabulary: names, samplers and the check of every value.

    Raises:
        ValueError: for a source that describes no schedule.
        TypeError: for a source of another type.
    """
    if isinstance(source, Schedule):
        return source
    if isinstance(source, str):
        return parse_schedule(source, vocabulary)
    if callable(source):
        name = getattr(source, "__name__", type(source).__name__)
        return Schedule.function(lambda step: vocabulary.check(source(step)), name)
    if isinstance(source, Sequence):
        return Schedule.cycle([_pair(pair, vocabulary) for pair in source])
    raise TypeError(
        f"got a schedule of type {type(source).__name__}; expected text such as 'alternate:A,B:100', "
        "a function step -> value, or a list of (value, steps)."
    )


def _pair(pair: Any, vocabulary: Vocabulary) -> tuple[Value, int]:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise ValueError(f"got {pair!r} in a list schedule; expected a pair (value, steps).")
    value, steps = pair
    checked = _value(value, value, vocabulary) if isinstance(value, str) else vocabulary.check(value)
    return checked, _positive(steps, "a duration")


def _value(word: str, text: str, vocabulary: Vocabulary) -> Value:
    word = word.strip()
    if word in vocabulary.values:
        return vocabulary.check(vocabulary.values[word])
    numbers = re.split(r"[/;]", word)
    try:
        vector = np.array([float(number) for number in numbers])
    except ValueError:
        raise ValueError(
            f"unknown value {word!r} in schedule {text!r}: {did_you_mean(word, vocabulary.values)} "
            "Or write a vector as numbers with slashes: 1/1/-1."
        ) from None
    return vocabulary.check(vector)


def _steps(word: str, text: str) -> int:
    if not re.fullmatch(r"\s*\d+\s*", word) or int(word) < 1:
        raise ValueError(f"got {word!r} steps in schedule {text!r}; expected a whole number of at least 1.")
    return int(word)


def _positive(steps: Any, what: str) -> int:
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"{what} must be a whole number of at least 1, got {steps!r}.")
    return int(steps)


def _same(a: Value, b: Value) -> bool:
    return a is b or bool(np.array_equal(np.asarray(a), np.asarray(b)))


def _other(sampler: Sampler, rng: np.random.Generator, value: Value) -> Value:
    for _ in range(_REDRAWS):
        new = sampler(rng)
        if not _same(new, value):
            return new
    raise ValueError(
        f"the sampler drew {value!r} {_REDRAWS} times in a row; expected one that varies. "
        "For a constant use 'fixed:VALUE'."
    )
