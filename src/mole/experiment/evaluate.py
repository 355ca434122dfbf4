"""All cells of an evaluation, in parallel processes of one thread each, resumable at any moment."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from mole.control.claim import claim_folder
from mole.control.episode import EpisodeError
from mole.control.records import EpisodeRecord, Recorder
from mole.experiment.config import Cell, EvalConfig

__all__ = ["Job", "Tick", "evaluate", "read_records", "run_jobs"]

_TICK_EVERY = 25


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
    def complete(self) -> bool:
        """Whether the record is there and whole."""
        return self.path.exists() and bool(EpisodeRecord.load(self.path).meta["complete"])


def evaluate(
    config: EvalConfig,
    folder: Path,
    *,
    workers: int = 2,
    on_tick: Callable[[Tick], None] | None = None,
    on_done: Callable[[Cell, int, int], None] | None = None,
) -> list[EpisodeRecord]:
    """Run every cell that has no complete record yet, and return all records.

    Args:
        config: the evaluation.
        folder: for the records and ``eval.json``; it belongs to one configuration.
        workers: processes, each pinned to one core.
        on_tick: called with the progress of running cells.
        on_done: called with (cell, cells done, cells in all).

    Raises:
        ValueError: if the folder holds results of another configuration.
        mole.control.episode.EpisodeError: if a run fails; the records of the others are kept.
    """
    claim_folder(folder, "eval.json", config.described())
    jobs = [Job(config, cell, folder) for cell in config.cells()]
    run_jobs(jobs, workers=workers, on_tick=on_tick, on_done=on_done)
    return read_records(folder, config.cells())


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int,
    on_tick: Callable[[Tick], None] | None = None,
    on_done: Callable[[Cell, int, int], None] | None = None,
) -> None:
    """Run the jobs that are not complete, in order, on ``workers`` processes; see `evaluate`."""
    if workers < 1:
        raise ValueError(f"got workers={workers}; expected at least 1.")
    missing = [job for job in jobs if not job.complete]
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        ticks, cores = manager.Queue(), manager.Queue()
        for core in range(workers):
            cores.put(core)
        with ProcessPoolExecutor(
            min(workers, len(missing)), mp_context=context, initializer=_pin, initargs=(cores, ticks)
        ) as pool:
            futures = {pool.submit(_work, job): job.cell for job in missing}
            try:
                _watch(futures, ticks, on_tick, on_done, len(jobs))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _watch(
    futures: Mapping[Future[None], Cell],
    ticks: Any,
    on_tick: Callable[[Tick], None] | None,
    on_done: Callable[[Cell, int, int], None] | None,
    total: int,
) -> None:
    done = total - len(futures)
    open_futures = set(futures)
    while open_futures:
        finished, open_futures = wait(open_futures, timeout=0.2)
        while True:
            try:
                tick = ticks.get_nowait()
            except queue.Empty:
                break
            if on_tick is not None:
                on_tick(tick)
        # Those that succeeded are counted first: the failure of one ends the watch.
        for future in sorted(finished, key=lambda one: one.exception() is not None):
            future.result()
            done += 1
            if on_done is not None:
                on_done(futures[future], done, total)


def read_records(folder: Path, cells: Sequence[Cell]) -> list[EpisodeRecord]:
    """The records of ``cells`` that are there."""
    paths = [folder / f"{cell.name}.npz" for cell in cells]
    return [EpisodeRecord.load(path) for path in paths if path.exists()]


_TICKS: Any = None
_PARENT = os.getppid()


def _pin(cores: Any, ticks: Any) -> None:
    """One core for this worker: two XLA thread pools on the same cores slow each other down."""
    global _TICKS
    _TICKS = ticks
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if available:
        os.sched_setaffinity(0, {available[cores.get() % len(available)]})


def _work(job: Job) -> None:
    from mole.experiment.cell import run_cell

    def on_step(recorder: Recorder) -> None:
        if len(recorder) % _TICK_EVERY == 0:
            if os.getppid() != _PARENT:
                os._exit(
                    1
                )  # the evaluation was killed: nobody waits for this run, or would stop this process
            _TICKS.put(_tick(job.cell, recorder))

    try:
        run_cell(*job, on_step)
    except EpisodeError as error:
        # Exceptions reach the parent through their args, which must therefore be those of the constructor.
        error.args = (f"{job.cell.name}: {error}", error.episode)
        raise


def _tick(cell: Cell, recorder: Recorder) -> Tick:
    steps = len(recorder)
    reward, error = recorder.last("reward", steps).sum(), recorder.last("loss", 100).mean()
    return Tick(cell, steps, float(reward), float(error), int(recorder.last("n_tasks")[0]))
