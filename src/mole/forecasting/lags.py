"""Inputs from a series' own past: lags, differences, means and the season. Each is a linear function of past values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mole.estimators.step import Taps
from mole.rows.encoding import Schema

__all__ = ["Inputs", "Tap", "candidates", "named_inputs", "tap_matrix", "taps_among"]

_CHANGES = 8  # of the last values, from which "auto" chooses


class Tap(NamedTuple):
    """One input: the sum of ``weight`` times the value ``lag`` rows before the predicted one; lag 1 is the last."""

    name: str
    lags: tuple[int, ...]
    weights: tuple[float, ...]


class Inputs(NamedTuple):
    """How the past becomes inputs, and what the learner predicts from them.

    Attributes:
        taps: the inputs.
        season: rows of a season, for the seasonal experts; 0 without one.
        change: whether the learner predicts the change from the last value, or the value itself.
        log: whether it sees the logarithms of the values.
    """

    taps: tuple[Tap, ...]
    season: int
    change: bool
    log: bool = False

    @property
    def reach(self) -> int:
        """The longest lag."""
        return max(lag for tap in self.taps for lag in tap.lags)


def _change(lag: int, name: str = "") -> Tap:
    return Tap(name or f"change {lag}", (lag, lag + 1), (1.0, -1.0))


def _mean(lags: range) -> dict[int, float]:
    return dict.fromkeys(lags, 1.0 / len(lags))


def _difference(name: str, *parts: tuple[float, dict[int, float]]) -> Tap:
    """A sum of weighted means of past values."""
    total: dict[int, float] = {}
    for share, weights in parts:
        for lag, weight in weights.items():
            total[lag] = total.get(lag, 0.0) + share * weight
    kept = {lag: weight for lag, weight in sorted(total.items()) if weight}
    return Tap(name, tuple(kept), tuple(kept.values()))


_LEVEL = Tap("level", (1,), (1.0,))
# The last value beside a mean of several: what an average of noisy values has that the last one lacks.
_ABOVE = [
    _difference(f"above mean of {n}", (1.0, {1: 1.0}), (-1.0, _mean(range(1, n + 1)))) for n in (3, 6, 12, 24)
]


def named_inputs(lags: int | Sequence[int], season: int, change: bool) -> Inputs:
    """Inputs that a user asked for: the given lags, and the season with its neighbours.

    Args:
        lags: so many of the last values, or the lags themselves.
        season: rows of a season; 0 without one.
        change: as of `Inputs`.
    """
    wanted = range(1, lags + 1) if isinstance(lags, int) else lags
    taps = [Tap(f"lag {lag}", (lag,), (1.0,)) for lag in wanted]
    return Inputs((*taps, *_seasonal(season)[:3]), season, change)


def _seasonal(season: int) -> list[Tap]:
    """What happened in the seasons before: changes to the row that corresponds to the predicted one, and near it."""
    if not season:
        return []
    names = {0: "season", -1: "season before", 1: "season after"}
    # A season of two rows has no neighbour after it that is already known.
    near = [_change(season - place, name) for place, name in names.items() if season - place >= 1]
    whole = [_mean(range(k * season + 1, (k + 1) * season + 1)) for k in range(3)]
    # A value beside the mean of the season that ends with it, now and averaged over three seasons.
    place = [((1.0, {(k + 1) * season: 1.0}), (-1.0, whole[k])) for k in range(3)]
    average = [(share / 3.0, part) for pair in place for share, part in pair]
    return [
        *near,
        Tap("over a season", (1, season + 1), (1.0, -1.0)),
        _change(2 * season, "two seasons"),
        _difference("above mean of a season", (1.0, {1: 1.0}), (-1.0, whole[0])),
        _difference("place in a season", *place[0]),
        _difference("place in three seasons", *average),
    ]


def candidates(season: int) -> list[Tap]:
    """All inputs that "auto" chooses from, those of a season among them; 0 without one."""
    changes = [_change(lag) for lag in range(1, _CHANGES + 1)]
    return [_LEVEL, *changes, *_ABOVE, *_seasonal(season)]


def tap_matrix(taps: Sequence[Tap], size: int) -> np.ndarray:
    """Weights of the inputs on a window of past values, the last one first ``[taps, size]``."""
    matrix = np.zeros((len(taps), size))
    for row, tap in zip(matrix, taps, strict=True):
        for lag, weight in zip(tap.lags, tap.weights, strict=True):
            row[lag - 1] += weight
    return matrix


def taps_among(schema: Schema, rows: Mapping[str, np.ndarray], dx: int) -> tuple[Taps, np.ndarray]:
    """How a window of the past becomes those inputs of a schema that come from it, and which inputs those are.

    Args:
        schema: of the rows that the regressor gets.
        rows: column → its weights on the window ``[k]``, as of `tap_matrix`.
        dx: inputs of the regressor: those of the schema, and zeros.
    """
    size = len(next(iter(rows.values())))
    made = Taps(np.zeros((dx, size), np.float32), *(np.full(dx, v, np.float32) for v in (0.0, 1.0, 0.0)))
    own, place = [], 0
    for column in schema.columns:
        if column.name in rows:
            made.weights[place] = rows[column.name]
            made.offset[place], made.factor[place], made.log[place] = column.offset, column.factor, column.log
            own.append(place)
        place += len(column.names)
    return made, np.asarray(own, int)
