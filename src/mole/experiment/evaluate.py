"""All cells of an evaluation, in parallel processes of one thread each, resumable at any moment."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, NamedTuple

from mole.control.records import EpisodeRecord, Recorder
from mole.control.resume import EpisodeFile
from mole.control.stages import claim_folder
from mole.experiment.cell import actions_file, failed_cell, load_priors, run_cell, whole_meta
from mole.experiment.config import Cell, EvalConfig
from mole.files.atomic import remove_generations
from mole.files.generations import SECONDS, Periodic, folder_lock
from mole.files.processes import PROCESSES, WorkerLost, Workers

__all__ = ["Done", "Job", "Tick", "WorkerLost", "evaluate", "read_records", "run_jobs"]

_TICK_EVERY = 25
"""Steps between two messages of a cell: often enough for a display that is drawn twice a second."""


class Tick(NamedTuple):
    """Progress of one cell.

    Attributes:
        cell: which.
        step: steps done.
        reward: sum of rewards so far.
        error: mean one-step error of the last steps.
        n_tasks: tasks in its mixture.
    """

    cell: Cell
    step: int
    reward: float
    error: float
    n_tasks: int


class Done(NamedTuple):
    """One cell has ended.

    Attributes:
        cell: which.
        number: cells that have ended, those of earlier evaluations included.
        total: cells in all.
        failure: why it failed; None if it is complete.
    """

    cell: Cell
    number: int
    total: int
    failure: str | None


class Job(NamedTuple):
    """One cell of one evaluation, and the folder of its record."""

    config: EvalConfig
    cell: Cell
    folder: Path

    @property
    def path(self) -> Path:
        """The file of its record."""
        return self.folder / f"{self.cell.name}.npz"

    @property
    def checkpoint(self) -> Path:
        """The file that it is kept in while it runs."""
        return self.path.with_suffix(".mole")

    @property
    def complete(self) -> bool:
        """Whether the record is there and whole.

        A damaged one is not: the run is made again, with a `RecoveryWarning`.

        Raises:
            ValueError: if it is, but another configuration made it.
        """
        meta = whole_meta(self.path)
        if meta is None or not meta["complete"]:
            return False
        if self.config.keeps_actions(self.cell) and not actions_file(self.path).exists():
            return False  # killed between the two files
        made, asked = meta.get("configuration"), self.config.described_cell(self.cell)
        if made != asked:
            names = sorted(k for k in asked if not isinstance(made, dict) or made.get(k) != asked[k])
            raise ValueError(
                f"{self.path} was made with another configuration: it differs in {', '.join(names) or 'a name'}. "
                "Choose another folder, or delete this file."
            )
        return True


def evaluate(
    config: EvalConfig,
    folder: Path,
    *,
    workers: int = 2,
    every_seconds: float = SECONDS,
    on_tick: Callable[[Tick], None] | None = None,
    on_done: Callable[[Done], None] | None = None,
    where: Workers = PROCESSES,
) -> list[EpisodeRecord]:
    """Run every cell that has no complete record yet, and return all records.

    A run that fails (a diverged simulation) does not end the evaluation: its record is not complete and says why.

    Args:
        config: the evaluation.
        folder: for the records and ``eval.json``; it belongs to one configuration.
        workers: processes, each pinned to one core.
        every_seconds: between two checkpoints of a running cell.
        on_tick: called with the progress of running cells.
        on_done: called after every cell.
        where: what runs the cells: the records are the same.

    Raises:
        ValueError: if the folder holds results of another configuration, or another process is at work there.
        WorkerLost: if a worker process is killed; finished runs are kept.
    """
    jobs = [Job(config, cell, folder) for cell in config.cells()]
    # Locked first: two processes could otherwise both find the folder unclaimed.
    with folder_lock(folder):
        claim_folder(folder, "eval.json", config.described())
        run_jobs(
            jobs,
            workers=workers,
            every_seconds=every_seconds,
            on_tick=on_tick,
            on_done=on_done,
            where=where,
        )
    return read_records(folder, config.cells())


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int,
    every_seconds: float = SECONDS,
    on_tick: Callable[[Tick], None] | None = None,
    on_done: Callable[[Done], None] | None = None,
    where: Workers = PROCESSES,
) -> None:
    """Run the jobs that are not complete, in order, on ``workers`` processes; see `evaluate`.

    Raises:
        ValueError: if there is no worker, a prior's file is damaged, or a record there was made otherwise.
        WorkerLost: as `evaluate`.
    """
    if workers < 1:
        raise ValueError(f"got workers={workers}; expected at least 1.")
    # All are looked at before anything is run: a record of another configuration ends the evaluation at once.
    missing = []
    for job in jobs:
        if job.complete:
            remove_generations(job.checkpoint)  # it was killed before it could do so itself
        else:
            missing.append(job)
    if not missing:
        return
    for files in {job.config.prior_files for job in missing}:
        load_priors(*files)  # a damaged file is wrong input, not the failure of every run
    # Workers are spawned, not forked: JAX has threads by now, and a fork of a process with threads can hang.
    ticks = where.queue()
    with where.pool(min(workers, len(missing)), _begin, ticks, every_seconds) as pool:
        futures = {pool.submit(_work, job): job.cell for job in missing}
        _watch(futures, ticks, on_tick, on_done, len(jobs))


def _watch(
    futures: Mapping[Future[str | None], Cell],
    ticks: Any,
    on_tick: Callable[[Tick], None] | None,
    on_done: Callable[[Done], None] | None,
    total: int,
) -> None:
    done = total - len(futures)
    open_futures = set(futures)
    while open_futures:
        finished, open_futures = wait(open_futures, timeout=0.2)
        while True:  # whatever has come in since: a display lags behind otherwise
            try:
                tick = ticks.get_nowait()
            except queue.Empty:
                break
            if on_tick is not None:
                on_tick(tick)
        # In the order of the jobs; a lost worker ends the watch only after those that ended.
        ended = [future for future in futures if future in finished]
        for future in sorted(ended, key=lambda one: one.exception() is not None):
            failure = future.result()
            done += 1
            if on_done is not None:
                on_done(Done(futures[future], done, total, failure))


def read_records(folder: Path, cells: Sequence[Cell]) -> list[EpisodeRecord]:
    """The records of ``cells`` that are there."""
    paths = [folder / f"{cell.name}.npz" for cell in cells]
    return [EpisodeRecord.load(path) for path in paths if path.exists()]


# Of a worker process, set by `_begin`: a queue can be handed over only when a process starts, not with a job.
_TICKS: Any = None
_SECONDS = SECONDS


def _begin(ticks: Any, every_seconds: float) -> None:
    global _TICKS, _SECONDS
    _TICKS, _SECONDS = ticks, every_seconds
    ticks.cancel_join_thread()  # or a worker could not end once the parent no longer reads


def _work(job: Job) -> str | None:
    """Run one cell; what stopped it, if it failed."""

    def on_step(recorder: Recorder) -> None:
        steps = len(recorder)
        if steps % _TICK_EVERY == 0:
            # The error of the last steps, not of all: it shows what the learner is worth now.
            reward, error = recorder.last("reward", steps).sum(), recorder.last("loss", 100).mean()
            _TICKS.put(Tick(job.cell, steps, float(reward), float(error), int(recorder.last("n_tasks")[0])))

    # Before the first step, which compiles for many seconds: the run is shown, and its time counts from here.
    _TICKS.put(Tick(job.cell, 0, 0.0, float("nan"), 1))
    try:
        run_cell(*job, on_step, EpisodeFile(job.checkpoint, Periodic(seconds=_SECONDS)))
    except Exception as error:  # any kind: the other runs go on, and the record keeps the reason
        return failed_cell(*job, error)
    return None
