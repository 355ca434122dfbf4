"""Runs of many cells, as `mole eval`, `mole demo` and `mole tune` make them: what to run, its progress, its results."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.text import Text

from mole._expect import did_you_mean
from mole.commands.common import console, one_address
from mole.control.records import EpisodeRecord
from mole.control.stages import claim_folder
from mole.experiment.config import Cell, EvalConfig, parse_pairs
from mole.experiment.evaluate import Done, Job, Tick, read_records, run_jobs
from mole.experiment.families import Family, family_of, world_of
from mole.experiment.suite import Suite
from mole.experiment.worlds import make_world, world_name
from mole.files.atomic import atomic_text
from mole.files.generations import SECONDS, folder_lock
from mole.files.processes import PROCESSES, Failure, Workers
from mole.priors.shipped import control_files
from mole.report.console import LEGEND, LiveRuns, RemainingTime, results_table, runs_csv, summary
from mole.report.html import write_report
from mole.report.tables import rows_of

__all__ = [
    "FailedRuns",
    "check_failures",
    "default_family",
    "duration",
    "need_parquet",
    "prior_files",
    "run_evaluation",
    "run_with_progress",
    "same_defaults",
    "suite_priors",
    "workers_of",
    "world_for",
    "write_page",
    "write_parquet",
    "write_results",
]


class FailedRuns(Failure):
    """Some runs failed. The other runs are complete and their results are written."""

    status = 1


def default_family(words: Sequence[str]) -> Family | None:
    """The family whose defaults a command line gets: that of its ENV, which comes first."""
    return family_of(words[1]) if len(words) > 1 else None


def same_defaults(env: str, family: Family | None) -> None:
    """Raise ValueError if the defaults were taken from another family than that of ``env``.

    The defaults must be known before the options are parsed, so `default_family` looks at the second word alone.
    """
    if family_of(env) is not family:
        raise ValueError(f"got {env} after other options; expected it first, since it decides the defaults.")


def world_for(name: str, parameter: str | None) -> str:
    """The world of a command's ENV and --parameter."""
    return world_name(world_of(name), parameter)


def prior_files(name: str, world: str, prior: Path | None, supervised: Path | None) -> tuple[Path, Path]:
    """The files of the meta-trained and the supervised prior: the given ones, or those of the package."""
    if prior is None:
        # "No prior for this world" would mislead somebody who only misspelled its name.
        make_world(world).close()
        meta, baseline = control_files(name)
        return meta, baseline if supervised is None else supervised
    return prior, prior.with_name("supervised.mole") if supervised is None else supervised


def suite_priors(
    suite: Suite, pairs: Sequence[str], first_order: Path | None
) -> Callable[[str], Mapping[str, Path | None]]:
    """The files of priors of each family, from the pairs FAMILY=PATH or from the package."""
    paths = parse_pairs("--prior", pairs, "terrain=runs/terrain/prior.mole")
    for family in paths:
        if family not in suite.families:
            raise ValueError(f"--prior got the family {family!r}: {did_you_mean(family, suite.families)}")

    def files(family: str) -> Mapping[str, Path | None]:
        if family in paths:
            prior = Path(paths[family])
            supervised = prior.with_name("supervised.mole")
        else:
            prior, supervised = control_files(family)
        return {"prior": prior, "supervised": supervised, "first_order": first_order}

    return files


@contextmanager
def workers_of(ray: Sequence[str] | None) -> Iterator[Workers]:
    """What ``--ray [ADDRESS]`` says: processes of this machine without it, else tasks of a Ray cluster."""
    if ray is None:
        yield PROCESSES
        return
    from mole.distributed.workers import ray_workers

    with ray_workers(one_address(ray)) as where:
        yield where


def run_evaluation(
    config: EvalConfig,
    folder: Path,
    workers: int,
    every_seconds: float = SECONDS,
    where: Workers = PROCESSES,
) -> list[EpisodeRecord]:
    """Run all cells that have no complete record yet, show their progress, and read all records."""
    with folder_lock(folder):
        # Finished cells are not run again, so that a folder must not hold those of another configuration.
        claim_folder(folder, "eval.json", config.described())
        run_with_progress(
            [Job(config, cell, folder) for cell in config.cells()], workers, every_seconds, where
        )
    return read_records(folder, config.cells())


