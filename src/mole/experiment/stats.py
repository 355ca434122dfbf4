"""Statistics of few runs: interquartile mean, stratified bootstrap, probability of improvement.

A *cell* is one combination of conditions (for example one schedule); its values are independent runs (seeds).
The bootstrap draws runs with replacement within each cell, so that cells keep their weight (Agarwal et al.,
"Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021, arXiv 2108.13264).
Intervals are percentiles of the draws. With fewer than about 10 runs they are too narrow, and no resampling
can change that. Every random draw comes from the generator that the caller passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

__all__ = [
    "Band",
    "Interval",
    "bootstrap",
    "curve_band",
    "iqm",
    "mean",
    "normalised",
    "paired_difference",
    "performance_profile",
    "probability_of_improvement",
]

Cells = Sequence[ArrayLike] | np.ndarray


class Interval(NamedTuple):
    """A figure and the ends of its interval."""

    value: float
    low: float
    high: float


class Band(NamedTuple):
    """A curve and the pointwise ends of its interval: [points] each."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean(cells: Cells) -> float:
    """Mean of all runs of all cells."""
    return float(np.concatenate(_checked(cells)).mean())


def iqm(cells: Cells) -> float:
    """Interquartile mean of all runs of all cells: the mean without the lowest and the highest quarter.

    With fewer than four runs there is nothing to cut, and it is the mean.
    """
    return float(scipy_stats.trim_mean(np.concatenate(_checked(cells)), 0.25))


def bootstrap(
    cells: Cells,
    *,
    rng: np.random.Generator,
    statistic: str = "mean",
    resamples: int = 5000,
    level: float = 0.95,
) -> Interval:
    """The mean or IQM of all runs with its stratified percentile interval.

    Args:
        cells: one array of runs per cell, at least two runs in each.
        rng: the generator to draw from.
        statistic: "mean" or "iqm".
        resamples: bootstrap draws.
        level: coverage of the interval, between 0 and 1.

    Raises:
        ValueError: if a cell is empty, has a single run or a value that is not finite.
    """
    along = _statistic(statistic)
    runs = _checked(cells, least=2)
    draws = np.concatenate([_resampled(values, rng, resamples) for values in runs], axis=1)
    return _interval(float(along(np.concatenate(runs)[None])[0]), along(draws), level)


def paired_difference(
    a: Cells,
    b: Cells,
    *,
    rng: np.random.Generator,
    statistic: str = "mean",
    resamples: int = 5000,
    level: float = 0.95,
) -> Interval:
    """The mean or IQM of a − b where run i of each shares all but the method (its seed, its schedule).

    Raises:
        ValueError: as `bootstrap`, and if the cells of `a` and `b` differ in number or length.
    """
    first, second = _checked(a, least=2), _checked(b, least=2)
    if [len(values) for values in first] != [len(values) for values in second]:
        raise ValueError(
            f"paired cells have {[len(v) for v in first]} and {[len(v) for v in second]} runs, expected "
            "the same: pair the runs by seed and drop those without a partner"
        )
    # What the runs of a pair share (the seed's hidden tasks, an easy schedule) cancels before the draws.
    differences = [x - y for x, y in zip(first, second, strict=True)]
    return bootstrap(differences, rng=rng, statistic=statistic, resamples=resamples, level=level)


