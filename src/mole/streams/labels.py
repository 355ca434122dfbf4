"""Classification that switches: the inputs are rotated, or the labels are permuted, and old tasks return.

Classes are normal clouds of the same width around fixed centres. After a switch a learner that knows the clouds has
only to find out how they are turned, or what they are called.
"""

from __future__ import annotations

import math

import numpy as np

from mole.streams.stream import Stream, check_length, stream_rng
from mole.streams.tasks import switching_tasks

__all__ = ["permuted_labels_stream", "rotated_inputs_stream"]

_INPUTS = 6
_CLASSES = 4
_WIDTH = 0.7  # of a cloud; its centre is drawn with standard deviation 1.5


def rotated_inputs_stream(
    length: int,
    seed: int,
    *,
    n_tasks: int = 4,
    classes: int = _CLASSES,
    inputs: int = _INPUTS,
    switch_probability: float = 0.005,
    name: str = "labels-rotated",
) -> Stream:
    """Clouds that are turned by a rotation of their own in each of ``n_tasks`` returning tasks; not in the first.

    Args:
        length: pairs.
        seed: of everything.
        n_tasks: rotations that return.
        classes: number of labels.
        inputs: dx.
        switch_probability: per pair.
        name: of the stream; part of the seed.
    """
    rng, task, label, x = _clouds(name, length, seed, n_tasks, classes, inputs, switch_probability)
    rotations = np.stack([np.eye(inputs), *(_rotation(rng, inputs) for _ in range(n_tasks - 1))])
    return Stream(np.einsum("nij,nj->ni", rotations[task], x), label, task, name, "classification", classes)


def permuted_labels_stream(
    length: int,
    seed: int,
    *,
    n_tasks: int = 4,
    classes: int = _CLASSES,
    inputs: int = _INPUTS,
    switch_probability: float = 0.005,
    name: str = "labels-permuted",
) -> Stream:
    """Clouds whose labels are permuted in each of ``n_tasks`` returning tasks, no two tasks alike.

    Arguments as in `rotated_inputs_stream`.

    Raises:
        ValueError: if there are fewer permutations of the classes than tasks.
    """
    if n_tasks > math.factorial(classes):
        raise ValueError(
            f"stream {name!r} got n_tasks={n_tasks} with {classes} classes; expected at most "
            f"{math.factorial(classes)}, the number of permutations."
        )
    rng, task, label, x = _clouds(name, length, seed, n_tasks, classes, inputs, switch_probability)
    permutations = {tuple(range(classes)): None}  # a dict keeps the order of insertion
    while len(permutations) < n_tasks:
        permutations.setdefault(tuple(int(i) for i in rng.permutation(classes)))
    return Stream(x, np.array(list(permutations))[task, label], task, name, "classification", classes)


def _clouds(
    name: str, length: int, seed: int, n_tasks: int, classes: int, inputs: int, probability: float
) -> tuple[np.random.Generator, np.ndarray, np.ndarray, np.ndarray]:
    check_length(name, length)
    if classes < 2:
        raise ValueError(f"stream {name!r} got classes={classes}; expected at least 2.")
    rng = stream_rng(name, seed)
    task = switching_tasks(rng, length, probability, n_tasks)
    centres = rng.normal(0, 1.5, (classes, inputs))
    label = rng.integers(classes, size=length)
    return rng, task, label, centres[label] + _WIDTH * rng.standard_normal((length, inputs))


def _rotation(rng: np.random.Generator, size: int) -> np.ndarray:
    """Uniform among the rotations (Haar measure): Q of a normal matrix, signs fixed, determinant +1."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)
    return q
