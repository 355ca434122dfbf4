"""What of a series' own past is worth an input: lags, differences and the season, chosen by what predicts the past.

Every input is a linear function of past values. Candidates are found in the autocorrelation (periods) and tried by
forward selection under the extended Bayesian information criterion (J. Chen, Z. Chen, Biometrika 2008), so that a
short series gets few inputs, and many candidates none by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Inputs",
    "Tap",
    "choose_inputs",
    "find_periods",
    "named_inputs",
    "robust_scale",
    "tap_matrix",
]

_WILD = 6.0  # robust deviations beyond which a value is drawn in: one outage must not choose the inputs
_MOST = 12  # inputs
_CHANGES = 8  # of the last values, from which "auto" chooses
_CANDIDATES = 14  # inputs that forward selection can choose from
_GAIN = 6.0  # of the criterion, for which a choice is changed: about odds of 20 to 1 (Kass and Raftery 1995)
_SURE = 2.6  # standard errors of an autocorrelation


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
    """

    taps: tuple[Tap, ...]
    season: int
    change: bool

    @property
    def reach(self) -> int:
        """The longest lag."""
        return max(lag for tap in self.taps for lag in tap.lags)


def _change(lag: int, name: str = "") -> Tap:
    return Tap(name or f"change {lag}", (lag, lag + 1), (1.0, -1.0))


_LEVEL = Tap("level", (1,), (1.0,))


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
    """What happened a season ago: the change to the row that corresponds to the predicted one, and its neighbours."""
    if not season:
        return []
    names = {0: "season", -1: "season before", 1: "season after"}
    # A season of two rows has no neighbour after it that is already known.
    near = [_change(season - place, name) for place, name in names.items() if season - place >= 1]
    return [*near, Tap("over a season", (1, season + 1), (1.0, -1.0)), _change(2 * season, "two seasons")]


def choose_inputs(
    values: np.ndarray, periods: Sequence[int], now: Inputs | None, lags: Any = "auto", season: Any = "auto"
) -> Inputs:
    """The inputs that predict a history best.

    Args:
        values: the history in order ``[n]``, finite.
        periods: candidates for the season.
        now: the inputs in use: others must be better by a clear margin.
        lags: "auto", or what the user asked for, as in `named_inputs`.
        season: "auto", or rows of a season (0 for none).
    """
    values = np.asarray(values, float)
    change = _predicts_change(values, now)
    tried = [season] if season != "auto" else [0, *periods]
    if lags != "auto":
        fixed = [named_inputs(lags, period, change) for period in tried]
        found = {inputs: _criterion(values, inputs.taps, inputs.change) for inputs in fixed}
    else:
        found = dict(_selected(values, period, change) for period in tried)
    best = min(found, key=lambda inputs: found[inputs])
    if now is not None and now.change == change and now.reach < len(values) // 2:
        kept = season in ("auto", now.season)
        if kept and _criterion(values, now.taps, change) < found[best] + _GAIN:
            best = now
    if season == "auto" and not best.season and periods:
        # No input needs the season, but the seasonal experts are free.
        best = best._replace(season=now.season if now is not None and now.season else periods[0])
    return best


def _predicts_change(values: np.ndarray, now: Inputs | None) -> bool:
    """Whether the last value says clearly more than the mean, so that the change from it is the easier target."""
    last = np.mean(np.abs(np.diff(values)))
    means = np.cumsum(values)[:-1] / np.arange(1, len(values))
    mean = np.mean(np.abs(values[1:] - means))
    # Of independent values the ratio is 1 / sqrt 2. Around .8 either will do: what is in use stays.
    bound = 0.8 if now is None else 0.85 if not now.change else 0.75
    return bool(mean >= bound * last)


