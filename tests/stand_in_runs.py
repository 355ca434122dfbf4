"""Records without a simulator in the place of runs, for tests of what is done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mole.control.records import EpisodeRecord
from mole.experiment.cell import actions_file
from mole.experiment.config import Cell, EvalConfig
from mole.experiment.evaluate import Done, Job


def stand_in_record(
    config: EvalConfig, cell: Cell, steps: int = 60, error: str | None = None
) -> EpisodeRecord:
    """A record of random rewards and errors, complete unless it has an ``error``."""
    rng, zeros = np.random.default_rng(cell.seed), np.zeros(steps, int)
    return EpisodeRecord(
        reward=rng.normal(size=steps),
        loss=rng.uniform(size=steps),
        responsibilities=np.ones((steps, 1)),
        task=zeros,
        n_tasks=zeros + 1,
        spawned=zeros > 0,
        at_capacity=zeros > 0,
        rejected=zeros > 0,
        true_task=np.arange(steps) // 20 % 2,
        position=np.zeros(steps),
        upright=np.ones(steps),
        seconds=np.full(steps, 0.01),
        meta={
            "env": config.env,
            **dataclasses.asdict(cell),
            "step_seconds": 0.05,
            "complete": error is None,
            "error": error,
            "configuration": config.described_cell(cell),
            "versions": {},
            "machine": "none",
            "prior": config.prior.name,
        },
    )


def stand_in_jobs(seen: list[Job], fail: Callable[[Cell], bool] = lambda cell: False) -> Callable[..., None]:
    """What stands in for `run_jobs`: every missing job gets its record at once, and is noted in ``seen``."""

    def run(
        jobs: Sequence[Job],
        *,
        workers: int,
        every_seconds: float = 60.0,
        on_tick: Any = None,
        on_done: Callable[[Done], None],
        where: Any = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"got workers={workers}; expected at least 1.")
        for number, job in enumerate(jobs, start=1):
            if job.complete:
                continue
            seen.append(job)
            error = "FloatingPointError: [too] fast" if fail(job.cell) else None
            stand_in_record(job.config, job.cell, error=error).save(job.path)
            if job.config.keeps_actions(job.cell):
                actions_file(job.path).touch()
            on_done(Done(job.cell, number, len(jobs), error))

    return run
