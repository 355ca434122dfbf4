"""Settings of every method, chosen with the same number of trials on schedules and seeds that no test uses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mole.control.claim import claim_folder
from mole.experiment.config import Cell, EvalConfig
from mole.experiment.evaluate import Job, read_records, run_jobs
from mole.experiment.metrics import return_per

__all__ = ["TRIALS", "VALIDATION_SCHEDULE", "VALIDATION_SEEDS", "Trial", "tune"]

VALIDATION_SCHEDULE = "alternate:1/-1/1/1/-1/1,-1/-1/1/-1/1/1,1/1/1/-1/-1/-1:150"
"""Three tasks in turn, 150 steps each: none of them, nor their rhythm, is in a test."""
VALIDATION_SEEDS = (1000, 1001)
VALIDATION_STEPS = 1500

TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
    "mole": (
        {"step_scale": 0.1, "margin": 40.0},
        {"step_scale": 0.05, "margin": 40.0},
        {"step_scale": 0.2, "margin": 40.0},
        {"step_scale": 0.1, "margin": 25.0},
        {"step_scale": 0.1, "margin": 60.0},
        {"step_scale": 0.2, "margin": 60.0},
    ),
    "mole-paper": (
        {"step_scale": 0.1, "temperature": 0.02},
        {"step_scale": 0.03, "temperature": 0.02},
        {"step_scale": 0.3, "temperature": 0.02},
        {"step_scale": 1.0, "temperature": 0.02},
        {"step_scale": 0.1, "temperature": 0.1},
        {"step_scale": 0.1, "temperature": 0.005},
    ),
    "kshot": (
        {"window": 32},
        {"window": 16},
        {"window": 8},
        {"window": 24},
        {"window": 32, "steps": 2, "step_scale": 0.5},
        {"window": 16, "steps": 2, "step_scale": 0.5},
    ),
    "continuous": (
        {"step_scale": 0.1},
        {"step_scale": 0.03},
        {"step_scale": 0.3},
        {"step_scale": 1.0},
        {"step_scale": 0.1, "window": 32},
        {"step_scale": 0.3, "window": 32},
    ),
    "supervised-sgd": tuple({"step_scale": scale} for scale in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
    "oracle": tuple({"step_scale": scale} for scale in (0.1, 0.03, 0.05, 0.2, 0.3, 0.5)),
}
"""Six trials for every method that has settings."""


class Trial(NamedTuple):
    """What one setting of one method reached.

    Attributes:
        method: its name.
        settings: what was tried.
        returns: return per 1,000 steps of every validation seed.
    """

    method: str
    settings: dict[str, Any]
    returns: tuple[float, ...]


def tune(
    config: EvalConfig,
    folder: Path,
    *,
    workers: int = 2,
    on_done: Callable[[Cell, int, int], None] | None = None,
) -> list[Trial]:
    """Run all trials of the methods of ``config`` that have settings; resumable.

    Args:
        config: gives environment, priors, planner, methods, schedules, seeds and steps.
        folder: one folder per trial, and ``tune.json`` with the scores.
        workers: processes.
        on_done: called after every run.

    Returns:
        All trials, the best of each method first.

    Raises:
        ValueError: if a trial's folder holds results of another configuration.
    """
    jobs: list[Job] = []
    for method in config.methods:
        for number, settings in enumerate(TRIALS.get(method, ())):
            trial = dataclasses.replace(config, methods=(method,), settings=settings)
            place = folder / f"{method}-{number}"
            claim_folder(place, "eval.json", trial.described())
            jobs += [Job(trial, cell, place) for cell in trial.cells()]
    run_jobs(jobs, workers=workers, on_done=on_done)
    trials = []
    for place in dict.fromkeys(job.folder for job in jobs):
        own = [job for job in jobs if job.folder == place]
        records = read_records(place, [job.cell for job in own])
        returns = tuple(round(return_per(record), 1) for record in records)
        trials.append(Trial(own[0].cell.method, own[0].config.settings or {}, returns))
    order = {method: place for place, method in enumerate(config.methods)}
    trials.sort(key=lambda trial: (order[trial.method], -float(np.mean(trial.returns))))
    (folder / "tune.json").write_text(json.dumps([trial._asdict() for trial in trials], indent=1) + "\n")
    return trials