def run_with_progress(
    jobs: Sequence[Job], workers: int, every_seconds: float = SECONDS, where: Workers = PROCESSES
) -> None:
    """Run the jobs that are not complete, with a live table of the running ones and the remaining time.

    See `mole.experiment.evaluate.run_jobs`.
    """
    workers = where.cores or workers
    left = RemainingTime([job for job in jobs if not job.complete], workers)  # finished runs take no time
    live = LiveRuns(max(job.config.steps for job in jobs))

    def remaining() -> str:
        seconds = left.seconds(time.monotonic())
        return "" if seconds is None else f"about {duration(seconds)} left"

    class Shown:
        """The table, and the remaining time at the moment when it is drawn: it goes on between two events."""

        def __rich__(self) -> Group:
            return Group(live, Text(remaining(), style="dim"))

    with Live(Shown(), console=console, refresh_per_second=2, transient=True):

        def tick(tick: Tick) -> None:
            left.tick(tick, time.monotonic())
            live.tick(tick)

        def done(event: Done) -> None:
            cell = event.cell
            left.done(cell, time.monotonic())
            end = remaining() if event.number < event.total else ""
            parts = [cell.family, cell.method, cell.setting or cell.schedule, f"seed {cell.seed}", end]
            style, failed = ("", "") if event.failure is None else ("red", f" failed: {event.failure}")
            text = Text(f"{event.number}/{event.total} ", style="dim")
            text.append(" · ".join(part for part in parts if part) + failed, style=style)
            console.print(text, soft_wrap=True)

        run_jobs(jobs, workers=workers, every_seconds=every_seconds, on_tick=tick, on_done=done, where=where)


def duration(seconds: float) -> str:
    """``2 h 05 min``, ``12 min`` or ``40 s``."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if seconds >= 90 else f"{round(seconds)} s"


def write_results(out: Path, records: Sequence[EpisodeRecord], title: str = "") -> None:
    """Write ``runs.csv`` and ``summary.json``, and print the tables. Nothing is written if no run has a step."""
    rows = rows_of(records)
    if not rows:
        return
    # Files first: whoever reads the output through a pipe may close it before the end.
    atomic_text(out / "runs.csv", runs_csv(rows))
    atomic_text(out / "summary.json", json.dumps(summary(rows), indent=1) + "\n")
    if title:
        console.rule(title, align="left")
    for schedule in dict.fromkeys(row.schedule for row in rows):
        console.print(results_table([row for row in rows if row.schedule == schedule]))
    console.print(LEGEND, style="dim", highlight=False)


def write_page(
    out: Path,
    records: Sequence[EpisodeRecord],
    title: str,
    command: str,
    videos: Mapping[str, Path],
    no_video: str,
) -> None:
    """Write ``report.html``, if any run has a step."""
    if not any(len(record) for record in records):
        return
    page = out / "report.html"
    write_report(page, records, title=title, commands=[command], videos=videos, no_video=no_video)
    console.print(f"report: {page}")


def need_parquet() -> None:
    """Raise ValueError before anything is run, if Parquet files cannot be written."""
    try:
        importlib.import_module("mole.control.parquet")
    except ImportError as error:
        raise ValueError(f"--format parquet: {error}") from error


def write_parquet(folder: Path, cells: Sequence[Cell]) -> None:
    """Write every record also as a Parquet file, unless a file is there that is as new as the record."""
    for cell in cells:
        source, target = (folder / f"{cell.name}.{suffix}" for suffix in ("npz", "parquet"))
        if source.exists() and not (target.exists() and target.stat().st_mtime >= source.stat().st_mtime):
            EpisodeRecord.load(source).save(target)


def check_failures(records: Sequence[EpisodeRecord]) -> None:
    """Raise `FailedRuns` with the reasons, if any run failed. To be called when all results are written."""
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
