"""Which inputs from its own past a series is learned from: those that predict its history best.

Periods are found in the autocorrelation. Inputs are tried by forward selection under the extended Bayesian information
criterion (J. Chen, Z. Chen, Biometrika 2008), so that a short series gets few inputs, and none by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mole.forecasting.lags import Inputs, Tap, candidates, named_inputs
from mole.rows.scaling import TO_STD

__all__ = ["choose_inputs", "find_periods", "robust_scale"]

_WILD = 6.0  # robust deviations beyond which a value is drawn in: one outage must not choose the inputs
_MOST = 12  # inputs
_CANDIDATES = 60  # inputs that forward selection can choose from, with those of three periods
_GAIN = 6.0  # of the criterion, for which a choice is changed: about odds of 20 to 1 (Kass and Raftery 1995)
_LOG_FROM = 24  # values from which logarithms are tried
_SURE = 2.6  # standard errors of an autocorrelation


def choose_inputs(
    values: np.ndarray,
    calendar: Sequence[int],
    now: Inputs | None,
    lags: Any = "auto",
    season: Any = "auto",
    *,
    positive: bool = False,
) -> Inputs:
    """The inputs that predict a history best.

    Args:
        values: the history in order ``[n]``, finite.
        calendar: periods to look at beside those that are found.
        now: the inputs in use: others must be better by a clear margin.
        lags: "auto", or what the user asked for, as in `named_inputs`.
        season: "auto", or rows of a season (0 for none).
        positive: whether there is a logarithm to choose.
    """
    values = np.asarray(values, float)
    found = _best(values, calendar, now, lags, season)
    if positive and len(values) >= _LOG_FROM:
        logs = np.log(values)
        bent = _best(logs, calendar, now, lags, season)
        # By the change of variables: the density of a value is that of its logarithm over the value.
        jacobian = 2.0 * float(logs[1:].sum())
        lead = _misfit(values, found) - _misfit(logs, bent) - jacobian
        # What is in use stays unless the other form is clearly better.
        if lead > (0.0 if now is not None and now.log else _GAIN):
            return bent._replace(log=True)
    return found


def _best(values: np.ndarray, calendar: Sequence[int], now: Inputs | None, lags: Any, season: Any) -> Inputs:
    """`choose_inputs` in one form of the values."""
    change = _predicts_change(values, now)
    periods = find_periods(values, calendar) if season == "auto" else [season]
    tried = [0, *periods] if season == "auto" else periods
    if lags == "auto":
        found = [_selected(values, period, change) for period in tried]
    else:
        fixed = [named_inputs(lags, period, change) for period in tried]
        found = [(inputs, _criterion(values, inputs.taps, change)) for inputs in fixed]
    best, score = min(found, key=lambda one: one[1])
    if season == "auto" and not best.season and periods:
        # No input needs the season, but the seasonal experts are free.
        best = best._replace(season=now.season if now is not None and now.season else periods[0])
    if now is not None and now.change == change and season in ("auto", now.season):
        kept = _criterion(values, now.taps, change)
        if kept < score + _GAIN:
            return now._replace(season=now.season or best.season, log=False)
    return best


def _misfit(values: np.ndarray, inputs: Inputs) -> float:
    """−2 log-likelihood of a Laplace distribution, without constants, of what a regression on the inputs leaves."""
    columns, target = _columns(values, inputs.taps, inputs.change)
    middle, scale = np.median(target), robust_scale(target)
    design = np.column_stack([*columns.T, np.ones(len(target))])
    bounded = np.clip(target, middle - _WILD * scale, middle + _WILD * scale)
    left = target - design @ np.linalg.lstsq(design, bounded, rcond=None)[0]
    return 2.0 * len(left) * float(np.log(max(np.mean(np.abs(left)), 1e-300)))


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
    pool = candidates(season)
    pool = [tap for tap in pool if max(tap.lags) <= len(values) // 2]
    pool = pool or candidates(0)[:1]
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
    used = any(tap not in candidates(0) for tap in taps)
    return Inputs(taps, season if used else 0, change), score


def _criterion(values: np.ndarray, taps: Sequence[Tap], change: bool) -> float:
    gram, n = _gram(values, taps, change)
    return _score(gram, list(range(len(taps))), n)


def _columns(values: np.ndarray, taps: Sequence[Tap], change: bool) -> tuple[np.ndarray, np.ndarray]:
    """Inputs ``[n - 1, taps]`` and targets ``[n - 1]`` of all values but the first, which has no past."""
    n = len(values)
    # The same rows for every set of inputs, or the criteria could not be compared: what is before the history counts as
    # its first value.
    padded = np.concatenate([np.full(max(max(tap.lags) for tap in taps), values[0]), values])
    begin = len(padded) - n + 1
    found = np.zeros((n - 1, len(taps)))
    for column, tap in zip(found.T, taps, strict=True):
        for lag, weight in zip(tap.lags, tap.weights, strict=True):
            column += weight * padded[begin - lag : begin - lag + n - 1]
    return found, values[1:] - (values[:-1] if change else 0.0)


def _gram(values: np.ndarray, taps: Sequence[Tap], change: bool) -> tuple[np.ndarray, int]:
    """Products of inputs, a constant and the target over the history, all drawn in and of scale one; and the rows."""
    columns, target = _columns(values, taps, change)
    stacked = np.stack(
        [*(_drawn_in(column) for column in columns.T), np.ones(len(target)), _drawn_in(target)]
    )
    return stacked @ stacked.T, len(target)


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
    return float(TO_STD * np.median(away) or np.mean(away) or 1.0)


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
        for period in range(2, n // 3 + 1):
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
