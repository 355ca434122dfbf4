"""The figures of a report, as Matplotlib figures (object-oriented API only: no global state, no window).

Each takes the runs of one schedule and returns a `matplotlib.figure.Figure`: save it with
`figure.savefig("x.png", dpi=200, facecolor="white")` or `"x.svg"`. `width` is in inches; below 6 the layout
is for a phone. Pass `colours` (see `mole.report.style.method_colours`) so that methods which the palette does
not know have the same colour in several figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from mole.control.records import EpisodeRecord
from mole.experiment.metrics import switches
from mole.report.digest import AFTER, BEFORE, around
from mole.report.drawing import (
    BREAK,
    SMALL,
    TEXT,
    WIDE,
    beside,
    binned,
    by_method,
    clean,
    common_switches,
    draw_band,
    end_labels,
    log_axis,
    mark_interval,
    new_figure,
)
from mole.report.style import GRID, MUTED, dashes, method_colours, ordered
from mole.report.tables import Row, number

__all__ = ["ABOUT_BANDS", "errors", "posture", "return_over_time", "returns_overview", "task_bands"]

ABOUT_BANDS = (
    "Upper strip: the true task, which the learner never sees (an oracle does). Below: the probabilities of its own "
    "tasks, each coloured like the true task that it served most. Triangles: a task was added."
)
"""How to read `task_bands`."""
Colours = Mapping[str, str]
_BINS = 240
_UPRIGHT = LinearSegmentedColormap.from_list(
    "upright", ["#d0673f", "#e7b592", "#dfe3e8", "#8fc0c0", "#3b918f"]
)


def returns_overview(
    rows: Sequence[Row[Any]],
    *,
    width: float = WIDE,
    colours: Colours | None = None,
    metric: str = "return_per_1000",
) -> Figure:
    """A figure of every run: a dot per run, the rows' statistic and its 95 % interval, one panel per schedule.

    Args:
        rows: of any schedules and methods.
        width: inches.
        colours: by method.
        metric: which figure of `mole.experiment.metrics.summarise`; errors are on a log scale.
    """
    colours = colours or method_colours(row.method for row in rows)
    schedules = list(dict.fromkeys(row.schedule for row in rows))
    most = max(sum(row.schedule == schedule for row in rows) for schedule in schedules)
    # Four panels fill two columns; any larger number leaves fewer holes in three.
    columns = 1 if width < BREAK else (min(2, len(schedules)) if len(schedules) in (1, 2, 4) else 3)
    lines = -(-len(schedules) // columns)
    figure = new_figure(width, lines * (0.75 + 0.27 * most))
    grid = figure.subplots(lines, columns, squeeze=False)
    log = metric.startswith("error")
    for axes, schedule in zip(grid.flat, schedules, strict=False):
        here = [row for row in rows if row.schedule == schedule]
        clean(axes, title=schedule)
        axes.grid(False)
        if log and any((row.figures[metric] > 0).any() for row in here):
            log_axis(axes.xaxis)
        elif not log:
            axes.axvline(0.0, color=GRID, linewidth=1.0)
        axes.set_ylim(len(here) - 0.5, -0.6)
        axes.set_yticks(range(len(here)), [row.method for row in here], parse_math=False)
        for place, (row, label) in enumerate(zip(here, axes.get_yticklabels(), strict=True)):
            colour = colours[row.method]
            label.set(color=colour, fontsize=TEXT, fontweight="bold")
            axes.axhline(place, color=GRID, linewidth=0.6, zorder=0)
            values = row.figures[metric]
            found, digits = row.interval(metric), 3 if log else 0
            mark_interval(axes, place, values[np.isfinite(values)], found, colour)
            beside(axes, place, number(found.value, digits) if found else "not finite", TEXT)
        axes.margins(x=0.06)
    for axes in grid.flat[len(schedules) :]:
        axes.set_visible(False)
    return figure


def return_over_time(
    runs: Sequence[EpisodeRecord], *, width: float = WIDE, colours: Colours | None = None
) -> Figure:
    """Return so far: the mean over the runs of each method as a line, every run as a thin one."""
    colours = colours or method_colours(str(run.meta["method"]) for run in runs)
    figure = new_figure(width, 3.1 if width >= BREAK else 2.9)
    axes = clean(figure.subplots(), x="step", y="return so far")
    _mark_switches(axes, runs)
    labels = []
    for method, mine in by_method(runs).items():
        sums = [np.cumsum(run.reward) for run in mine]
        # Hundreds of points a line are more than a screen shows, and the page holds every one of them.
        for one in sums if len(mine) > 1 else []:
            at = np.unique(np.linspace(0, len(one) - 1, _BINS // 2).astype(int))
            axes.plot(at + 1, one[at], color=colours[method], linewidth=0.7, alpha=0.3)
        shortest = min(len(one) for one in sums)
        at = np.unique(np.linspace(0, shortest - 1, _BINS).astype(int))
        mean = np.mean([one[at] for one in sums], axis=0)
        axes.plot(at + 1, mean, color=colours[method], linewidth=2.0, linestyle=dashes(method))
        # The mean ends with the shortest run: beyond it, it would jump where a run drops out.
        labels.append((float(mean[-1]), method, colours[method]))
    axes.set_xlim(0, max(len(run) for run in runs))
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    end_labels(axes, [label for label in labels if np.isfinite(label[0])])
    return figure


def errors(runs: Sequence[EpisodeRecord], *, width: float = WIDE, colours: Colours | None = None) -> Figure:
    """One-step error before learning, on a log scale: over the run and, with switches, after a switch."""
    colours = colours or method_colours(str(run.meta["method"]) for run in runs)
    wide, panels = width >= BREAK, 1 + any(switches(run.true_task).size for run in runs)
    figure = new_figure(width, 3.2 if wide else 2.6 * panels)
    if wide:
        grid = figure.subplots(1, panels, squeeze=False, sharey=True, width_ratios=[1.7, 1.0][:panels])
    else:
        grid = figure.subplots(panels, 1, squeeze=False, sharey=True)
    over = clean(grid.flat[0], title="Over the run", x="step", y="one-step error")
    _mark_switches(over, runs)
    labels: list[tuple[float, str, str]] = []
    for method, mine in by_method(runs).items():
        style = {"color": colours[method], "linestyle": dashes(method)}
        steps, values = binned([run.loss for run in mine], _BINS if panels == 1 else _BINS * 2 // 3)
        over.plot(steps, values, linewidth=1.3, **style)
        last = values[-1] if len(values) else np.nan
        if panels == 2:
            offsets, values = _around_switches(mine)
            grid.flat[1].plot(offsets, values, linewidth=2.0, **style)
            last = values[-1] if len(values) else np.nan
        labels.append((float(last), method, colours[method]))
    for axes in grid.flat:
        log_axis(axes.yaxis)
    over.set_xlim(0, max(len(run) for run in runs))
    if panels == 2:
        after = clean(grid.flat[1], title="After a switch, mean of all", x="steps since the switch")
        after.axvline(0, color=MUTED, linewidth=0.9)
        after.set_xlim(-5, None)
        after.margins(x=0)
        if not wide:
            after.set_ylabel("one-step error", color=MUTED, fontsize=SMALL)
    end_labels(grid.flat[-1], [label for label in labels if np.isfinite(label[0]) and label[0] > 0])
    return figure


def _around_switches(runs: Sequence[EpisodeRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Mean error at −5 to 49 steps from a switch, over the switches and runs whose visits reach that far."""
    total, count = np.sum([around(run, switches(run.true_task).tolist()) for run in runs], axis=0)
    # An offset that few visits reach would not be comparable with its neighbours.
    kept = count > 0.5 * count.max()
    return (np.arange(BEFORE + AFTER) - BEFORE)[kept], total[kept] / count[kept]


