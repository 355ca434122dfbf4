"""Figures of a suite, drawn from digests: around a switch, pooled over settings, and for a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mole.experiment.stats import Band, Interval, curve_band, performance_profile
from mole.report.claims import Evidence
from mole.report.digest import AFTER, BEFORE, Digest
from mole.report.drawing import (
    BREAK,
    SMALL,
    TEXT,
    WIDE,
    beside,
    clean,
    end_labels,
    log_axis,
    mark_interval,
    new_figure,
)
from mole.report.groups import Group
from mole.report.style import GRID, INK, MUTED, dashes
from mole.report.tables import Row, number

__all__ = ["adaptation", "aggregates", "evidence", "improvements", "profiles"]

Colours = Mapping[str, str]
_POINTS = 121


def adaptation(rows: Sequence[Row[Digest]], *, width: float = WIDE, colours: Colours) -> Figure:
    """One-step error by steps since a switch, after any and after a return; over the run where nothing switches.

    Lines are means over runs, bands their pointwise 95 % intervals.
    """
    panels = [
        (title, name)
        for title, name in (("After a switch", "after_switch"), ("After a return", "after_return"))
        if any(getattr(run, name)[1].any() for row in rows for run in row.runs)
    ] or [("Over the run", "over_run")]
    wide = width >= BREAK
    figure = new_figure(width, 3.1 if wide else 2.5 * len(panels))
    shape = (1, len(panels)) if wide else (len(panels), 1)
    grid = figure.subplots(*shape, squeeze=False, sharey=True)
    for axes, (title, name) in zip(grid.flat, panels, strict=True):
        over = name == "over_run"
        clean(axes, title=title, x="step" if over else "steps since the switch", y="one-step error")
        if not over:
            axes.axvline(0, color=MUTED, linewidth=0.9)
        labels = []
        for row in rows:
            steps, band = _over_run(row) if over else _aligned(row, name)
            kept = np.isfinite(band.value) & (band.value > 0)
            if kept.any():
                _banded(axes, steps[kept], Band(*(part[kept] for part in band)), row.method, colours)
                labels.append((float(band.value[kept][-1]), row.method, colours[row.method]))
        log_axis(axes.yaxis)
        axes.margins(x=0)
        if axes is grid.flat[-1] or not wide:
            end_labels(axes, labels, size=TEXT if wide else SMALL)
    if wide and len(panels) > 1:
        grid.flat[1].set_ylabel("")
    return figure


def _banded(axes: Axes, x: np.ndarray, band: Band, method: str, colours: Colours) -> None:
    axes.plot(x, band.value, color=colours[method], linewidth=1.8, linestyle=dashes(method))
    # A log axis has no place for what is not positive.
    if np.isfinite(band.low).all():
        axes.fill_between(
            x, np.maximum(band.low, 1e-12), band.high, color=colours[method], alpha=0.18, linewidth=0
        )


def _aligned(row: Row[Digest], name: str) -> tuple[np.ndarray, Band]:
    """Each run's own mean at each offset first, then the band over the runs."""
    sums = np.array([getattr(run, name) for run in row.runs])
    count = sums[:, 1].sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: a run without a visit that long
        curves = sums[:, 0] / sums[:, 1]
    # An offset that few visits reach would not be comparable with its neighbours.
    curves[:, count <= 0.5 * count.max(initial=1)] = np.nan
    return np.arange(BEFORE + AFTER) - BEFORE, curve_band(curves, rng=np.random.default_rng(0))


def _over_run(row: Row[Digest]) -> tuple[np.ndarray, Band]:
    """Over the steps that all runs reach, in the shortest one's segments."""
    # A run that stopped early has finer bins; all are read at the centres of its bins.
    shortest = min(row.runs, key=len)
    at = (np.arange(len(shortest.over_run)) + 0.5) * shortest.segment
    finite = [np.where(np.isfinite(run.over_run), run.over_run, np.nan) for run in row.runs]
    curves = [
        curve[np.minimum((at / run.segment).astype(int), len(curve) - 1)]
        for run, curve in zip(row.runs, finite, strict=True)
    ]
    return at, curve_band(np.array(curves), rng=np.random.default_rng(0))


def aggregates(group: Group, *, width: float = WIDE, colours: Colours) -> Figure:
    """Normalised return, interquartile mean over all settings, a line per method."""
    lines = [(name, found) for name in group.methods if (found := group.aggregate(name)) is not None]
    figure = new_figure(width, 0.55 + 0.27 * len(lines))
    axes = _ladder(figure, [name for name, _ in lines], colours)
    for limit in (0.0, 1.0):
        axes.axvline(limit, color=GRID, linewidth=1.0, zorder=0)
    for place, (name, found) in enumerate(lines):
        mark_interval(axes, place, np.zeros(0), found, colours[name])
        beside(axes, place, number(found.value, 2), TEXT)
    axes.margins(x=0.06)
    return figure


