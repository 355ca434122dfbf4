"""Simple forecasts beside the learned one, their combination for each horizon, and intervals that cover.

The weights are exponential in the discounted absolute errors (forecasting with expert advice; N. Cesa-Bianchi,
G. Lugosi, Prediction, Learning, and Games, 2006), so that on no stream the combination is much worse than the best of
them. The half width of an interval is a multiple of the typical error. The multiple grows after a miss and shrinks
after a hit: conformal quantile tracking (A. Angelopoulos, E. Candès, R. Tibshirani, NeurIPS 2023).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

__all__ = ["EXPERTS", "ExpertPool", "simple_forecasts"]

EXPERTS = (
    "last value",
    "seasonal value",
    "mean",
    "seasonal change",
    "drift",
    "smoothed",
    "slowly smoothed",
    "model",
)
"""What is combined, in order; the model is the learner's own forecast."""
_SEASONAL = [1, 3, 5, 6]  # experts that know the season
_JUDGED = 100  # newest rows by which they are judged when it changes
_SEASONS = 5  # whose mean is the profile of the smoothed forecasts
_RATES = np.array([0.3, 0.1])
_WEIGHTS = _RATES[:, None] * (1.0 - _RATES[:, None]) ** np.arange(64)
_DISCOUNT = 0.98  # of an old error: about 50 rows count
# In typical errors: forecasts that are neither a value that was seen nor a mean nor learned have to earn their weight.
_DOUBT = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0])
_WORST = 10.0  # typical errors that one row counts at most: one outage must not decide between experts
_SLOW = 0.03  # share of a new error in the typical error, once there are enough
_STEP = 0.03  # of the logarithm of the multiple, at each row
_FIRST = 2.4  # multiple of the mean error: 90 % of a normal distribution are within 2.06, of heavier tails within more


