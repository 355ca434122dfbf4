"""Every named stream as a function of (length, seed)."""

from __future__ import annotations

from collections.abc import Callable

from mole.datasets import recorded
from mole.datasets.sinusoid import sinusoid_stream
from mole.datasets.stream import Stream, check_length
from mole.datasets.teachers import (
    drifting_stream,
    friedman_stream,
    permuted_labels_stream,
    rotated_inputs_stream,
    stationary_stream,
    teacher_stream,
)

__all__ = ["STREAMS", "make_stream"]


def _sinusoid_fresh(length: int, seed: int) -> Stream:
    return sinusoid_stream(length, seed, name="sinusoid-fresh")


def _sinusoid_returning(length: int, seed: int) -> Stream:
    return sinusoid_stream(length, seed, n_tasks=4, name="sinusoid-returning")


def _linear_fresh(length: int, seed: int) -> Stream:
    return teacher_stream("linear", length, seed, n_tasks=None, name="linear-fresh")


def _linear_returning(length: int, seed: int) -> Stream:
    return teacher_stream("linear", length, seed, name="linear-returning")


def _mlp_fresh(length: int, seed: int) -> Stream:
    return teacher_stream("mlp", length, seed, n_tasks=None, name="mlp-fresh")


def _mlp_returning(length: int, seed: int) -> Stream:
    return teacher_stream("mlp", length, seed, name="mlp-returning")


def _mlp_two_outputs(length: int, seed: int) -> Stream:
    return teacher_stream("mlp", length, seed, outputs=2, name="mlp-two-outputs")


def _linear_drift(length: int, seed: int) -> Stream:
    return drifting_stream("linear", length, seed)


def _mlp_drift(length: int, seed: int) -> Stream:
    return drifting_stream("mlp", length, seed)


def _linear_stationary(length: int, seed: int) -> Stream:
    return stationary_stream("linear", length, seed)


def _mlp_stationary(length: int, seed: int) -> Stream:
    return stationary_stream("mlp", length, seed)


def _friedman_recurring(length: int, seed: int) -> Stream:
    from mole.datasets.friedman_drift import friedman_drift_stream  # an extra

    return friedman_drift_stream(length, seed)


STREAMS: dict[str, Callable[[int, int], Stream]] = {
    "sinusoid-fresh": _sinusoid_fresh,
    "sinusoid-returning": _sinusoid_returning,
    "linear-fresh": _linear_fresh,
    "linear-returning": _linear_returning,
    "mlp-fresh": _mlp_fresh,
    "mlp-returning": _mlp_returning,
    "mlp-two-outputs": _mlp_two_outputs,
    "linear-drift": _linear_drift,
    "mlp-drift": _mlp_drift,
    "linear-stationary": _linear_stationary,
    "mlp-stationary": _mlp_stationary,
    "friedman-stationary": friedman_stream,
    "friedman-recurring": _friedman_recurring,
    "labels-rotated": rotated_inputs_stream,
    "labels-permuted": permuted_labels_stream,
    **recorded.loaders(),
}
"""Name -> function (length, seed) -> `Stream`. The recorded ones, and "friedman-recurring", need the extra
``streams``; recorded ones are shorter than ``length`` where there are fewer rows."""


def make_stream(name: str, length: int, seed: int = 0) -> Stream:
    """The stream of that name.

    Args:
        name: a key of `STREAMS`.
        length: pairs (recorded streams: at most).
        seed: the same one gives the same stream.

    Raises:
        ValueError: for an unknown name.
    """
    if not isinstance(name, str) or name not in STREAMS:
        raise ValueError(f"got stream {name!r}; expected one of {', '.join(STREAMS)}.")
    check_length(name, length)
    return STREAMS[name](length, seed)
