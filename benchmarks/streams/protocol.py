"""One small face for all methods, so that all are run, timed and judged by the same lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mole.datasets import Stream

Settings = dict[str, Any]
Draw = Callable[[np.random.Generator], Settings]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a method may know before the first pair: sizes, never the length, the tasks or the switches."""

    dx: int
    dy: int
    n_classes: int | None
    stream: str  # names the family of tasks, for the methods that are given a prior of it
    n_tasks: int  # for the oracle alone
    cache: Path  # where a prior of the family is kept

    @classmethod
    def of(cls, stream: Stream, cache: Path) -> Problem:
        dy = stream.n_classes or stream.y.shape[1]
        return cls(stream.x.shape[1], dy, stream.n_classes, stream.name, int(stream.task.max()) + 1, cache)

    @property
    def classifies(self) -> bool:
        return self.n_classes is not None


class Learner(Protocol):
    """``predict`` gives the expected target [dy], or the probabilities of the classes [n_classes].

    y is a vector [dy], or the label as an int. Optional: ``interval(x)`` -> (low, high), each [dy], that shall hold
    90 % of the targets; ``tell(task)``, for the oracle; ``n_tasks``.
    """

    def predict(self, x: np.ndarray) -> np.ndarray: ...

    def learn(self, x: np.ndarray, y: Any) -> None: ...


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to make learners: its usual settings, and how to draw other ones."""

    name: str
    make: Callable[[Problem, Mapping[str, Any], int], Learner]
    usual: Mapping[str, Any]
    draw: Draw
    fits: Callable[[str], bool] = lambda stream: True  # by its name: some need a prior of its family

    def candidates(self, budget: int, rng: np.random.Generator) -> list[Settings]:
        """The usual settings and ``budget - 1`` random ones; a method without settings has but one."""
        if not self.usual:
            return [{}]
        return [dict(self.usual), *({**self.usual, **self.draw(rng)} for _ in range(budget - 1))]


def choice(rng: np.random.Generator, *values: Any) -> Any:
    """One of the values, all equally likely; plain Python, so that settings are JSON."""
    return values[int(rng.integers(len(values)))]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Between low and high, uniform in the logarithm, to three digits."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")


class Standardiser:
    """Running mean and standard deviation of a vector (Welford); frozen after ``until`` values if given."""

    def __init__(self, size: int, until: int | None = None) -> None:
        self.n, self.mean, self._square, self._until = 0, np.zeros(size), np.zeros(size), until

    def see(self, value: np.ndarray) -> None:
        if self._until is not None and self.n >= self._until:
            return
        self.n += 1
        difference = value - self.mean
        self.mean = self.mean + difference / self.n
        self._square = self._square + difference * (value - self.mean)

    @property
    def scale(self) -> np.ndarray:
        scale = np.sqrt(self._square / max(self.n, 1))
        return np.where(scale > 1e-8, scale, 1.0)

    def forward(self, value: np.ndarray) -> np.ndarray:
        return (value - self.mean) / self.scale

    def back(self, value: np.ndarray) -> np.ndarray:
        return value * self.scale + self.mean