def simple_forecasts(values: np.ndarray, horizon: int, season: int, mean: float) -> np.ndarray:
    """Forecasts of all experts but the model ``[horizon, experts]``; NaN where one has no answer yet.

    Args:
        values: the past ``[n]``, the last value last; at least one.
        horizon: rows ahead.
        season: rows of a season; 0 without one.
        mean: of all values seen.
    """
    n, ahead = len(values), np.arange(1, horizon + 1)
    found = np.full((horizon, len(EXPERTS)), np.nan)
    last = values[-1]
    found[:, 0], found[:, 2] = last, mean
    if season:
        back = season * -(-ahead // season)
        place = n - 1 + ahead - back
        found[:, 1] = np.where(place >= 0, values[np.maximum(place, 0)], np.nan)
        before = n - 1 - back
        found[:, 3] = np.where(before >= 0, found[:, 1] + (last - values[np.maximum(before, 0)]), np.nan)
    if n > 1:
        found[:, 4] = last + ahead * (last - values[0]) / (n - 1)
    found[:, 5:7] = _smoothed(values, horizon, season)
    return found


def _smoothed(values: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Exponentially weighted levels, plus the mean profile of the last seasons ``[horizon, rates]``."""
    n = len(values)
    profile, whole = np.zeros(1), min(n // season, _SEASONS) if season else 0
    if whole:
        seasons = values[n - whole * season :].reshape(whole, season)
        profile = (seasons - seasons.mean(axis=1, keepdims=True)).mean(axis=0)
    # The profile begins with the phase of the next row, and its last entry is that of the last value.
    size = min(n, _WEIGHTS.shape[1])
    phase = -1 - np.arange(size)
    levels = values[phase] - profile[phase % len(profile)]
    weights = _WEIGHTS[:, :size]
    level = weights @ levels / weights.sum(axis=1)
    return level + profile[np.arange(horizon) % len(profile)][:, None]


class ExpertPool:
    """Weights of the experts and a quantile for every horizon, learned from forecasts whose truth has arrived.

    Args:
        horizon: rows ahead, at most.
        level: share that the intervals are to cover.
    """

    def __init__(self, horizon: int, level: float) -> None:
        """Nothing seen."""
        self.horizon, self.level = horizon, level
        size = len(EXPERTS)
        self._losses = np.zeros((horizon, size))
        self._scale, self._multiple, self._seen = (
            np.zeros(horizon),
            np.full(horizon, _FIRST),
            np.zeros(horizon),
        )
        # Forecasts by the row before which they were made, in a ring; NaN where none was made.
        self._made = np.full((horizon, horizon, size), np.nan)
        self._said = np.full((horizon, horizon), np.nan)
        self._half = np.full((horizon, horizon), np.nan)
        self._ahead = np.arange(horizon)

    def weights(self, forecasts: np.ndarray, ahead: np.ndarray | None = None) -> np.ndarray:
        """Weights of the forecasts ``[h, experts]``, which sum to one in every row; zero where there is none.

        Args:
            forecasts: of all experts.
            ahead: rows ahead of each forecast ``[h]``, 0 for the next row; 0, 1, … if None.
        """
        rows = np.minimum(np.arange(len(forecasts)) if ahead is None else ahead, self.horizon - 1)
        score = np.where(np.isfinite(forecasts), -self._losses[rows] - _DOUBT, -np.inf)
        weight = np.exp(score - score.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)

    def combined(self, forecasts: np.ndarray, ahead: np.ndarray | None = None) -> np.ndarray:
        """One forecast for each row ahead ``[h]``; ``ahead`` as of `weights`."""
        weights = self.weights(forecasts, ahead)
        return np.sum(weights * np.where(np.isfinite(forecasts), forecasts, 0.0), axis=1)

    def half_width(self, level: float | None = None) -> np.ndarray:
        """Half of the interval for each horizon ``[horizon]``; infinite before anything was scored."""
        known = np.flatnonzero(self._seen)
        if not len(known):
            return np.full(self.horizon, np.inf)
        # The fewer errors were seen, the less is known about their size.
        half = self._scale * self._multiple * (1.0 + 3.0 / (self._seen + 1.0))
        # What was not scored yet: as the longest horizon that was, wider with the root of the rows, as a random walk.
        furthest = int(known[-1])
        root = np.sqrt((self._ahead + 1.0) / (furthest + 1.0))
        half = np.where(self._seen > 0, half, half[furthest] * root)
        if level is not None and level != self.level:
            half = half * (_normal(level) / _normal(self.level))
        return half

    def reconsider(self, values: np.ndarray, season: int) -> None:
        """Judge the seasonal experts by the newest rows, since their season is another one now.

        Without that a new season would have no errors, and the best weight at once.

        Args:
            values: the past ``[n]``.
            season: rows of the new season.
        """
        n = len(values)
        unit = np.where(self._scale > 0, self._scale, self._scale.max() or 1.0)[:, None]
        totals = np.zeros_like(self._losses)
        for begin in range(max(n - _JUDGED, 1), n):
            truth = values[begin : begin + self.horizon]
            forecasts = simple_forecasts(values[:begin], len(truth), season, 0.0)
            errors = np.abs(forecasts - truth[:, None])
            # Where there was none yet, as good as the last value.
            errors = np.where(np.isfinite(errors), errors, errors[:, :1])
            ages = n - 1 - begin - self._ahead[: len(truth)]
            losses = _DISCOUNT ** ages[:, None] * np.minimum(errors / unit[: len(truth)], _WORST)
            totals[: len(truth)] += losses
        self._losses[:, _SEASONAL] = self._losses[:, :1] + (totals - totals[:, :1])[:, _SEASONAL]
        self._losses -= self._losses.min(axis=1, keepdims=True)

    def remember(self, row: int, forecasts: np.ndarray) -> None:
        """Keep forecasts ``[h, experts]`` of the rows from ``row`` on, until their truth arrives."""
        place, h = row % self.horizon, len(forecasts)
        for kept in (self._made, self._said, self._half):
            kept[place] = np.nan
        self._made[place, :h] = forecasts
        self._said[place, :h] = self.combined(forecasts)
        self._half[place, :h] = self.half_width()[:h]

    def amend(self, row: int, model: float) -> tuple[float, float, float]:
        """Put the model's newest forecast of the next row in its place.

        Returns:
            The combined forecast of the row, half of its interval's width, and the typical error.
        """
        place = row % self.horizon
        forecasts = self._made[place, :1]
        forecasts[0, -1] = model
        said, half = float(self.combined(forecasts)[0]), float(self.half_width()[0])
        self._said[place, 0], self._half[place, 0] = said, half
        return said, half, float(self._scale[0])

    def score(self, row: int, truth: float | None) -> None:
        """Learn from the truth of a row, for each horizon at which it was forecast; None if it is not known."""
        places = (row - self._ahead) % self.horizon
        said = self._said[places, self._ahead]
        if truth is not None:
            error = np.abs(truth - said)
            scored = np.isfinite(error)
            missed = error > self._half[places, self._ahead]
            self._learn(scored, error, missed, np.abs(truth - self._made[places, self._ahead]))
        # The oldest forecasts are over with this row.
        oldest = (row + 1) % self.horizon
        self._said[oldest] = np.nan

    def _learn(self, scored: np.ndarray, error: np.ndarray, missed: np.ndarray, errors: np.ndarray) -> None:
        first = scored & (self._seen == 0)
        self._scale = np.where(first, error, self._scale)
        # An expert without a forecast is taken for as good as the combination, until it has one (`reconsider`).
        errors = np.where(np.isfinite(errors), errors, error[:, None])
        unit = np.where(self._scale > 0, self._scale, 1.0)[:, None]
        losses = _DISCOUNT * self._losses + np.minimum(errors / unit, _WORST)
        # Only differences count; the best at zero keeps the exponents small.
        losses = losses - losses.min(axis=1, keepdims=True)
        self._losses = np.where(scored[:, None], losses, self._losses)
        share = np.maximum(1.0 / (self._seen + 1.0), _SLOW)
        # Bounded once the scale is known, so that one wild error does not widen all that follow.
        tame = np.where(self._seen >= 10, np.minimum(error, 6.0 * self._scale), error)
        self._scale = np.where(scored, self._scale + share * (tame - self._scale), self._scale)
        step = np.maximum(_STEP, 0.3 / np.sqrt(self._seen + 1.0))
        moved = self._multiple * np.exp(step * np.where(missed, self.level, self.level - 1.0))
        self._multiple = np.where(scored & ~first, np.clip(moved, 0.05, 100.0), self._multiple)
        self._seen = self._seen + scored

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that changes, by name; `restore` puts it back."""
        return {name: getattr(self, f"_{name}") for name in _ARRAYS}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on where `arrays` were taken.

        Raises:
            ValueError: if they are of another horizon.
        """
        for name in _ARRAYS:
            have, given = getattr(self, f"_{name}"), np.array(arrays[name], float)
            if have.shape != given.shape:
                raise ValueError(f"{name} has the shape {given.shape}, expected {have.shape}")
            setattr(self, f"_{name}", given)


_ARRAYS = ("losses", "scale", "multiple", "seen", "made", "said", "half")


def _normal(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + 0.5 * level) if level < 1.0 else math.inf
