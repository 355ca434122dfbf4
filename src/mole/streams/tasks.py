"""When tasks switch, and to which."""

from __future__ import annotations

import numpy as np

from mole._expect import expect_number, expect_whole

__all__ = ["numbered_by_appearance", "switching_tasks"]


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