def probability_of_improvement(
    a: Cells, b: Cells, *, rng: np.random.Generator, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """The probability that a run of `a` beats a run of `b` in the same cell, as a mean over the cells.

    Ties count half.

    Raises:
        ValueError: as `bootstrap`, and if `a` and `b` differ in the number of cells.
    """
    first, second = _checked(a, least=2), _checked(b, least=2)
    if len(first) != len(second):
        raise ValueError(
            f"got {len(first)} cells and {len(second)}, expected as many: compare the same conditions"
        )
    # Over all pairs of runs, the Mann-Whitney statistic, as Agarwal et al. define it; not over pairs of equal seeds.
    wins = [(np.sign(x[:, None] - y[None, :]) + 1) / 2 for x, y in zip(first, second, strict=True)]
    draws = [
        ((_shares(len(x), rng, resamples) @ won) * _shares(len(y), rng, resamples)).sum(axis=1)
        for x, y, won in zip(first, second, wins, strict=True)
    ]
    return _interval(float(np.mean([won.mean() for won in wins])), np.mean(draws, axis=0), level)


def performance_profile(
    cells: Cells,
    thresholds: ArrayLike,
    *,
    rng: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Band:
    """The run-score distribution: the share of all runs with a score above each threshold, with a band.

    Args:
        cells: one array of scores per cell, on a scale that all cells share (see `normalised`).
        thresholds: [points].
        rng: the generator to draw from.
        resamples: bootstrap draws, of runs within each cell.
        level: coverage of the band at each threshold.

    Raises:
        ValueError: as `bootstrap`, and if the thresholds are no finite vector.
    """
    runs, at = _checked(cells, least=2), np.asarray(thresholds, float)
    if at.ndim != 1 or not at.size or not np.isfinite(at).all():
        raise ValueError(f"thresholds have shape {at.shape}, expected [points] of finite numbers")
    above = [(values[:, None] > at[None, :]).astype(float) for values in runs]
    total = sum(len(values) for values in runs)
    # Weighted by runs, as the pooled mean and IQM are.
    draws = sum(_shares(len(one), rng, resamples) @ one * (len(one) / total) for one in above)
    return _band(np.concatenate(above).mean(axis=0), np.asarray(draws), level)


def curve_band(
    curves: np.ndarray, *, rng: np.random.Generator, resamples: int = 1000, level: float = 0.95
) -> Band:
    """The mean of runs' curves with its pointwise interval; NaN where fewer than half of the runs have a value.

    Args:
        curves: [runs, points] float, NaN where a run has no value. The band is NaN with a single run.
        rng: the generator to draw from.
        resamples: bootstrap draws of whole runs.
        level: coverage at each point.

    Raises:
        ValueError: if `curves` is not [runs, points] with at least one run, or has infinite values.
    """
    array = np.asarray(curves, float)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"curves have shape {array.shape}, expected [runs, points] with at least one run")
    if np.isinf(array).any():
        raise ValueError("curves hold infinite values: leave diverged runs out and report them apart")
    known = np.isfinite(array)
    filled, few = np.where(known, array, 0.0), known.sum(axis=0) * 2 < len(array)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where no run has a value
        value = filled.sum(axis=0) / known.sum(axis=0)
        shares = _shares(len(array), rng, resamples)
        draws = (shares @ filled) / (shares @ known)
    value[few] = np.nan
    # A draw may miss all the runs that reach a point: it says nothing there, and takes the mean.
    draws = np.where(np.isfinite(draws), draws, value[None])
    if len(array) == 1:
        return Band(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    return _band(value, draws, level)


def normalised(values: ArrayLike, floor: float, ceiling: float) -> np.ndarray:
    """Scores on a scale where `floor` is 0 and `ceiling` is 1, so that settings can be pooled.

    Raises:
        ValueError: if the ceiling is not above the floor: such a setting separates nothing, leave it out.
    """
    if not ceiling > floor:
        raise ValueError(
            f"got floor {floor:g} and ceiling {ceiling:g}, expected a ceiling above the floor: where the upper "
            "bound is no better than the lower, leave the setting out"
        )
    return (np.asarray(values, float) - floor) / (ceiling - floor)


def _shares(runs: int, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """[draws, runs]: the share of every run in each draw. Far smaller than all pairs of all draws."""
    return rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples) / runs


def _resampled(values: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    return values[rng.integers(len(values), size=(resamples, len(values)))]


def _band(value: np.ndarray, draws: np.ndarray, level: float) -> Band:
    _check_level(level)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(value, low, high)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a coverage between 0 and 1 such as 0.95")


def _interval(value: float, draws: np.ndarray, level: float) -> Interval:
    _check_level(level)
    # Percentiles, as in Agarwal et al.: a bias correction would need more runs than there are.
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _statistic(name: str) -> Callable[[np.ndarray], np.ndarray]:
    if name == "mean":
        return lambda draws: draws.mean(axis=1)
    if name == "iqm":
        return lambda draws: np.asarray(scipy_stats.trim_mean(draws, 0.25, axis=1))
    raise ValueError(f"statistic is {name!r}, expected 'mean' or 'iqm'")


def _checked(cells: Cells, least: int = 1) -> list[np.ndarray]:
    if isinstance(cells, np.ndarray) and cells.ndim < 2:
        raise ValueError(f"got one array of shape {cells.shape}, expected a sequence of cells: pass [values]")
    runs = [np.asarray(cell, float) for cell in cells]
    if not runs:
        raise ValueError("got no cells, expected at least one array of runs")
    for index, values in enumerate(runs):
        if values.ndim != 1 or len(values) < least:
            raise ValueError(
                f"cell {index} has shape {values.shape}, expected [runs] with at least {least}: "
                + ("an interval needs runs to compare, add seeds" if least > 1 else "leave empty cells out")
            )
        if not np.isfinite(values).all():
            raise ValueError(
                f"cell {index} has {(~np.isfinite(values)).sum()} values that are not finite: "
                "drop undefined figures, or report diverged runs apart"
            )
    return runs
