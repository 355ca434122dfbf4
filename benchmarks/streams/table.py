"""One table per stream: interquartile mean over seeds with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.streams.measures import NATURAL, SPLITS
from mole.experiment.stats import Interval, bootstrap, iqm

SPLIT_COLUMNS = [f"{kind}-{name}" for kind in ("after", "return") for name in SPLITS]
_CAPTION = (
    "Interquartile mean over seeds [95 % interval]. Predict, then learn. 0–4, 5–19 and 20+: pairs since a switch, and "
    "since a return of an earlier task. µs: median of predict and learn together, one pair at a time; mean: with "
    "compilation and warm-up."
)


def summary(cells: Sequence[Mapping[str, Any]], column: str) -> Interval | None:
    """Figure of one column over seeds; None where no seed has it. A single seed has no interval (NaN)."""
    values = [one[column] for one in cells if one.get(column) is not None]
    if not values:
        return None
    if len(values) == 1:
        return Interval(iqm([values]), float("nan"), float("nan"))
    return bootstrap([values], rng=np.random.default_rng(0), statistic="iqm", resamples=2000)


def stream_table(name: str, by_method: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """The table of one stream, the best overall error first."""
    first = next(one for cells in by_method.values() for one in cells)
    classes = first["kind"] == "classification"
    unit = "share of wrong labels" if classes else "RMSE, " + ("in y" if name in NATURAL else "in sd of y")
    table = Table(title=f"{name}: {unit}, {first['length']} pairs", caption=_CAPTION, title_justify="left")
    table.add_column("method", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    switching = any(one.get("after-later") is not None for cells in by_method.values() for one in cells)
    splits = SPLIT_COLUMNS if switching else []
    for column in splits:
        kind, part = column.split("-")
        low, end = SPLITS[part]
        table.add_column(f"{kind}\n{low}–{end - 1}" if end else f"{kind}\n{low}+", justify="right")
    extra = ["log-loss"] if classes else ["coverage", "coverage-switch", "width"]
    for column in (*extra, "n_tasks"):
        table.add_column(column.replace("-", "\n").replace("_", "\n"), justify="right")
    table.add_column("µs", justify="right")
    table.add_column("mean", justify="right")
    table.add_column("seeds", justify="right")
    for method, cells in sorted(by_method.items(), key=lambda pair: _order(pair[1])):
        broken = sum(one["diverged"] for one in cells)
        seeds = f"{len(cells)}" + (f", {broken} diverged" if broken else "")
        times = [_text(summary(cells, column), 0) for column in ("microseconds", "microseconds-mean")]
        row = [_with_interval(summary(cells, "error")), *(_text(summary(cells, c), 3) for c in splits)]
        row += [_text(summary(cells, c), 2) for c in extra] + [_text(summary(cells, "n_tasks"), 1)]
        table.add_row(method, *row, *times, seeds)
    return table


def _order(cells: Sequence[Mapping[str, Any]]) -> float:
    found = summary(cells, "error")
    return float("inf") if found is None else found.value


def _text(found: Interval | None, digits: int) -> str:
    return "–" if found is None else f"{found.value:.{digits}f}"


def _with_interval(found: Interval | None) -> str:
    if found is None:
        return "–"
    if np.isnan(found.low):
        return f"{found.value:.3f}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
