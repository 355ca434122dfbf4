"""Teachers with known weights: linear maps and small networks that stay, switch or drift, and Friedman's function.

Inputs are standard normal, targets have a variance of about one, and the noise has standard deviation `NOISE`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from mole.datasets.stream import Stream, check_length, stream_rng, switching_tasks

__all__ = [
    "NOISE",
    "Teacher",
    "drifting_stream",
    "friedman",
    "friedman_stream",
    "permuted_labels_stream",
    "rotated_inputs_stream",
    "stationary_stream",
    "teacher_stream",
]

NOISE = 0.1
Teacher = Literal["linear", "mlp"]
_INPUTS = 5
_UNITS = 16
_Map = Callable[[np.ndarray], np.ndarray]


def teacher_stream(
    teacher: Teacher,
    length: int,
    seed: int,
    *,
    n_tasks: int | None = 4,
    switch_probability: float = 0.005,
    inputs: int = _INPUTS,
    outputs: int = 1,
    name: str | None = None,
) -> Stream:
    """A teacher whose weights switch without notice.

    Args:
        teacher: "linear", y = W x + b, or "mlp", one hidden layer of 16 tanh units.
        length: pairs.
        seed: of everything.
        n_tasks: teachers that return; None for a new one at every switch.
        switch_probability: per pair.
        inputs: dx.
        outputs: dy.
        name: of the stream; part of the seed.
    """
    name = name or f"{teacher}-switching"
    rng = _started(name, length, seed)
    task = switching_tasks(rng, length, switch_probability, n_tasks)
    teachers = [_teacher(teacher, rng, inputs, outputs) for _ in range(int(task.max()) + 1)]
    x = rng.standard_normal((length, inputs))
    y = np.empty((length, outputs))
    for number, one in enumerate(teachers):
        y[task == number] = one(x[task == number])
    return Stream(x, y + rng.normal(0, NOISE, y.shape), task, name)


def stationary_stream(
    teacher: Teacher, length: int, seed: int, *, inputs: int = _INPUTS, name: str | None = None
) -> Stream:
    """One teacher that never changes."""
    name = name or f"{teacher}-stationary"
    rng = _started(name, length, seed)
    one = _teacher(teacher, rng, inputs, 1)
    x = rng.standard_normal((length, inputs))
    return Stream(x, one(x) + rng.normal(0, NOISE, (length, 1)), np.zeros(length), name)


def drifting_stream(
    teacher: Teacher,
    length: int,
    seed: int,
    *,
    period: int = 2000,
    inputs: int = _INPUTS,
    name: str | None = None,
) -> Stream:
    """A teacher whose output weights turn steadily in a plane, w(t) = u cos(2πt/period) + v sin(2πt/period).

    u and v are the weights of two teachers (with the same hidden layer), so after a quarter of the period the one has
    become the other. Nothing ever switches: the task is 0 throughout.

    Raises:
        ValueError: if the period is below 1.
    """
    name = name or f"{teacher}-drift"
    if period < 1:
        raise ValueError(f"stream {name!r} got period={period}; expected at least 1 pair for a whole turn.")
    rng = _started(name, length, seed)
    features = _hidden(rng, inputs) if teacher == "mlp" else None
    u, v = (_weights(rng, inputs if features is None else _UNITS, 1) for _ in range(2))
    if features is None:  # orthonormal, so that the variance of y does not change on the way
        u, v = np.linalg.qr(np.concatenate([u, v], axis=1))[0].T[:, :, None]
    x = rng.standard_normal((length, inputs))
    angle = 2 * np.pi * np.arange(length)[:, None] / period
    z = x if features is None else features(x)
    y = (z @ u) * np.cos(angle) + (z @ v) * np.sin(angle)
    return Stream(x, y + rng.normal(0, NOISE, y.shape), np.zeros(length), name)


def friedman(x: np.ndarray) -> np.ndarray:
    """Friedman's first function of inputs [n, ≥ 5] in [0, 1]: 10 sin(πx₀x₁) + 20 (x₂ - ½)² + 10 x₃ + 5 x₄.

    Source: J. H. Friedman, Multivariate adaptive regression splines, Annals of Statistics 19 (1991).
    """
    return 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * np.square(x[:, 2] - 0.5) + 10 * x[:, 3] + 5 * x[:, 4]


def friedman_stream(length: int, seed: int, *, name: str = "friedman-stationary") -> Stream:
    """Friedman's first function of five of ten uniform inputs, noise variance 1: stationary."""
    rng = _started(name, length, seed)
    x = rng.random((length, 10))
    y = friedman(x) + rng.standard_normal(length)
    return Stream(x, y[:, None], np.zeros(length), name)


def _started(name: str, length: int, seed: int) -> np.random.Generator:
    check_length(name, length)
    return stream_rng(name, seed)


def _teacher(teacher: str, rng: np.random.Generator, inputs: int, outputs: int) -> _Map:
    if teacher == "linear":
        weights, bias = _weights(rng, inputs, outputs), rng.normal(0, 0.5, outputs)
        return lambda x: x @ weights + bias
    if teacher == "mlp":
        features, weights = _hidden(rng, inputs), _weights(rng, _UNITS, outputs)
        return lambda x: features(x) @ weights
    raise ValueError(f"got teacher {teacher!r}; expected 'linear' or 'mlp'.")


def _hidden(rng: np.random.Generator, inputs: int) -> _Map:
    weights, bias = rng.normal(0, 1.5 / np.sqrt(inputs), (inputs, _UNITS)), rng.normal(0, 0.5, _UNITS)
    return lambda x: np.tanh(x @ weights + bias) * 1.5  # a unit of variance near one


def _weights(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    return rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs))


# Classification that switches: the inputs are rotated, or the labels are permuted, and old tasks return.
#
# Classes are normal clouds of the same width around fixed centres. After a switch a learner that knows the clouds has
# only to find out how they are turned, or what they are called.


_TURNED_INPUTS = 6
_CLASSES = 4
_WIDTH = 0.7  # of a cloud; its centre is drawn with standard deviation 1.5


def rotated_inputs_stream(
    length: int,
    seed: int,
    *,
    n_tasks: int = 4,
    classes: int = _CLASSES,
    inputs: int = _TURNED_INPUTS,
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
    inputs: int = _TURNED_INPUTS,
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
