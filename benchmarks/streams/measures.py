"""What one run of one method on one stream comes to."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.streams.protocol import Learner
from mole.datasets import Stream

NATURAL = ("sinusoid-fresh", "sinusoid-returning")
"""Streams whose errors are in the unit of y, as others report them; elsewhere y is divided by its deviation."""

SPLITS = {"first": (0, 5), "early": (5, 20), "later": (20, None)}
"""Name -> pairs since the last switch, from and before. Pairs before the first switch are in none."""

_FLOOR = 1e-3  # a probability of zero is bounded here: the log loss of one pair is at most 6.9


class Trace(NamedTuple):
    """A run, pair by pair.

    Attributes:
        prediction: [n, dy], or probabilities [n, n_classes].
        low, high: [n, dy], NaN where the method gives no interval.
        seconds: [n], of predict and learn together, without the interval.
        n_tasks: that the method believes in at the end; None if it counts none.
    """

    prediction: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seconds: np.ndarray
    n_tasks: int | None


def run_stream(stream: Stream, learner: Learner) -> Trace:
    """Predict, then learn, pair by pair. The learner sees neither a task (unless it is told) nor a target too early."""
    n, size = len(stream), stream.n_classes or stream.y.shape[1]
    prediction = np.empty((n, size))
    low, high = np.full((2, n, size), np.nan)
    seconds = np.empty(n)
    tell, interval = getattr(learner, "tell", None), getattr(learner, "interval", None)
    for t in range(n):
        x = stream.x[t]
        y: Any = int(stream.y[t]) if stream.kind == "classification" else stream.y[t]
        if tell is not None:
            tell(int(stream.task[t]))
        start = time.perf_counter()
        prediction[t] = learner.predict(x)
        seconds[t] = time.perf_counter() - start
        if interval is not None and stream.kind == "regression":
            low[t], high[t] = interval(x)
        start = time.perf_counter()
        learner.learn(x, y)
        seconds[t] += time.perf_counter() - start
    return Trace(prediction, low, high, seconds, getattr(learner, "n_tasks", None))


def measure(stream: Stream, trace: Trace, *, start: int = 0) -> dict[str, float | int | None]:
    """Figures of a run, by pairs from ``start`` on. None where a stream has no such pairs, or the run diverged.

    ``error`` is the RMSE over pairs and outputs, or the share of wrong labels; ``after-…`` the same by pairs since the
    last switch, ``return-…`` where that switch was to a task seen before.
    """
    loss = pointwise_loss(stream, trace.prediction)
    root = np.sqrt if stream.kind == "regression" else np.asarray
    counted = np.arange(len(stream)) >= start

    def error(rows: np.ndarray) -> float | None:
        rows = rows & counted
        value = float(root(loss[rows].mean())) if rows.any() else float("nan")
        return value if np.isfinite(value) else None

    found: dict[str, float | int | None] = {"error": error(counted)}
    for name, (first, end) in SPLITS.items():
        inside = (stream.since_switch >= first) & (stream.since_switch < (end or len(stream)))
        found[f"after-{name}"] = error(inside)
        found[f"return-{name}"] = error(inside & stream.returned)
    if stream.kind == "classification":
        p = np.clip(trace.prediction[np.arange(len(stream)), stream.y], _FLOOR, 1)
        found["log-loss"] = float(-np.log(p[counted]).mean())
    else:
        found.update(_coverage(stream, trace, counted))
    found["diverged"] = int(not np.isfinite(loss[counted]).all())
    found["n_tasks"] = trace.n_tasks
    # the median leaves out compilation and a warm-up's training; the mean holds all
    found["microseconds"] = float(np.median(trace.seconds) * 1e6)
    found["microseconds-mean"] = float(np.mean(trace.seconds) * 1e6)
    return found


def pointwise_loss(stream: Stream, prediction: np.ndarray) -> np.ndarray:
    """[n]: squared error, mean over outputs, in the stream's unit (`NATURAL`); or 1 where the label is wrong."""
    if stream.kind == "classification":
        wrong = np.argmax(prediction, axis=1) != stream.y
        return np.where(np.isfinite(prediction).all(axis=1), wrong, np.nan)
    with np.errstate(over="ignore"):  # a run that diverges is reported as such
        return np.square((stream.y - prediction) / unit(stream)).mean(axis=1)


def unit(stream: Stream) -> np.ndarray:
    """[dy]: what errors are divided by: 1, or the standard deviation of y over the whole stream."""
    if stream.name in NATURAL:
        return np.ones(stream.y.shape[1])
    scale = stream.y.astype(float).std(axis=0)
    return np.where(scale > 0, scale, 1.0)


def _coverage(stream: Stream, trace: Trace, counted: np.ndarray) -> dict[str, float | None]:
    known = counted & np.isfinite(trace.low).all(axis=1) & np.isfinite(trace.high).all(axis=1)
    near = known & (stream.since_switch >= 0) & (stream.since_switch < 20)
    hit = ((stream.y >= trace.low) & (stream.y <= trace.high)).mean(axis=1)
    width = ((trace.high - trace.low) / unit(stream)).mean(axis=1)
    return {
        "coverage": float(hit[known].mean()) if known.any() else None,
        "coverage-switch": float(hit[near].mean()) if near.any() else None,
        "width": float(width[known].mean()) if known.any() else None,
        "width-switch": float(width[near].mean()) if near.any() else None,
    }
