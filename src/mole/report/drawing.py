"""Small helpers of the figures: axes in the house style, binning, lines that carry their own label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, YAxis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from mole.control.records import EpisodeRecord
from mole.experiment.metrics import switches
from mole.experiment.stats import Interval
from mole.report.style import GRID, INK, MUTED, ordered
from mole.report.tables import number

__all__ = [
    "BREAK",
    "NARROW",
    "SMALL",
    "TEXT",
    "WIDE",
    "beside",
    "binned",
    "by_method",
    "clean",
    "common_switches",
    "end_labels",
    "log_axis",
    "mark_interval",
    "new_figure",
]

WIDE = 9.2
"""Width in inches for a desktop page; below `BREAK` the layout is for a phone."""
NARROW = 4.0
"""Width in inches for a phone."""
BREAK = 6.0
TEXT, SMALL = 9.0, 8.0


def new_figure(width: float, height: float) -> Figure:
    """A figure on a transparent ground, with its own layout and no global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.04, wspace=0.04, hspace=0.06)  # type: ignore[union-attr]
    return figure


def clean(axes: Axes, *, title: str = "", x: str = "", y: str = "", colour: str = INK) -> Axes:
    """No box, a quiet horizontal grid, the title at the left in `colour`, all else muted."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.set_facecolor("none")
    axes.grid(True, axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", which="both", colors=MUTED, labelcolor=MUTED, labelsize=SMALL, length=0)
    if title:
        axes.set_title(title, loc="left", color=colour, fontsize=TEXT, fontweight="bold", parse_math=False)
    if x:
        axes.set_xlabel(x, color=MUTED, fontsize=SMALL)
    if y:
        axes.set_ylabel(y, color=MUTED, fontsize=SMALL)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    return axes


def log_axis(axis: Axis) -> None:
    """A log scale with plain numbers: .01, .03, .1."""
    if isinstance(axis, YAxis):
        axis.axes.set_yscale("log")
    else:
        axis.axes.set_xscale("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())


def mark_interval(
    axes: Axes, place: float, values: np.ndarray, found: Interval | None, colour: str, *, size: float = 1.0
) -> None:
    """Runs as dots, an interval as a band and its value as a tick, at height `place`."""
    if len(values):
        axes.scatter(values, np.full(len(values), place), s=9 * size, color=colour, linewidths=0, zorder=3)
    if found is None:
        return
    if np.isfinite(found.low):
        axes.plot(
            [found.low, found.high],
            [place, place],
            color=colour,
            linewidth=6 * size,
            alpha=0.3,
            solid_capstyle="butt",
        )
    axes.plot(found.value, place, "|", color=colour, markersize=13 * size, markeredgewidth=2.4 * size)


def beside(axes: Axes, place: float, text: str, size: float) -> None:
    """A short text right of the axes, at height `place`."""
    axes.annotate(
        text,
        (1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=size,
        color=INK,
        annotation_clip=False,
        parse_math=False,
    )


def by_method(runs: Sequence[EpisodeRecord]) -> dict[str, list[EpisodeRecord]]:
    """The runs with at least one step, by method, in the order of the palette."""
    some = [run for run in runs if len(run)]
    if not some:
        raise ValueError("got no run with any step, expected at least one: there is nothing to draw")
    names = ordered(str(run.meta["method"]) for run in some)
    return {name: [run for run in some if str(run.meta["method"]) == name] for name in names}


def common_switches(runs: Sequence[EpisodeRecord]) -> np.ndarray:
    """The switch times that all runs share ([switches] int), empty if they differ."""
    longest = max(runs, key=len)
    times = switches(longest.true_task)
    same = all(np.array_equal(switches(run.true_task), times[times < len(run)]) for run in runs)
    return times if same else np.zeros(0, int)


def binned(columns: Sequence[np.ndarray], bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over runs and over bins of steps, for runs of any length: (centre of each bin, its mean).

    A bin averages the runs that reach it; steps whose value is not finite are left out, and bins without any.
    """
    longest = max(len(column) for column in columns)
    size = max(1, -(-longest // bins))
    count = -(-longest // size)
    total, number = np.zeros(count), np.zeros(count)
    for column in columns:
        steps = np.flatnonzero(np.isfinite(column))
        total += np.bincount(steps // size, column[steps], minlength=count)
        number += np.bincount(steps // size, minlength=count)
    kept = number > 0
    centre = (np.arange(count) + 0.5) * size
    return centre[kept], total[kept] / number[kept]


def end_labels(axes: Axes, labels: Sequence[tuple[float, str, str]], *, size: float = TEXT) -> None:
    """Write each (height in data, text, colour) right of the axes, moved apart where they would overlap."""
    if not labels:
        return
    figure = axes.figure
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]  # it fixes the height in points
    height = axes.get_window_extent().height / figure.dpi * 72
    gap = 1.22 * size / height
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = np.array([to_axes.transform((axes.get_xlim()[1], value))[1] for value, _, _ in labels])
    order = np.argsort(heights, kind="stable")
    for index, place in zip(order, spread(heights[order], gap), strict=True):
        _, text, colour = labels[index]
        axes.annotate(
            text,
            (1.0, place),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            fontsize=size,
            fontweight="bold",
            va="center",
            annotation_clip=False,
            parse_math=False,
        )


def spread(places: np.ndarray, gap: float) -> np.ndarray:
    """Ascending places, moved as little as possible (least squares) so that neighbours are `gap` apart."""
    # isotonic regression of places − i·gap by pooling adjacent violators
    blocks: list[tuple[float, int]] = []
    for value in places - gap * np.arange(len(places)):
        mean, weight = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, n = blocks.pop()
            mean, weight = (mean * weight + before * n) / (weight + n), weight + n
        blocks.append((mean, weight))
    return np.repeat([b[0] for b in blocks], [b[1] for b in blocks]) + gap * np.arange(len(places))
