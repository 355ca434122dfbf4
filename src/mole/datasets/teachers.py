"""Teachers whose truth is known: functions that stay, switch or drift, and labels that switch.

The teachers of a regression are linear maps, small networks and Friedman's function. Their inputs are standard normal,
their targets have a variance of about one, and the noise has standard deviation `NOISE`; Friedman's function keeps the
scales of its paper.

The classes of a classification are normal clouds of one width around fixed centres. At a switch the inputs are rotated
or the labels are permuted: a learner that knows the clouds has only to find out how they are turned, or what they are
called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from mole._expect import expect_choice, expect_whole
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

NOISE = 0.1  # standard deviation, about a tenth of that of the targets
Teacher = Literal["linear", "mlp"]
_INPUTS = 5
_UNITS = 16
_TURNED_INPUTS = 6
_CLASSES = 4
# Of a cloud; its centre is drawn with standard deviation 1.5, so that neighbours overlap a little.
_WIDTH = 0.7
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

    Raises:
        ValueError: for an unknown teacher, or an amount out of range.
        TypeError: for an amount that is no whole number.
    """
    # Everything is drawn from one generator: the order of the lines below is part of what a seed means.
    name = name or f"{teacher}-switching"
    rng = _started(name, length, seed, inputs=inputs, outputs=outputs)
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
    """One teacher that never changes. Arguments and errors as in `teacher_stream`."""
    name = name or f"{teacher}-stationary"
    rng = _started(name, length, seed, inputs=inputs)
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

    u and v are the weights of two teachers with the same hidden layer. After a quarter of the period one has become the
    other. Nothing switches: the task is 0 throughout.

    Args:
        teacher: as in `teacher_stream`.
        length: pairs.
        seed: of everything.
        period: pairs of one full turn.
        inputs: dx.
        name: of the stream; part of the seed.

    Raises:
        ValueError: for an unknown teacher, or an amount out of range.
        TypeError: for an amount that is no whole number.
    """
    name = name or f"{teacher}-drift"
    expect_choice(f"stream {name!r}", "teacher", teacher, ("linear", "mlp"))
    rng = _started(name, length, seed, period=period, inputs=inputs)
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
    """Friedman's first function of five of ten uniform inputs, noise variance 1; it never changes.

    Args:
        length: pairs.
        seed: of everything.
        name: of the stream; part of the seed.

    Raises:
        ValueError: for a length below 1 or a negative seed.
        TypeError: for one that is no whole number.
    """
    rng = _started(name, length, seed)
    x = rng.random((length, 10))
    y = friedman(x) + rng.standard_normal(length)
    return Stream(x, y[:, None], np.zeros(length), name)


def _started(name: str, length: int, seed: int, **amounts: int) -> np.random.Generator:
    """The generator of a stream, once its amounts are known to be whole numbers of at least 1."""
    check_length(name, length)
    for argument, amount in amounts.items():
        expect_whole(f"stream {name!r}", argument, amount, 1)
    return stream_rng(name, seed)


def _teacher(teacher: str, rng: np.random.Generator, inputs: int, outputs: int) -> _Map:
    expect_choice("a stream", "teacher", teacher, ("linear", "mlp"))
    if teacher == "linear":
        weights, bias = _weights(rng, inputs, outputs), rng.normal(0, 0.5, outputs)
        return lambda x: x @ weights + bias
    features, weights = _hidden(rng, inputs), _weights(rng, _UNITS, outputs)
    return lambda x: features(x) @ weights


def _hidden(rng: np.random.Generator, inputs: int) -> _Map:
    # Wide enough for the tanh to bend: a nearly linear hidden layer would make this teacher a linear map.
    weights, bias = rng.normal(0, 1.5 / np.sqrt(inputs), (inputs, _UNITS)), rng.normal(0, 0.5, _UNITS)
    return lambda x: np.tanh(x @ weights + bias) * 1.5  # so that a unit has a variance near one


def _weights(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    # The variance of a sum of `inputs` such terms is one, whatever their number.
    return rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs))


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
    """Clouds whose inputs are rotated, differently in each of ``n_tasks`` returning tasks; the first is not rotated.

    Args:
        length: pairs.
        seed: of everything.
        n_tasks: rotations that return, at least 2.
        classes: number of labels, at least 2.
        inputs: dx.
        switch_probability: per pair.
        name: of the stream; part of the seed.

    Raises:
        ValueError: for an amount out of range.
        TypeError: for an amount that is no whole number.
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
    """Clouds whose labels are permuted, differently in each of ``n_tasks`` returning tasks.

    Arguments as in `rotated_inputs_stream`.

    Raises:
        ValueError: if there are fewer permutations of the classes than tasks.
    """
    owner, remedy = f"stream {name!r}", f"{classes} classes have no more permutations."
    expect_whole(owner, "classes", classes, 2)
    # Beyond 20 the factorial has thousands of digits, and no stream has as many tasks.
    expect_whole(owner, "n_tasks", n_tasks, 2, remedy, most=math.factorial(min(classes, 20)))
    rng, task, label, x = _clouds(name, length, seed, n_tasks, classes, inputs, switch_probability)
    # The first task keeps the labels; a dictionary holds each permutation once, in the order of the draws.
    permutations = {tuple(range(classes)): None}
    while len(permutations) < n_tasks:
        permutations.setdefault(tuple(int(i) for i in rng.permutation(classes)))
    return Stream(x, np.array(list(permutations))[task, label], task, name, "classification", classes)


def _clouds(
    name: str, length: int, seed: int, n_tasks: int, classes: int, inputs: int, probability: float
) -> tuple[np.random.Generator, np.ndarray, np.ndarray, np.ndarray]:
    expect_whole(f"stream {name!r}", "classes", classes, 2)
    expect_whole(f"stream {name!r}", "n_tasks", n_tasks, 2)
    rng = _started(name, length, seed, inputs=inputs)
    task = switching_tasks(rng, length, probability, n_tasks)
    centres = rng.normal(0, 1.5, (classes, inputs))
    label = rng.integers(classes, size=length)
    return rng, task, label, centres[label] + _WIDTH * rng.standard_normal((length, inputs))


def _rotation(rng: np.random.Generator, size: int) -> np.ndarray:
    """Uniform among the rotations (Haar measure): Q of a normal matrix, signs fixed, determinant +1.

    Source: F. Mezzadri, How to generate random matrices from the classical compact groups, Notices AMS 54 (2007).
    """
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    # LAPACK chooses the signs of R's diagonal; Q is uniform only if they are all positive.
    q = q * np.sign(np.diag(r))
    # A determinant of -1 is a reflection: one turned column makes a rotation of it.
    q[:, 0] *= np.linalg.det(q)
    return q
