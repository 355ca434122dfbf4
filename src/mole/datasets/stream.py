"""A stream with its ground truth: pairs in the order in which they arrive, and the task behind each.

And what every generator of streams uses: random numbers of its own, and tasks that switch at random.
"""

from __future__ import annotations

import dataclasses
import zlib
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from mole._expect import expect_choice, expect_number, expect_type, expect_whole
from mole._types import Trajectory

__all__ = ["Kind", "Stream", "check_length", "numbered_by_appearance", "stream_rng", "switching_tasks"]

Kind = Literal["regression", "classification"]


# Streams are compared by identity: `==` of their arrays is an array, which no truth value can be made of.
@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """n pairs (x, y), and the task behind each, which only an evaluator may know. Arrays are read-only copies.

    Attributes:
        x: [n, dx] float32, inputs; NaN where the source has none.
        y: [n, dy] float32 targets, or [n] int64 labels 0 … n_classes - 1.
        task: [n] int64, the task behind each pair, numbered by first appearance; all 0 where tasks have no meaning.
        name: of the stream.
        kind: "regression" or "classification".
        n_classes: number of labels; None for a regression.

    Raises:
        ValueError: if the shapes disagree, a target is not finite or a label is out of range.
        TypeError: if an array holds no numbers, or a label or a task is no whole number.
    """

    x: np.ndarray
    y: np.ndarray
    task: np.ndarray
    name: str
    kind: Kind = "regression"
    n_classes: int | None = None

    def __post_init__(self) -> None:
        """Convert, check and freeze."""
        expect_type("Stream", "name", self.name, str)
        expect_choice("Stream", "kind", self.kind, ("regression", "classification"))
        labels = self.kind == "classification"
        for name, whole in (("x", False), ("y", labels), ("task", True)):
            object.__setattr__(self, name, _frozen(name, getattr(self, name), whole=whole))
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
        if self.n_classes is not None:
            expect_whole("Stream", "n_classes", self.n_classes, 1, "It is the number of labels.")
        if self.n_classes is not None and not (self.y.min() >= 0 and self.y.max() < self.n_classes):
            raise ValueError(
                f"stream {self.name!r} has labels {self.y.min()} to {self.y.max()}; expected 0 to "
                f"{self.n_classes - 1}: number the classes."
            )
        if not np.isfinite(self.y).all():
            raise ValueError(
                f"stream {self.name!r} got targets that are not finite; expected finite numbers: drop those rows."
            )

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
        """[n] bool: whether the task of the present segment had an earlier segment."""
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


def _frozen(name: str, values: Any, *, whole: bool) -> np.ndarray:
    """A read-only copy: int64 where numbers are to be whole, else float32."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufO":  # text that looks like numbers is text
            raise TypeError  # noqa: TRY301
        numbers = array.astype(np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError):
        raise TypeError(f"Stream got {name}={values!r:.80}; expected an array of numbers.") from None
    # A cast to integers cuts fractions off: a label of 0.5 would become the label 0.
    if whole and not (np.isfinite(numbers) & (numbers == np.rint(numbers))).all():
        raise TypeError(
            f"Stream got {name}={values!r:.80}; expected whole numbers. Labels and tasks are numbered from 0 on."
        )
    copy = np.array(numbers, dtype=np.int64 if whole else np.float32)
    copy.setflags(write=False)
    return copy


def stream_rng(name: str, seed: int) -> np.random.Generator:
    """The random generator of the stream ``name`` with ``seed``; a stream of another name has other random numbers.

    Raises:
        TypeError: if the seed is no whole number.
        ValueError: if it is negative.
    """
    expect_type("a stream", "name", name, str)
    seed = expect_whole(f"stream {name!r}", "seed", seed, 0)
    # The name is part of the seed, or two streams with one seed would have the same inputs and the same noise.
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def check_length(name: str, length: int) -> None:
    """Raise TypeError or ValueError unless ``length`` is a whole number of pairs, 1 or more."""
    expect_whole(f"stream {name!r}", "length", length, 1, "It is the number of pairs.")


def switching_tasks(
    rng: np.random.Generator, length: int, probability: float, n_tasks: int | None = None
) -> np.ndarray:
    """The task of every pair if each pair but the first switches it with a fixed probability.

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
    expect_number("a switching stream", "switch_probability", probability, low=0.0, high=1.0)
    if n_tasks is not None:
        remedy = "None is a new task at every switch."
        expect_whole("a switching stream", "n_tasks", n_tasks, 2, remedy)
    switches = rng.random(length) < probability
    switches[:1] = False
    if n_tasks is None:
        return np.cumsum(switches)
    steps = np.where(switches, rng.integers(1, n_tasks, size=length), 0)  # 1 … n_tasks - 1: never itself
    return numbered_by_appearance(np.cumsum(steps) % n_tasks)


def numbered_by_appearance(task: np.ndarray) -> np.ndarray:
    """The same tasks, renamed 0, 1, … in the order in which they first appear."""
    # `unique` sorts by number; the rank of a task's first index is its number by appearance.
    _, first, inverse = np.unique(task, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
