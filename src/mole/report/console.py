"""What an evaluation tells the terminal: a live table of the runs, and the table of results with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from mole.control.records import EpisodeRecord
from mole.experiment.evaluate import Tick
from mole.experiment.metrics import summarise
from mole.experiment.stats import bootstrap

__all__ = ["LiveRuns", "results", "results_table"]

_FIGURES = (
    ("return_per_1000", "return / 1000 steps", "{:.0f}"),
    ("error_all", "one-step error", "{:.3f}"),
    ("error_first_20", "first 20 after a switch", "{:.3f}"),
    ("error_rest", "later", "{:.3f}"),
    ("error_random_actions", "random actions", "{:.3f}"),
    ("upright", "upright", "{:.2f}"),
    ("recall", "recall", "{:.2f}"),
    ("recall_delay", "delay", "{:.0f}"),
    ("tasks_at_end", "tasks", "{:.1f}"),
    ("seconds_per_step", "ms / step", "{:.1f}"),
)


def results(records: Sequence[EpisodeRecord], *, seed: int = 0) -> list[dict[str, Any]]:
    """One row per schedule and method: the mean of every figure over the seeds, with 95 % bootstrap intervals.

    Args:
        records: complete runs; cells are told apart by schedule and method in their headers.
        seed: of the bootstrap.

    Returns:
        Rows of plain JSON: ``schedule``, ``method``, ``runs``, and for each figure ``[mean, low, high]`` (the bounds
        are None for a single run; the figure is None where it has no meaning).
    """
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for record in records:
        groups.setdefault((record.meta["schedule"], record.meta["method"]), []).append(summarise(record))
    rows = []
    for (schedule, method), runs in groups.items():
        row: dict[str, Any] = {"schedule": schedule, "method": method, "runs": len(runs)}
        for name in runs[0]:
            values = np.asarray([run[name] for run in runs])
            row[name] = _interval(values[np.isfinite(values)], seed)
        rows.append(row)
    return rows


def _interval(values: np.ndarray, seed: int) -> list[float | None] | None:
    if values.size == 0:
        return None
    if values.size == 1:
        return [float(values[0]), None, None]
    return [float(v) for v in bootstrap([values], rng=np.random.default_rng(seed))]


def results_table(rows: Sequence[dict[str, Any]], schedule: str) -> Table:
    """The rows of one schedule as a table."""
    table = Table(title=schedule, title_justify="left")
    table.add_column("method", no_wrap=True)
    own = [row for row in rows if row["schedule"] == schedule]
    figures = [figure for figure in _FIGURES if any(row.get(figure[0]) for row in own)]
    for _, label, _ in figures:
        table.add_column(label, justify="right")
    for row in own:
        table.add_row(row["method"], *(_cell(name, row.get(name), form) for name, _, form in figures))
    return table


def _cell(name: str, value: list[float | None] | None, form: str) -> str:
    if value is None or value[0] is None:
        return "–"
    scale = 1e3 if name == "seconds_per_step" else 1.0
    mean = form.format(scale * value[0])
    if value[1] is None or value[2] is None or name in ("seconds_per_step", "tasks_at_end", "recall_delay"):
        return mean
    return f"{mean} [dim]\\[{form.format(value[1])}..{form.format(value[2])}][/dim]"


class LiveRuns:
    """The state of the running cells, as a table for `rich.live.Live`."""

    def __init__(self, steps: int) -> None:
        """Remember how long a run is."""
        self._steps, self._ticks = steps, {}

    def tick(self, tick: Tick) -> None:
        """Take in the progress of one cell."""
        self._ticks[tick.cell] = tick

    def __rich__(self) -> Table:
        """The table."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("method", "schedule", "seed", "step", "return / 1000", "error now", "tasks"):
            table.add_column(name, justify="left" if name in ("method", "schedule") else "right")
        for cell, tick in list(self._ticks.items())[-12:]:
            table.add_row(
                cell.method,
                cell.schedule,
                str(cell.seed),
                f"{tick.step}/{self._steps}",
                f"{1000 * tick.reward / max(tick.step, 1):.0f}",
                f"{tick.error:.3f}",
                str(tick.n_tasks),
            )
        return table
