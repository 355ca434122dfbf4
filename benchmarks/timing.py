"""Interleaved timing: every round calls all functions once, so that what slows the machine slows all of them."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

LEAST_TIMED = 2e-4
"""Seconds that one timing takes at least: a quicker function is called several times in a row."""


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median with the range that holds the middle 80 % of the rounds, and the extremes."""

    median: float
    low: float
    high: float
    least: float
    most: float

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        quantiles = np.quantile(values, [0.5, 0.1, 0.9, 0.0, 1.0])
        return cls(*(float(q) for q in quantiles))

    def text(self) -> str:
        median, low, high = (three_digits(value) for value in (self.median, self.low, self.high))
        return f"{median} [{low}..{high}]"


def three_digits(value: float) -> str:
    if value <= 0:
        return f"{value:g}"
    before_point = math.floor(math.log10(value)) + 1
    return f"{value:.{min(max(0, 3 - before_point), 4)}f}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: how long ``name`` takes as a multiple of ``against``, from the same rounds.

    ``limit`` says what the machine needs at least for the same work, ``reached`` which share of that speed we have.
    """

    group: str
    name: str
    against: str
    ratio: Spread
    ms: Spread
    against_ms: Spread
    rounds: int
    limit: str = ""
    limit_ms: float | None = None
    reached: Spread | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A line that could not be measured, and why."""

    group: str
    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Remote:
    """A function of another process, which times itself: seconds of one call."""

    seconds: Callable[[], float]


Timed = Callable[[], Any] | Remote


def blocked(function: Callable[[], Any]) -> Callable[[], None]:
    """The function with its result waited for: JAX returns before the work is done."""

    def run() -> None:
        jax.block_until_ready(function())

    return run


def interleaved(functions: Sequence[Timed], rounds: int, warm_up: int = 3) -> np.ndarray:
    """Seconds of every function in every round, ``[functions, rounds]``.

    The order of a round is the reverse of the one before, so that no function always runs after the same other.
    """
    repeats = []
    for function in functions:
        for _ in range(warm_up - 1):
            _seconds(function, 1)
        repeats.append(max(1, math.ceil(LEAST_TIMED / max(_seconds(function, 1), 1e-9))))
    seconds = np.empty((len(functions), rounds))
    for number in range(rounds):
        order = range(len(functions))
        for place in order if number % 2 else reversed(order):
            seconds[place, number] = _seconds(functions[place], repeats[place])
    return seconds


def _seconds(function: Timed, repeats: int) -> float:
    if isinstance(function, Remote):
        return function.seconds()
    started = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - started) / repeats


def row(
    group: str,
    name: str,
    seconds: np.ndarray,
    against: str,
    reference: np.ndarray,
    *,
    limit: tuple[str, np.ndarray] | None = None,
    note: str = "",
) -> Row:
    """Compare two functions that were timed in the same rounds; ratios are taken round by round."""
    return Row(
        group=group,
        name=name,
        against=against,
        ratio=Spread.of(seconds / reference),
        ms=Spread.of(1e3 * seconds),
        against_ms=Spread.of(1e3 * reference),
        rounds=len(seconds),
        limit="" if limit is None else limit[0],
        limit_ms=None if limit is None else float(1e3 * np.median(limit[1])),
        reached=None if limit is None else Spread.of(limit[1] / seconds),
        note=note,
    )
