"""The live view of a stream: speed, running error, the current task and its band; and what is said at the end."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import numpy as np
from rich.console import Console, Group
from rich.markup import escape
from rich.text import Text

from mole.commands.common import invocation
from mole.commands.stream_series import SeriesEstimator
from mole.pipeline.events import regime_records
from mole.pipeline.runner import Outcome, StreamRun, task_importances
from mole.report.stream import write_stream_report
from mole.report.style import TASKS

__all__ = ["StreamView", "task_colour", "tell_end"]

_RECENT = 200
_BAND = 60


def task_colour(task: int) -> str:
    """The same colour for the same task, here and in the report."""
    return TASKS[task % len(TASKS)]


class StreamView:
    """Shows a run; give every outcome to `update`, and this object to `rich.live.Live`."""

    def __init__(self, run: StreamRun) -> None:
        """Start the clock."""
        # The last outcome that has a task: a bad row does not clear the view.
        self._run, self._last = run, Outcome(run.rows)
        self._losses: deque[float] = deque(maxlen=_RECENT)
        self._hits: deque[bool] = deque(maxlen=_RECENT)
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._tasks: deque[int] = deque(maxlen=_BAND)

    def update(self, outcome: Outcome) -> None:
        """Take in one row."""
        self._times.append(time.monotonic())
        if outcome.loss is not None:
            self._losses.append(outcome.loss)
            self._hits.append(outcome.prediction == outcome.target)
        if outcome.task is not None:
            self._last = outcome
            self._tasks.append(outcome.task)

    def __rich__(self) -> Group:
        """Four lines."""
        digest, last = self._run.digest, self._last
        bad = sum(digest.bad.values())
        head = Text(f"{self._run.rows:,} rows · {self.speed():,.0f} a second · ")
        head.append(f"{bad:,} bad", style="red" if bad else "dim")
        task = Text("no task yet", style="dim")
        if last.task is not None:
            task = Text.assemble(
                ("■ ", task_colour(last.task)),
                f"task {last.task}, probability {last.probability or 0.0:.2f} · {len(digest.visited)} tasks so far",
            )
        return Group(head, Text(self.error()), task, self._band(), self._past())

    def speed(self) -> float:
        """Rows a second over the last 200 of them; not over all, since the first ones wait for the compiler."""
        span = self._times[-1] - self._times[0] if len(self._times) > 1 else 0.0
        return (len(self._times) - 1) / span if span > 0 else 0.0

    def error(self) -> str:
        """Running error: over the last 200 rows, and over all."""
        if not self._losses:
            return "no error yet"
        total = self._run.digest.total
        if self._run.settings.kind == "classification":
            now, ever = np.mean(self._hits), total.hits / total.scored
            return f"right: {100 * now:.1f} % of the last {len(self._hits)}, {100 * ever:.1f} % of all"
        now, ever = np.sqrt(np.mean(self._losses)), np.sqrt(total.loss / total.scored)
        text = f"root-mean-square error: {now:.4g} over the last {len(self._losses)}, {ever:.4g} over all"
        if total.judged:
            text += f" · {100 * total.covered / total.judged:.1f} % inside of the interval"
        return text

    def _band(self) -> Text:
        """Probabilities of the tasks now, the most probable first; grey is none of them."""
        band, done, end = Text(), 0.0, 0
        for task, share in sorted((self._last.shares or {}).items(), key=lambda item: -item[1]):
            # The sums are rounded, not the shares: so the band is as long as all of them together.
            done, begin = done + share, end
            end = round(done * _BAND)
            band.append("█" * (end - begin), style="bright_black" if task < 0 else task_colour(task))
        return band

    def _past(self) -> Text:
        """The tasks of the last rows."""
        past = Text()
        for task in self._tasks:
            past.append("▄", style=task_colour(task))
        return past


def tell_end(
    console: Console,
    run: StreamRun,
    view: StreamView,
    source: str,
    report: Path | None,
    checkpoint: Path | None,
) -> None:
    """Say how it went, and write the report."""
    bad = sum(run.digest.bad.values())
    if run.rows and not run.learned:
        reasons = "; ".join(f"{problem}: {count:,}" for problem, count in run.digest.bad.items())
        raise ValueError(
            f"none of {run.rows:,} rows could be learned ({reasons}); check the columns and --task"
        )
    if report is not None:  # before anything is said: whoever reads it may have gone
        shown = "standard input" if source == "-" else source
        importances = task_importances(run.estimator, list(run.digest.visited))
        named = None if run.settings.kind == "classification" else run.settings.target
        # What the regressor within a series says is in units of its own.
        series = run.settings.kind == "forecast"
        regimes = {} if series else regime_records(run.estimator, run.digest.visited, named)
        write_stream_report(
            report, run, source=shown, commands=[invocation.get()], importances=importances, regimes=regimes
        )
    console.print(
        f"{run.rows:,} rows, {run.learned:,} learned, {bad:,} bad; "
        + (
            _counted(len(run.digest.visited), "task")
            if run.settings.key is None
            else f"{len(run.estimator):,} keys"
        )
    )
    if view.error() != "no error yet":
        console.print(view.error(), highlight=False, soft_wrap=True)
    if text := run.simple.describe():
        console.print(text, highlight=False, soft_wrap=True)
    if name := run.simple.as_good:
        console.print(
            f"  the {name} is as good here: see docs/when-not.md",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
    for problem, count in sorted(run.digest.bad.items(), key=lambda item: -item[1]):
        console.print(f"  {count:,} × {escape(problem)}", style="yellow", highlight=False)
    for row, line, detail in run.digest.bad_rows[:5]:
        console.print(
            f"  row {row}, line {line} {escape(detail)}", style="dim", highlight=False, soft_wrap=True
        )
    if run.forgotten:
        console.print(
            f"  {run.forgotten:,} × waited for too many rows for the target", style="yellow", highlight=False
        )
    if isinstance(run.estimator, SeriesEstimator):
        ahead = ", ".join(f"{value:.6g}" for value in run.estimator.model.forecast())
        console.print(f"next rows: {ahead}", highlight=False, soft_wrap=True)
    if report is not None:
        console.print(f"report: {report}")
    if checkpoint is not None:
        console.print(f"checkpoint: {checkpoint}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