def _selected(values: np.ndarray, season: int, change: bool) -> tuple[Inputs, float]:
    """Forward selection among all candidates of a season."""
    pool = [_LEVEL, *(_change(lag) for lag in range(1, _CHANGES + 1)), *_seasonal(season)]
    pool = [tap for tap in pool if max(tap.lags) <= len(values) // 3]
    pool = pool or [_change(1)]
    gram, n = _gram(values, pool, change)
    chosen: list[int] = []
    score = _score(gram, chosen, n)
    while len(chosen) < min(_MOST, n // 6):
        scores = {
            place: _score(gram, [*chosen, place], n) for place in range(len(pool)) if place not in chosen
        }
        best = min(scores, key=lambda place: scores[place], default=None)
        if best is None or scores[best] >= score:
            break
        chosen, score = [*chosen, best], scores[best]
    # In the order of the pool, so that the order of the inputs does not tell how they were found.
    taps = tuple(pool[place] for place in sorted(chosen)) or (pool[min(1, len(pool) - 1)],)
    used = any(tap in _seasonal(season) for tap in taps)
    return Inputs(taps, season if used else 0, change), score


def _criterion(values: np.ndarray, taps: Sequence[Tap], change: bool) -> float:
    gram, n = _gram(values, taps, change)
    return _score(gram, list(range(len(taps))), n)


def _gram(values: np.ndarray, taps: Sequence[Tap], change: bool) -> tuple[np.ndarray, int]:
    """Products of inputs, a constant and the target over the history, all drawn in and of scale one; and the rows."""
    n = len(values)
    # The same rows for every set of inputs, or the criteria could not be compared: what is before the history counts as
    # its first value.
    padded = np.concatenate([np.full(max(max(tap.lags) for tap in taps), values[0]), values])
    begin = len(padded) - n
    columns = [
        sum(
            weight * padded[begin - lag : begin - lag + n]
            for lag, weight in zip(tap.lags, tap.weights, strict=True)
        )
        for tap in taps
    ]
    target = values - (padded[begin - 1 : begin - 1 + n] if change else 0.0)
    stacked = np.stack(
        [*(_drawn_in(np.asarray(column)) for column in columns), np.ones(n), _drawn_in(target)]
    )
    stacked = stacked[:, 1:]  # the first value has no past
    return stacked @ stacked.T, n - 1


def _score(gram: np.ndarray, chosen: Sequence[int], n: int) -> float:
    """n log(residual variance) + inputs (log n + log candidates), of a slightly shrunk regression with a constant."""
    kept = [*chosen, len(gram) - 2]
    a = gram[np.ix_(kept, kept)] + np.diag([1e-3] * len(kept))
    b = gram[kept, -1]
    rest = gram[-1, -1] - b @ np.linalg.solve(a, b)
    return n * float(np.log(max(rest, 1e-9 * gram[-1, -1], 1e-300) / n)) + len(chosen) * float(
        np.log(n) + np.log(_CANDIDATES)
    )


def robust_scale(values: np.ndarray) -> float:
    """1.4826 times the median distance from the median; where that is zero, the mean distance, and else one."""
    away = np.abs(values - np.median(values))
    return float(1.4826 * np.median(away) or np.mean(away) or 1.0)


def _drawn_in(values: np.ndarray) -> np.ndarray:
    middle, scale = np.median(values), robust_scale(values)
    return np.clip((values - middle) / scale, -_WILD, _WILD)


def find_periods(values: np.ndarray, given: Sequence[int] = (), most: int = 3) -> list[int]:
    """Periods at which a history is like itself, the clearest first.

    Local maxima of the autocorrelation of the history without its trend, and of its changes, that are significantly
    above zero and above what lies between them; multiples of a better one are left out.

    Args:
        values: the history ``[n]``, finite.
        given: periods to look at too, such as those of the calendar.
        most: periods at most.
    """
    n = len(values)
    if n < 8:
        return []
    line = np.polynomial.Polynomial.fit(np.arange(n), values, 1)(np.arange(n))
    found: dict[int, float] = {}
    for series in (_drawn_in(values - line), _drawn_in(np.diff(values))):
        size = len(series)
        centred = series - series.mean()
        spectrum = np.abs(np.fft.rfft(centred, 2 * size)) ** 2
        auto = np.fft.irfft(spectrum)[:size]
        if auto[0] <= 1e-12:
            continue
        # Divided by the number of products, or a long period would look weaker than a short one.
        auto = auto / auto[0] * size / (size - np.arange(size))
        for period in range(2, n // 2 - 1):
            peak = auto[period] > auto[period - 1] and auto[period] >= auto[period + 1]
            if (peak or period in given) and auto[period] * np.sqrt(size - period) > _SURE:
                found[period] = max(found.get(period, 0.0), float(auto[period]))
    kept: list[int] = []
    for period in sorted(found, key=lambda period: -found[period]):
        near = any(
            abs(period / other - round(period / other)) * other <= 1.0 + 0.02 * period for other in kept
        )
        if not near or period in given:
            kept.append(period)
    # Of a period and its multiples the shortest stays unless a longer one is clearly stronger.
    for place, period in enumerate(kept):
        parts = [
            part
            for part in found
            if part < period and period % part == 0 and found[part] > 0.9 * found[period]
        ]
        kept[place] = min(parts, default=period)
    return list(dict.fromkeys(kept))[:most]


def tap_matrix(taps: Sequence[Tap], size: int) -> np.ndarray:
    """Weights of the inputs on a window of past values, the last one first ``[taps, size]``."""
    matrix = np.zeros((len(taps), size), np.float32)
    for row, tap in zip(matrix, taps, strict=True):
        for lag, weight in zip(tap.lags, tap.weights, strict=True):
            row[lag - 1] += weight
    return matrix
