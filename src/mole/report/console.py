"""What an evaluation tells the terminal: its runs while they go on, how long they will take, and the results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mole.experiment.config import Cell
from mole.experiment.evaluate import Job, Tick
from mole.experiment.stats import Interval
from mole.report.tables import Row

__all__ = ["LEGEND", "LiveRuns", "RemainingTime", "results_table", "runs_csv", "summary"]

_FIGURES = (
    ("return_per_1000", "return", "{:.0f}"),
    ("error_all", "error", "{:.3f}"),
    ("error_first_20", "switch", "{:.3f}"),
    ("error_rest", "later", "{:.3f}"),
    ("error_random_actions", "random", "{:.3f}"),
    ("upright", "up", "{:.2f}"),
    ("recall", "recall", "{:.2f}"),
    ("recall_delay", "delay", "{:.0f}"),
    ("tasks_at_end", "tasks", "{:.1f}"),
    ("seconds_per_step", "ms", "{:.1f}"),
)
_WITH_INTERVAL = ("return_per_1000", "error_all")
LEGEND = (
    "return: per 1,000 steps. error: one-step, made before learning; switch: in the 20 steps after one; later: the "
    "rest; random: under random actions. up: share of steps upright. recall: returning tasks recognised, and after "
    "how many steps (delay). tasks: at the end. ms: per step. Intervals: 95 % bootstrap over the seeds."
)


def summary(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """The rows as plain JSON: ``schedule``, ``method``, ``seeds``, and for each figure ``[mean, low, high]``.

    ``low`` and ``high`` are the ends of the 95 % bootstrap interval over the seeds; what has no meaning is None.
    """
    return [
        {
            "schedule": row.schedule,
            "method": row.method,
            "seeds": row.seeds,
            **{name: _plain(row.interval(name)) for name in row.figures},
        }
        for row in rows
    ]


def runs_csv(rows: Sequence[Row[Any]]) -> str:
    """Every figure of every run as comma-separated values, one run per line; empty where it has no meaning."""
    lines = [",".join(["schedule", "method", "seed", *rows[0].figures])]
    for row in rows:
        for place, seed in enumerate(row.seeds):
            values = [row.figures[name][place] for name in rows[0].figures]
            figures = [f"{value:.6g}" if np.isfinite(value) else "" for value in values]
            lines.append(",".join([f'"{row.schedule}"', row.method, str(seed), *figures]))
    return "\n".join(lines) + "\n"


def _plain(interval: Interval | None) -> list[float | None] | None:
    if interval is None:
        return None
    return [round(value, 6) if np.isfinite(value) else None for value in interval]  # JSON has no NaN


def results_table(rows: Sequence[Row[Any]]) -> Table:
    """The rows of one schedule as a table."""
    table = Table(title=rows[0].schedule, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    intervals = [{name: row.interval(name) for name, _, _ in _FIGURES} for row in rows]
    shown = [figure for figure in _FIGURES if any(found[figure[0]] for found in intervals)]
    for _, label, _ in shown:
        table.add_column(label, justify="right")
    for row, found in zip(rows, intervals, strict=True):
        table.add_row(row.method, *(_cell(name, found[name], form) for name, _, form in shown))
    return table


def _cell(name: str, value: Interval | None, form: str) -> str:
    if value is None:
        return "–"
    scale = 1e3 if name == "seconds_per_step" else 1.0
    mean = form.format(scale * value.value)
    if not np.isfinite(value.low) or name not in _WITH_INTERVAL:
        return mean
    return f"{mean}\n[dim]{form.format(value.low)}..{form.format(value.high)}[/dim]"


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
        # A live display must fit on the screen: those that began last.
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


@dataclasses.dataclass
class _Running:
    began: float
    step: int = 0
    first_tick: tuple[float, int] | None = None


class RemainingTime:
    """Measures seconds per step of every method (in every family), and adds up what is left.

    A finished run gives the rate of its method, compilation and the stream of random actions included; a running one
    its rate since its first steps. A method that has not run yet is taken to be as fast as the mean of those that have.

    Args:
        left: the jobs that are still to be done.
        workers: how many run at once.
    """

    def __init__(self, left: list[Job], workers: int) -> None:
        """Nothing measured yet."""
        self._steps = {job.cell: job.config.steps_of(job.cell.method) for job in left}
        self._workers = workers
        self._running: dict[Cell, _Running] = {}
        self._finished: dict[tuple[str, str], tuple[float, int]] = {}

    def tick(self, tick: Tick, now: float) -> None:
        """Take in the progress of a cell at the time ``now`` (seconds of any one clock)."""
        run = self._running.setdefault(tick.cell, _Running(now))
        run.step = tick.step
        # The time before the first steps is compilation, and says nothing about the rate.
        if run.first_tick is None and tick.step:
            run.first_tick = (now, tick.step)

    def done(self, cell: Cell, now: float) -> None:
        """Take in the end of a cell."""
        steps = self._steps.pop(cell, 0)
        run = self._running.pop(cell, None)
        if run is None or not run.step:  # it failed before its first steps
            return
        seconds, known = self._finished.get(_key(cell), (0.0, 0))
        self._finished[_key(cell)] = (seconds + now - run.began, known + max(run.step, steps))

    def rates(self, now: float) -> Mapping[tuple[str, str], float]:
        """Seconds per step of every (family, method) measured so far."""
        totals = dict(self._finished)
        for cell, run in self._running.items():
            if run.first_tick is not None and run.step > run.first_tick[1]:
                seconds, known = totals.get(_key(cell), (0.0, 0))
                began, step = run.first_tick
                totals[_key(cell)] = (seconds + now - began, known + run.step - step)
        return {key: seconds / steps for key, (seconds, steps) in totals.items() if steps}

    def seconds(self, now: float) -> float | None:
        """Seconds until all is done; None before anything has been measured."""
        rates = self.rates(now)
        if not rates:
            return None
        usual = sum(rates.values()) / len(rates)
        work = [
            (steps - (self._running[cell].step if cell in self._running else 0))
            * rates.get(_key(cell), usual)
            for cell, steps in self._steps.items()
        ]
        # One run cannot be divided between workers: the longest of them is the least that it takes.
        return max(sum(work) / self._workers, max(work, default=0.0))


def _key(cell: Cell) -> tuple[str, str]:
    return cell.family, cell.method
