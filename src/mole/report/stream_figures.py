"""The figures of a stream's report. No text from the data is drawn, so that no font can lack it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mole.pipeline.digest import Bin, RunDigest
from mole.report.drawing import BREAK, SMALL, WIDE, clean, end_labels, log_axis, new_figure
from mole.report.style import METHODS, MUTED, TASKS

__all__ = ["coverage", "error_and_regimes", "task_colour"]

_LINE = METHODS["mole"][0]


def task_colour(task: int) -> str:
    """The same colour for the same task everywhere in the report."""
    return TASKS[task % len(TASKS)]


def error_and_regimes(digest: RunDigest, *, classify: bool, width: float = WIDE) -> Figure:
    """The error of predictions made before learning, above the regimes as coloured bands.

    Regression: root-mean-square error on a log scale. Classification: share of wrong labels. A band is as high as
    the probability of its task; triangles mark the first row of a visit, hollow ones a return.

    Raises:
        ValueError: if no row has a prediction and a target.
    """
    _need(digest.total.scored, "a prediction and a target")
    figure = new_figure(width, 4.0 if width >= BREAK else 3.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1.0])
    clean(above, y="wrong labels" if classify else "root-mean-square error")
    starts, errors = _curve(
        digest,
        lambda one: one.scored,
        lambda one: 1 - one.hits / one.scored if classify else one.loss / one.scored,
    )
    values = errors if classify else np.sqrt(errors)
    above.step(starts, values, where="post", color=_LINE, linewidth=1.2)
    # Where the error spans more than a decade, its peaks would press all else flat.
    if not classify and (values > 0).any() and values.max() > 10 * values[values > 0].min():
        log_axis(above.yaxis)
    else:
        above.set_ylim(0, None)
    clean(below, x="row").grid(False)
    below.xaxis.set_major_locator(MaxNLocator(8 if width >= BREAK else 4, integer=True))
    _bands(below, digest)
    return figure


def coverage(digest: RunDigest, level: float, *, width: float = WIDE) -> Figure:
    """Share of the targets inside of their interval, and the mean width of the interval.

    Raises:
        ValueError: if no row has an interval.
    """
    _need(digest.total.judged, "an interval")
    wide = width >= BREAK
    figure = new_figure(width, 2.6 if wide else 4.4)
    left, right = figure.subplots(*((1, 2) if wide else (2, 1)))
    # Fewer bins than for the error: a share of few rows says little.
    coarse = _coarser(digest.bins, 60)
    starts, shares = _curve_of(coarse, lambda one: one.judged, lambda one: one.covered / one.judged)
    clean(left, title="Inside of the interval", x="row").axhline(
        level, color=MUTED, linewidth=1.0, linestyle="--"
    )
    left.step(starts, shares, where="post", color=_LINE, linewidth=1.4)
    left.set_ylim(min(0.5, float(shares.min())) - 0.02, 1.02)
    left.set_yticks([0.5, level, 1.0], ["50 %", f"{100 * level:g} %", "100 %"])
    left.set_xlim(0, _end(digest))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    starts, widths = _curve_of(coarse, lambda one: one.judged, lambda one: one.width / one.judged)
    clean(right, title="Mean width", x="row")
    right.step(starts, widths, where="post", color=_LINE, linewidth=1.4)
    right.set_ylim(0, None)
    right.set_xlim(0, _end(digest))
    return figure


def _bands(axes: Axes, digest: RunDigest) -> None:
    starts = np.append(np.cumsum([0] + [one.rows for one in digest.bins[:-1]]), _end(digest))
    floor = np.zeros(len(digest.bins))
    for task in digest.visited:
        parts = [one.shares.get(task, 0.0) / max(one.attributed, 1) for one in digest.bins]
        ceiling = floor + np.asarray(parts)
        axes.fill_between(
            starts,
            np.append(floor, floor[-1]),
            np.append(ceiling, ceiling[-1]),
            step="post",
            color=task_colour(task),
            linewidth=0,
        )
        floor = ceiling
    for task, regime in digest.regimes.items():
        for place, (first, _) in enumerate(regime.visits):
            axes.plot(
                first,
                1.1,
                "v",
                color=task_colour(task),
                markersize=4.5,
                markerfacecolor="none" if place else task_colour(task),
                clip_on=False,
            )
    axes.set_xlim(0, _end(digest))
    axes.set_ylim(0, 1.18)
    axes.set_yticks([0, 1], ["0", "1"])
    # From there on colours come again, and a label would name two tasks.
    names = list(digest.visited)[: len(TASKS)]
    height = 1.0 / max(len(names), 1)
    end_labels(
        axes,
        [((place + 0.5) * height, f"task {task}", task_colour(task)) for place, task in enumerate(names)],
        size=SMALL,
    )
    axes.set_ylabel("probability", color=MUTED, fontsize=SMALL)


def _need(count: int, what: str) -> None:
    if not count:
        raise ValueError(f"got no row with {what}, expected at least one: there is nothing to draw")


def _end(digest: RunDigest) -> int:
    return max(sum(one.rows for one in digest.bins), 1)


def _curve(
    digest: RunDigest, count: Callable[[Bin], int], value: Callable[[Bin], float]
) -> tuple[np.ndarray, np.ndarray]:
    return _curve_of(_coarser(digest.bins, 240), count, value)


def _curve_of(
    bins: Sequence[Bin], count: Callable[[Bin], int], value: Callable[[Bin], float]
) -> tuple[np.ndarray, np.ndarray]:
    """First row and value of the bins that have any, ``[bins + 1]`` each: the last value again where its bin ends.

    A step is drawn up to the next point, so that the last one needs an end.
    """
    starts = np.cumsum([0] + [one.rows for one in bins])
    kept = [place for place, one in enumerate(bins) if count(one)]
    values = [value(bins[place]) for place in kept]
    return np.append(starts[kept], starts[kept[-1] + 1]).astype(float), np.array([*values, values[-1]], float)


def _coarser(bins: Sequence[Bin], most: int) -> list[Bin]:
    """At most so many bins, by adding up neighbours."""
    size = -(-len(bins) // most)
    coarse = []
    for start in range(0, len(bins), size):
        one = Bin()
        for other in bins[start : start + size]:
            one.merge(other)
        coarse.append(one)
    return coarse