def improvements(
    found: Mapping[str, Interval], *, width: float = WIDE, colours: Colours, limit: float = 0.5
) -> Figure:
    """Probability that mole improves on each method, with its interval; the line is a coin's."""
    figure = new_figure(width, 0.55 + 0.27 * len(found))
    axes = _ladder(figure, list(found), colours)
    axes.axvline(limit, color=MUTED, linewidth=0.9, zorder=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for place, (name, interval) in enumerate(found.items()):
        mark_interval(axes, place, np.zeros(0), interval, colours[name])
        beside(axes, place, f"{interval.value:.2f}", TEXT)
    axes.set_xlim(-0.02, 1.02)
    return figure


def _ladder(figure: Figure, names: Sequence[str], colours: Colours) -> Axes:
    """Axes with a line for each method, the first at the top."""
    axes = clean(figure.subplots())
    axes.grid(False)
    axes.xaxis.set_major_formatter(lambda value, _: number(value, 1))
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.set_yticks(range(len(names)), list(names), parse_math=False)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set(color=colours.get(name, INK), fontsize=TEXT, fontweight="bold")
    for place in range(len(names)):
        axes.axhline(place, color=GRID, linewidth=0.6, zorder=0)
    return axes


def profiles(group: Group, *, width: float = WIDE, colours: Colours) -> Figure:
    """Share of runs whose normalised return is above each score."""
    scores = {name: cells for name in group.methods if (cells := group.scores(name))}
    every = np.concatenate([cell for cells in scores.values() for cell in cells])
    # One run that fell far below would squeeze all others into a corner.
    low, high = np.quantile(every, [0.01, 0.99])
    at = np.linspace(min(low, 0.0) - 0.05, max(high, 1.0) + 0.05, _POINTS)
    figure = new_figure(width, 3.1 if width >= BREAK else 2.7)
    axes = clean(figure.subplots(), x="normalised return", y="share of runs above it")
    labels = []
    for name, cells in scores.items():
        band = performance_profile(cells, at, rng=np.random.default_rng(0))
        _banded(axes, at, band, name, colours)
        labels.append((float(at[np.argmax(band.value <= 0.5)]), name))
    axes.set_xlim(at[0], at[-1])
    axes.set_ylim(-0.02, 1.05)
    axes.xaxis.set_major_formatter(lambda value, _: number(value, 1))
    _legend(axes, [name for _, name in sorted(labels, reverse=True)], colours)
    return figure


def _legend(axes: Axes, names: Sequence[str], colours: Colours) -> None:
    """Names in their colours at the right, in the order of the curves from the right."""
    handles = [
        axes.plot([], [], color=colours[name], linestyle=dashes(name), linewidth=1.8, label=name)[0]
        for name in names
    ]
    legend = axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=TEXT
    )
    for text in legend.get_texts():
        text.set(color=colours[text.get_text()], fontweight="bold", parse_math=False)


def evidence(found: Sequence[Evidence], *, width: float = WIDE, colours: Colours) -> Figure:
    """What a claim was judged by: a line per setting, a mark and interval per method; ✓ where the rule held."""
    wide = width >= BREAK
    most = max(len(one.intervals) for one in found)
    head = 0.0 if wide else 0.2  # inches for the name above its line, where there is no room beside it
    apart = 0.16 if len(found) <= 8 else 0.07
    step = apart * most + 0.18 + head
    figure = new_figure(width, 0.75 + step * len(found))
    axes = clean(figure.subplots(), x=found[0].unit)
    axes.grid(False)
    axes.grid(True, axis="x", color=GRID, linewidth=0.7)
    names = [f"{one.place} {'✓' if one.holds else '✗'}" for one in found]
    for place, one in enumerate(found):
        offsets = (apart * (np.arange(len(one.intervals)) - (len(one.intervals) - 1) / 2) + head / 2) / step
        for offset, (name, interval) in zip(offsets, one.intervals.items(), strict=True):
            mark_interval(axes, place + offset, np.zeros(0), interval, colours[name], size=0.62)
        if place:
            axes.axhline(place - 0.5, color=GRID, linewidth=0.6)
        if not wide:
            axes.annotate(
                names[place],
                (0.0, place - 0.5 + 0.14 / step),
                xycoords=("axes fraction", "data"),
                fontsize=SMALL,
                color=INK,
                va="center",
                parse_math=False,
            )
    if wide:
        axes.set_yticks(range(len(found)), names, parse_math=False, fontsize=SMALL, color=INK)
    else:
        axes.set_yticks([])
    axes.set_ylim(len(found) - 0.5, -0.5)
    if found[0].log:
        log_axis(axes.xaxis)
    used = list(dict.fromkeys(name for one in found for name in one.intervals))
    handles = [axes.plot([], [], color=colours[name], linewidth=4, alpha=0.6, label=name)[0] for name in used]
    columns = 7 if width >= BREAK else 3
    legend = figure.legend(
        handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=SMALL
    )
    for text in legend.get_texts():
        text.set(color=colours[text.get_text()], fontweight="bold", parse_math=False)
    return figure
