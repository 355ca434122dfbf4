"""What the figures share: axes of one look, binning, lines that carry their own label, and the band of a mixture."""

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
from mole.report.style import GRID, INK, MUTED, TASKS, ordered
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
    "draw_band",
    "end_labels",
    "log_axis",
    "mark_interval",
    "new_figure",
    "slot_colours",
]

WIDE = 9.2
"""Width in inches for a desktop page; below `BREAK` the layout is for a phone."""
NARROW = 4.0
"""Width in inches for a phone."""
BREAK = 6.0
TEXT, SMALL = 9.0, 8.0
_MOST_BANDS = 200


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
    # Text comes from files: a dollar sign in it would begin a formula, here and wherever `parse_math` is off.
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
    # Where every seed switches at other times, lines for all of them would be a grey wall.
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
    # Labels are moved apart by points of the finished figure, whose height the layout decides.
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
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
    # Isotonic regression of places − i·gap, by pooling adjacent violators.
    blocks: list[tuple[float, int]] = []
    for value in places - gap * np.arange(len(places)):
        mean, weight = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, n = blocks.pop()
            mean, weight = (mean * weight + before * n) / (weight + n), weight + n
        blocks.append((mean, weight))
    return np.repeat([b[0] for b in blocks], [b[1] for b in blocks]) + gap * np.arange(len(places))


def draw_band(axes: Axes, run: EpisodeRecord) -> None:
    """Draw the true task as a strip over the stacked probabilities of the slots, in matching colours.

    A slot has the colour of the true task that it served most, if it is that task's main slot; otherwise a
    colour of its own. Triangles mark the steps at which a task was added.
    """
    starts, shares = _shares(run.responsibilities)
    below = np.zeros(len(starts))
    for slot, colour in slot_colours(run).items():
        above = below + shares[:, slot]
        at, low, high = _outline(starts, below, above)
        axes.fill_between(
            np.append(at, len(run)),
            np.append(low, low[-1]),
            np.append(high, high[-1]),
            step="post",
            color=colour,
            linewidth=0,
        )
        below = above
    changes = (np.flatnonzero(np.diff(run.true_task)) + 1).tolist()
    for start, stop in zip([0, *changes], [*changes, len(run)], strict=True):
        task = int(run.true_task[start])
        axes.fill_between(
            [start, stop], 1.12, 1.38, color=TASKS[task % len(TASKS)] if task >= 0 else MUTED, linewidth=0
        )
    for step in np.flatnonzero(run.spawned):
        axes.plot(step, 1.055, "v", color=INK, markersize=3.6, clip_on=False)
    axes.set_xlim(0, len(run))
    axes.set_ylim(-0.02, 1.4)
    axes.grid(False)
    axes.set_yticks([0.5, 1.25], ["learner", "truth"], fontsize=SMALL)


def _outline(starts: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
    """Starts, lower and upper edge of a slot, without the segments over which it is absent or stays the same."""
    present = high > low
    last = np.maximum.accumulate(np.where(present, np.arange(len(starts)), 0))
    low, high = low[last], np.where(present, high, low[last])
    kept = np.append(True, (np.diff(low) != 0) | (np.diff(high) != 0))
    return starts[kept], low[kept], high[kept]


def _shares(responsibilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First step and shares of the slots for every segment over which they stay the same (to a hundredth).

    Where that leaves too many segments for a page, steps are averaged first.
    """
    # Step by step first: a hard assignment changes so seldom that nothing has to be averaged.
    for size in (1, max(1, -(-len(responsibilities) // _MOST_BANDS))):
        starts = np.arange(0, len(responsibilities), size)
        shares = np.add.reduceat(responsibilities, starts, axis=0)
        shares = np.round(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12), 2)
        kept = np.append(True, (np.diff(shares, axis=0) != 0).any(axis=1))
        if kept.sum() <= _MOST_BANDS:
            break
    return starts[kept], shares[kept]


def slot_colours(run: EpisodeRecord) -> dict[int, str]:
    """Slot → colour for every slot that was ever believed in (mass above a thousandth of the run)."""
    mass = run.responsibilities.sum(axis=0)
    used = [int(slot) for slot in np.flatnonzero(mass > 1e-3 * len(run))]
    tasks = [int(task) for task in np.unique(run.true_task) if task >= 0]
    served = np.array(
        [[run.responsibilities[run.true_task == task, slot].sum() for task in tasks] for slot in used]
    )
    colours: dict[int, str] = {}
    # Of several slots that serve one task, only the main one has its colour: the others are what went wrong.
    for row, slot in enumerate(used):
        if tasks and served[:, served[row].argmax()].argmax() == row:
            colours[slot] = TASKS[tasks[int(served[row].argmax())] % len(TASKS)]
    spare = [colour for colour in reversed(TASKS) if colour not in colours.values()] or [MUTED]
    for index, slot in enumerate(slot for slot in used if slot not in colours):
        colours[slot] = spare[index % len(spare)]
    return dict(sorted(colours.items()))
