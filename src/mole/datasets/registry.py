"""Every named stream as a function of (length, seed)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mole.datasets.recorded import RIVER, SKLEARN, friedman_drift_stream, river_stream, sklearn_stream
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


def _river(name: str) -> Callable[[int, int], Stream]:
    return lambda length, seed: river_stream(name, length)  # a recorded order, which no seed changes


STREAMS: dict[str, Callable[[int, int], Stream]] = {
    "sinusoid-fresh": partial(sinusoid_stream, name="sinusoid-fresh"),
    "sinusoid-returning": partial(sinusoid_stream, n_tasks=4, name="sinusoid-returning"),
    "linear-fresh": partial(teacher_stream, "linear", n_tasks=None, name="linear-fresh"),
    "linear-returning": partial(teacher_stream, "linear", name="linear-returning"),
    "mlp-fresh": partial(teacher_stream, "mlp", n_tasks=None, name="mlp-fresh"),
    "mlp-returning": partial(teacher_stream, "mlp", name="mlp-returning"),
    "mlp-two-outputs": partial(teacher_stream, "mlp", outputs=2, name="mlp-two-outputs"),
    "linear-drift": partial(drifting_stream, "linear"),
    "mlp-drift": partial(drifting_stream, "mlp"),
    "linear-stationary": partial(stationary_stream, "linear"),
    "mlp-stationary": partial(stationary_stream, "mlp"),
    "friedman-stationary": friedman_stream,
    "friedman-recurring": friedman_drift_stream,
    "labels-rotated": rotated_inputs_stream,
    "labels-permuted": permuted_labels_stream,
    **{name: _river(name) for name in RIVER},
    **{name: partial(sklearn_stream, name) for name in SKLEARN},
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
        ValueError: for an unknown name, a length below 1 or a negative seed.
        TypeError: if the length or the seed is no whole number.
        ImportError: if the stream needs the extra ``streams``, with what to install.
    """
    if not isinstance(name, str) or name not in STREAMS:
        raise ValueError(f"make_stream got name={name!r:.80}; expected one of {', '.join(STREAMS)}.")
    check_length(name, length)
    return STREAMS[name](length, seed)
