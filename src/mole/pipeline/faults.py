"""Faults of sensors, put into recorded pairs: for tests of learners, and for trying one's own settings.

Each fault changes one segment of a stream and leaves the rest as it was. A seed fixes what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["FAULTS", "Faulty", "inject"]


class Faulty(NamedTuple):
    """A stream with a fault in it.

    Attributes:
        x: inputs ``[m, dx]``.
        y: targets ``[m, dy]``.
        origin: row of the clean stream that each row was ``[m]``.
        touched: whether the row was changed, or is out of its place ``[m]``.
    """

    x: np.ndarray
    y: np.ndarray
    origin: np.ndarray
    touched: np.ndarray


class _Segment:
    """The rows of one fault: their values, the scales of the columns, and where they came from."""

    def __init__(self, values: np.ndarray, scale: np.ndarray, dx: int, rng: np.random.Generator) -> None:
        self.values, self.scale, self.dx, self.rng = values, scale, dx, rng
        self.order = np.arange(len(values))

    @property
    def some(self) -> np.ndarray:
        """One or more columns, drawn anew each time."""
        width = self.values.shape[1]
        return self.rng.permutation(width)[: self.rng.integers(1, width + 1)]

    @property
    def few(self) -> np.ndarray:
        """One to three rows, drawn anew each time."""
        return self.rng.integers(0, len(self.values), self.rng.integers(1, 4))

    def put(self, rows: np.ndarray | slice, value: float) -> None:
        """The same value in some columns of some rows."""
        columns = self.some
        self.values[rows] = np.where(
            np.isin(np.arange(self.values.shape[1]), columns), value, self.values[rows]
        )


def _nan(s: _Segment) -> None:
    s.put(slice(None), np.nan)


def _infinity(s: _Segment) -> None:
    s.put(slice(None), np.inf * s.rng.choice([-1.0, 1.0]))


def _overflow(s: _Segment) -> None:
    s.put(slice(None), s.rng.choice([-1e25, 1e25, 1e38, -1e38, 3.4e38]))


def _spikes(s: _Segment) -> None:
    columns = s.some
    for row in s.few:
        s.values[row, columns] += 1e6 * s.scale[columns] * s.rng.choice([-1.0, 1.0], len(columns))


def _stuck(s: _Segment) -> None:
    s.values[:] = s.values[0]


def _silent(s: _Segment) -> None:
    s.values[:, s.rng.integers(0, s.dx)] = 0.0


def _constant_target(s: _Segment) -> None:
    s.values[:, s.dx :] = s.values[0, s.dx :]


def _rank_deficient(s: _Segment) -> None:
    s.values[:, : s.dx] = s.values[:, :1] * s.rng.normal(size=s.dx)


def _unit_change(s: _Segment) -> None:
    s.values[:, s.rng.integers(0, s.values.shape[1])] *= s.rng.choice([1e-3, 0.3048, 57.3, 1e3])


def _dropped(s: _Segment) -> None:
    s.order = s.order[s.rng.random(len(s.order)) < 0.5]


def _duplicated(s: _Segment) -> None:
    s.order = np.repeat(s.order, s.rng.integers(1, 4, len(s.order)))


def _reordered(s: _Segment) -> None:
    s.order = s.rng.permutation(s.order)


FAULTS: dict[str, Callable[[_Segment], None]] = {
    "nan": _nan,
    "infinity": _infinity,
    "overflow": _overflow,
    "spikes": _spikes,
    "stuck": _stuck,
    "silent": _silent,
    "constant target": _constant_target,
    "rank-deficient": _rank_deficient,
    "unit change": _unit_change,
    "dropped": _dropped,
    "duplicated": _duplicated,
    "reordered": _reordered,
}
"""Name → what it does: spikes are of 10⁶ standard deviations, overflows of up to the largest float32."""


def inject(x: np.ndarray, y: np.ndarray, faults: list[tuple[str, int, int]], seed: int) -> Faulty:
    """Put faults into a stream.

    Args:
        x: inputs ``[n, dx]``.
        y: targets ``[n, dy]``.
        faults: (name of one of `FAULTS`, first row, rows), in order and apart.
        seed: of the random choices of all faults.

    Returns:
        The stream, float32, of m rows: not n if samples are lost or duplicated.

    Raises:
        ValueError: for an unknown fault, or segments that overlap or leave the stream.
    """
    n, dx = x.shape
    # In double, in which no fault overflows; the cast at the end then makes infinity of what float32 cannot hold.
    whole = np.concatenate([x, y], axis=1).astype(np.float64)
    scale = np.maximum(whole.std(axis=0), 1e-12)
    rows, origin, touched, done = [], [], [], 0
    for place, (name, begin, length) in enumerate(faults):
        if name not in FAULTS:
            raise ValueError(f"inject got the fault {name!r}; expected one of {', '.join(FAULTS)}.")
        if begin < done or length < 1 or begin + length > n:
            raise ValueError(
                f"inject got {name!r} in rows {begin} to {begin + length}; expected rows from {done} on, up to {n}. "
                "Give the faults in order, without overlap."
            )
        # A generator for each place: to add a fault does not change the faults before it.
        segment = _Segment(
            whole[begin : begin + length].copy(), scale, dx, np.random.default_rng((seed, place))
        )
        FAULTS[name](segment)
        here = begin + segment.order
        # Compared in the place where each row was, since some faults move rows and leave their values.
        with np.errstate(invalid="ignore"):
            changed = (segment.values[segment.order] != whole[here]).any(axis=1)
        moved = np.diff(here, prepend=begin - 1) != 1
        rows += [whole[done:begin], segment.values[segment.order]]
        origin += [np.arange(done, begin), here]
        touched += [np.zeros(begin - done, bool), changed | moved]
        done = begin + length
    rows, origin, touched = (
        [*rows, whole[done:]],
        [*origin, np.arange(done, n)],
        [*touched, np.zeros(n - done, bool)],
    )
    values = np.concatenate(rows)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    return Faulty(values[:, :dx], values[:, dx:], np.concatenate(origin), np.concatenate(touched))
