"""Interleaved timing: every round calls all functions once, so that what slows the machine slows all of them."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np


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
        median, low, high = (_three_digits(value) for value in (self.median, self.low, self.high))
        return f"{median} [{low}..{high}]"


def _three_digits(value: float) -> str:
    if value <= 0:
        return f"{value:g}"
    before_point = math.floor(math.log10(value)) + 1
    return f"{value:.{min(max(0, 3 - before_point), 3)}f}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: how long ``name`` takes as a multiple of ``against``, from the same rounds."""

    name: str
    against: str
    ratio: Spread
    ms: Spread
    against_ms: Spread
    rounds: int


def blocked(function: Callable[[], Any]) -> Callable[[], None]:
    """The function with its result waited for: JAX returns before the work is done."""

    def run() -> None:
        jax.block_until_ready(function())

    return run


def interleaved(functions: Sequence[Callable[[], Any]], rounds: int, warm_up: int = 3) -> np.ndarray:
    """Seconds of every function in every round, ``[functions, rounds]``.

    The order of a round is the reverse of the one before, so that no function always runs after the same other.
    """
    for _ in range(warm_up):
        for function in functions:
            function()
    seconds = np.empty((len(functions), rounds))
    for number in range(rounds):
        order = range(len(functions))
        for place in order if number % 2 else reversed(order):
            started = time.perf_counter()
            functions[place]()
            seconds[place, number] = time.perf_counter() - started
    return seconds


def row(name: str, seconds: np.ndarray, against: str, reference: np.ndarray) -> Row:
    """Compare two functions that were timed in the same rounds; the ratio is taken round by round."""
    return Row(
        name=name,
        against=against,
        ratio=Spread.of(seconds / reference),
        ms=Spread.of(1e3 * seconds),
        against_ms=Spread.of(1e3 * reference),
        rounds=len(seconds),
    )