def task_bands(
    runs: Sequence[EpisodeRecord], *, width: float = WIDE, colours: Colours | None = None
) -> Figure:
    """Per method with a mixture, its first seed: the true task above the probabilities of the slots.

    Raises:
        ValueError: if no run has a mixture.
    """
    colours = colours or method_colours(str(run.meta["method"]) for run in runs)
    mixtures = [run for run in runs if run.has_mixture]
    if not mixtures:
        raise ValueError("no run has a mixture, expected responsibilities of two slots or more")
    # Seeds of a header are numbers or text: with zeros before them, 10 comes after 9.
    firsts = {
        method: min(mine, key=lambda run: str(run.meta["seed"]).zfill(9))
        for method, mine in by_method(mixtures).items()
    }
    figure = new_figure(width, 0.35 + 1.15 * len(firsts))
    grid = figure.subplots(len(firsts), 1, squeeze=False, sharex=True)
    for axes, (method, run) in zip(grid.flat, firsts.items(), strict=True):
        clean(axes, title=f"{method}, seed {run.meta['seed']}", colour=colours[method])
        draw_band(axes, run)
    clean(grid.flat[-1], x="step").grid(False)
    return figure


def posture(runs: Sequence[EpisodeRecord], *, width: float = WIDE, colours: Colours | None = None) -> Figure:
    """One strip per method over time: the mean cosine of the pitch, from on its back to upright.

    Raises:
        ValueError: if no run knows its posture.
    """
    colours = colours or method_colours(str(run.meta["method"]) for run in runs)
    known = by_method([run for run in runs if np.isfinite(run.upright).any()])
    longest = max(len(run) for run in runs)
    figure = new_figure(width, 0.55 + 0.3 * len(known))
    axes = clean(figure.subplots(), x="step")
    axes.grid(False)
    for place, mine in enumerate(known.values()):
        steps, values = binned([run.upright for run in mine], 300)
        size = max(1, -(-max(len(run) for run in mine) // 300))
        strip = np.full(-(-longest // size), np.nan)
        strip[(steps / size).astype(int)] = values
        extent = (0, len(strip) * size, place + 0.36, place - 0.36)
        axes.imshow(
            strip[None], cmap=_UPRIGHT, vmin=-1, vmax=1, aspect="auto", extent=extent, interpolation="nearest"
        )
        fraction = np.mean([np.mean(run.upright[np.isfinite(run.upright)] > 0) for run in mine])
        beside(axes, place, f"{100 * fraction:.0f} % upright", SMALL)
    axes.set_xlim(0, longest)
    axes.set_ylim(len(known) - 0.5, -0.5)
    axes.set_yticks(range(len(known)), list(known), parse_math=False)
    for label, method in zip(axes.get_yticklabels(), ordered(known), strict=True):
        label.set(color=colours[method], fontsize=TEXT, fontweight="bold")
    return figure


def _mark_switches(axes: Axes, runs: Sequence[EpisodeRecord]) -> None:
    for time in common_switches(runs):
        axes.axvline(time, color=GRID, linewidth=1.0, zorder=0)
