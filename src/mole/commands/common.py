"""What several commands share: the console, priors, running cells with their progress, and results at the end."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mole.control.records import EpisodeRecord
from mole.experiment.config import Cell
from mole.experiment.evaluate import Done, Job, Tick, run_jobs
from mole.experiment.families import Family, family_of, world_of
from mole.experiment.remaining import RemainingTime
from mole.experiment.worlds import make_world, world_name
from mole.files.atomic import atomic_text
from mole.files.generations import SECONDS
from mole.priors.shipped import shipped_priors
from mole.report.console import LEGEND, LiveRuns, results_table, runs_csv, summary
from mole.report.tables import rows_of

__all__ = [
    "FailedRuns",
    "check_failures",
    "console",
    "default_family",
    "duration",
    "invocation",
    "need_parquet",
    "prior_files",
    "run_with_progress",
    "same_defaults",
    "world_for",
    "write_parquet",
    "write_results",
]

console = Console()
invocation: ContextVar[str] = ContextVar("invocation", default="mole")
"""The command line, for reports."""


class FailedRuns(RuntimeError):
    """Some runs failed; the others and the results are there."""


def world_for(name: str, parameter: str | None) -> str:
    """The world of a command's ENV and --parameter."""
    return world_name(world_of(name), parameter)


def prior_files(name: str, world: str, prior: Path | None, supervised: Path | None) -> tuple[Path, Path]:
    """The given priors, or those that come with the package."""
    if prior is None:
        make_world(world).close()  # an unknown world is the likelier mistake
        meta, twin = shipped_priors(name)
        return meta, twin if supervised is None else supervised
    return prior, prior.with_name("supervised.mole") if supervised is None else supervised


def default_family(args: Sequence[str]) -> Family | None:
    """The family whose defaults a command line gets: that of its ENV, which comes first."""
    return family_of(args[1]) if len(args) > 1 else None


def same_defaults(env: str, family: Family | None) -> None:
    """Raise ValueError if the defaults were taken from another family than that of ``env``."""
    if family_of(env) is not family:
        raise ValueError(f"got {env} after other options; expected it first, since it decides the defaults.")


def run_with_progress(jobs: Sequence[Job], workers: int, every_seconds: float = SECONDS) -> None:
    """Run what is not complete, with a table of the running cells and the remaining time; see `run_jobs`."""
    left = RemainingTime([job for job in jobs if not job.complete], workers)
    live = LiveRuns(max(job.config.steps for job in jobs))

    class Shown:
        """The running cells, and how long all will take."""

        def __rich__(self) -> Group:
            return Group(live, Text(_remaining(left), style="dim"))

    with Live(Shown(), console=console, refresh_per_second=2, transient=True):

        def tick(tick: Tick) -> None:
            left.tick(tick, time.monotonic())
            live.tick(tick)

        def done(event: Done) -> None:
            left.done(event.cell, time.monotonic())
            _say(event, _remaining(left) if event.number < event.total else "")

        run_jobs(jobs, workers=workers, every_seconds=every_seconds, on_tick=tick, on_done=done)


def _say(event: Done, remaining: str) -> None:
    cell = event.cell
    parts = [cell.family, cell.method, cell.setting or cell.schedule, f"seed {cell.seed}", remaining]
    style, failed = ("", "") if event.failure is None else ("red", f" failed: {event.failure}")
    text = Text(f"{event.number}/{event.total} ", style="dim")
    text.append(" · ".join(part for part in parts if part) + failed, style=style)
    console.print(text, soft_wrap=True)


def _remaining(left: RemainingTime) -> str:
    seconds = left.seconds(time.monotonic())
    return "" if seconds is None else f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """``2 h 05 min``, ``12 min`` or ``40 s``."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if seconds >= 90 else f"{round(seconds)} s"


def write_results(out: Path, records: Sequence[EpisodeRecord], title: str = "") -> None:
    """Print the tables, and write ``runs.csv`` and ``summary.json``."""
    rows = rows_of(records)
    if not rows:
        return
    if title:
        console.rule(title, align="left")
    for schedule in dict.fromkeys(row.schedule for row in rows):
        console.print(results_table([row for row in rows if row.schedule == schedule]))
    console.print(LEGEND, style="dim", highlight=False)
    atomic_text(out / "runs.csv", runs_csv(rows))
    atomic_text(out / "summary.json", json.dumps(summary(rows), indent=1) + "\n")


def need_parquet() -> None:
    """Raise ValueError before anything is run, if Parquet files cannot be written."""
    try:
        importlib.import_module("mole.control.parquet")
    except ImportError as error:
        raise ValueError(f"--format parquet: {error}") from error


def write_parquet(folder: Path, cells: Sequence[Cell]) -> None:
    """Write the record of every cell also as a Parquet file, unless it is there already."""
    for cell in cells:
        source, target = (folder / f"{cell.name}.{suffix}" for suffix in ("npz", "parquet"))
        if source.exists() and not (target.exists() and target.stat().st_mtime >= source.stat().st_mtime):
            EpisodeRecord.load(source).save(target)


def check_failures(records: Sequence[EpisodeRecord]) -> None:
    """Raise `FailedRuns` with the reasons, if any run failed."""
    failed = [record.meta for record in records if not record.meta["complete"]]
    if failed:
        lines = [
            f"{m.get('family') or m['env']} · {m['method']} · {m['schedule']} · seed {m['seed']}: {m['error']}"
            for m in failed
        ]
        raise FailedRuns(
            f"{len(failed)} of {len(records)} runs failed; run it again to try them again.\n"
            + "\n".join(lines)
        )
