"""A stream with its ground truth: pairs in the order in which they arrive, and the task behind each."""

from __future__ import annotations

import dataclasses
import zlib
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from mole._expect import expect_number, expect_whole
from mole._types import Trajectory

__all__ = ["Kind", "Stream", "numbered_by_appearance", "stream_rng", "switching_tasks"]

Kind = Literal["regression", "classification"]


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """n pairs (x, y) and what only an evaluator may know: which task made each. Arrays are read-only.

    Attributes:
        x: [n, dx] float32, inputs; NaN where the source has none.
        y: [n, dy] float32 targets, or [n] int64 labels 0 … n_classes - 1.
        task: [n] int64, the task behind each pair, numbered by first appearance; all 0 where tasks have no meaning.
        name: of the stream.
        kind: "regression" or "classification".
        n_classes: number of labels; None for a regression.

    Raises:
        ValueError: if the shapes disagree, a target is not finite or a label is out of range.
    """

    x: np.ndarray
    y: np.ndarray
    task: np.ndarray
    name: str
    kind: Kind = "regression"
    n_classes: int | None = None

    def __post_init__(self) -> None:
        """Convert, check and freeze."""
        if self.kind not in ("regression", "classification"):
            raise ValueError(f"stream got kind={self.kind!r}; expected 'regression' or 'classification'.")
        labels = self.kind == "classification"
        for name, dtype in (("x", np.float32), ("y", np.int64 if labels else np.float32), ("task", np.int64)):
            try:
                array = np.array(getattr(self, name), dtype=dtype)
            except (TypeError, ValueError):
                got = getattr(self, name)
                raise TypeError(f"stream got {name}={got!r:.80}; expected an array of numbers.") from None
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        n = self.task.shape[0] if self.task.ndim else 0
        ranks = (self.x.ndim, self.y.ndim, self.task.ndim)
        if ranks != (2, 1 if labels else 2, 1) or self.x.shape[0] != n or self.y.shape[0] != n or not n:
            expected = "x [n, dx], " + ("y [n]" if labels else "y [n, dy]") + ", task [n] of n ≥ 1 pairs"
            raise ValueError(
                f"stream {self.name!r} got x {self.x.shape}, y {self.y.shape}, task {self.task.shape}; "
                f"expected {expected}: one row per pair."
            )
        if labels != (self.n_classes is not None):
            raise ValueError(
                f"stream {self.name!r} is a {self.kind} and got n_classes={self.n_classes}; expected a number for a "
                "classification and None for a regression."
            )
        if self.n_classes is not None and not (self.y.min() >= 0 and self.y.max() < self.n_classes):
            raise ValueError(
                f"stream {self.name!r} has labels {self.y.min()} to {self.y.max()}; expected 0 to "
                f"{self.n_classes - 1}: number the classes."
            )
        if not np.isfinite(self.y).all():
            raise ValueError(f"stream {self.name!r} has targets that are not finite: drop those rows.")

    def __len__(self) -> int:
        """Number of pairs n."""
        return len(self.task)

    @cached_property
    def switches(self) -> np.ndarray:
        """Indices t ≥ 1 at which the task is another than at t - 1."""
        return 1 + np.flatnonzero(np.diff(self.task))

    @cached_property
    def since_switch(self) -> np.ndarray:
        """[n] int: pairs seen since the last switch, 0 at the switch itself; -1 before the first switch."""
        place = np.searchsorted(self.switches, np.arange(len(self)), side="right") - 1
        starts = np.concatenate([self.switches, [0]])  # place -1 reads the last entry, and is overwritten
        return np.where(place < 0, -1, np.arange(len(self)) - starts[place])

    @cached_property
    def returned(self) -> np.ndarray:
        """[n] bool: whether the present stretch is of a task that had an earlier stretch."""
        result = np.zeros(len(self), bool)
        seen = {int(self.task[0])}
        edges = [*self.switches, len(self)]
        for start, end in pairwise(edges):
            task = int(self.task[start])
            result[start:end] = task in seen
            seen.add(task)
        return result

    def targets(self) -> np.ndarray:
        """[n, dy] float32: the targets, or the labels as one-hot vectors [n, n_classes]."""
        return self.y if self.n_classes is None else np.eye(self.n_classes, dtype=np.float32)[self.y]

    def trajectory(self) -> Trajectory:
        """The whole stream for meta-training; labels as one-hot vectors."""
        return Trajectory(np.array(self.x), np.array(self.targets()))


def stream_rng(name: str, seed: int) -> np.random.Generator:
    """The generator of stream ``name`` with ``seed``: streams of another name are independent of it.

    Raises:
        ValueError: if the seed is negative.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"stream {name!r} got seed {seed!r}; expected an integer of at least 0.")
    if seed < 0:
        raise ValueError(f"stream {name!r} got seed {seed}; expected an integer of at least 0.")
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def check_length(name: str, length: int) -> None:
    """Refuse a stream without pairs."""
    if isinstance(length, bool) or not isinstance(length, int | np.integer):
        raise TypeError(f"stream {name!r} got length {length!r}; expected a whole number of pairs.")
    if length < 1:
        raise ValueError(f"stream {name!r} got length {length}; expected at least 1 pair.")


# When tasks switch, and to which.


def switching_tasks(
    rng: np.random.Generator, length: int, probability: float, n_tasks: int | None = None
) -> np.ndarray:
    """The task of every pair when each pair but the first switches it with a fixed probability.

    Args:
        rng: the generator to draw from.
        length: pairs.
        probability: of a switch, per pair.
        n_tasks: None for a new task at every switch; else the next is one of the other ``n_tasks - 1``, all
            equally likely.

    Returns:
        [length] int64, numbered by first appearance.

    Raises:
        ValueError: if the probability is not in [0, 1] or there is no other task to switch to.
    """
    expect_number("a switching stream", "switch_probability", probability)
    if n_tasks is not None:
        expect_whole("a switching stream", "n_tasks", n_tasks, 2, "Or None for new ones.")
    if not 0 <= probability <= 1:
        raise ValueError(f"got a switch probability of {probability}; expected a number between 0 and 1.")
    switches = rng.random(length) < probability
    switches[:1] = False
    if n_tasks is None:
        return np.cumsum(switches)
    steps = np.where(switches, rng.integers(1, n_tasks, size=length), 0)  # 1 … n_tasks - 1: never itself
    return numbered_by_appearance(np.cumsum(steps) % n_tasks)


def numbered_by_appearance(task: np.ndarray) -> np.ndarray:
    """The same tasks, renamed 0, 1, … in the order in which they first appear."""
    _, first, inverse = np.unique(task, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
