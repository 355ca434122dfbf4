"""Teachers with known weights: linear maps and small networks that stay, switch or drift, and Friedman's function.

Inputs are standard normal, targets have a variance of about one, and the noise has standard deviation `NOISE`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from mole.streams.stream import Stream, check_length, stream_rng
from mole.streams.tasks import switching_tasks

__all__ = [
    "NOISE",
    "Teacher",
    "drifting_stream",
    "friedman",
    "friedman_stream",
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
