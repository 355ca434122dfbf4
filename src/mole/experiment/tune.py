"""Settings of every method, chosen with the same number of trials on schedules and seeds that no test uses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mole.control.records import EpisodeRecord
from mole.control.stages import claim_folder
from mole.experiment.config import EvalConfig
from mole.experiment.evaluate import Done, Job, read_records, run_jobs
from mole.experiment.methods import TABLE
from mole.experiment.metrics import return_per
from mole.files.atomic import atomic_text
from mole.files.generations import folder_lock
from mole.learning.prior import MetaPrior
from mole.priors.file import load_prior

__all__ = ["TRIALS", "VALIDATION_SEEDS", "VALIDATION_STEPS", "Trial", "trials_of", "tune"]

VALIDATION_SEEDS = (1000, 1001)
VALIDATION_STEPS = 1500

TRIALS = {method.name: method.trials for method in TABLE if method.trials}
"""Eight trials for every method that has settings."""


def trials_of(method: str, dimensions: int) -> tuple[dict[str, Any], ...]:
    """The trials of a method for targets ``[dimensions]``.

    Evidence adds up over the entries of a target, so that the margin of a new task grows with their number.
    """
    # The margins were written down for the 18 dimensions of the half-cheetah; 5 + 2 dy is the default of `Mixture`.
    scale = (5 + 2 * dimensions) / (5 + 2 * 18)
    return tuple(
        {name: round(value * scale, 1) if name == "margin" else value for name, value in trial.items()}
        for trial in TRIALS.get(method, ())
    )


class Trial(NamedTuple):
    """What one setting of one method reached.

    Attributes:
        method: its name.
        settings: what was tried.
        returns: return per 1,000 steps of every validation seed; NaN where the run failed.
    """

    method: str
    settings: dict[str, Any]
    returns: tuple[float, ...]


def tune(
    config: EvalConfig,
    folder: Path,
    *,
    workers: int = 2,
    on_done: Callable[[Done], None] | None = None,
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
        ValueError: if a trial's folder holds results of another configuration, or another process is at work there.
    """
    jobs: list[Job] = []
    dimensions = load_prior(config.prior, MetaPrior).target_size
    with folder_lock(folder):
        # All methods through one pool: the last trial of one method leaves no worker idle.
        for method in config.methods:
            for number, settings in enumerate(trials_of(method, dimensions)):
                trial = dataclasses.replace(config, methods=(method,), settings=settings)
                place = folder / f"{method}-{number}"
                claim_folder(place, "eval.json", trial.described())
                jobs += [Job(trial, cell, place) for cell in trial.cells()]
        run_jobs(jobs, workers=workers, on_done=on_done)
    trials = []
    for place in dict.fromkeys(job.folder for job in jobs):
        own = [job for job in jobs if job.folder == place]
        records = read_records(place, [job.cell for job in own])
        returns = tuple(_score(record) for record in records)
        trials.append(Trial(own[0].cell.method, own[0].config.settings or {}, returns))
    order = {method: place for place, method in enumerate(config.methods)}
    trials.sort(key=lambda trial: (order[trial.method], -_mean(trial.returns)))
    scores = [
        {**trial._asdict(), "returns": [r if np.isfinite(r) else None for r in trial.returns]}
        for trial in trials
    ]
    atomic_text(folder / "tune.json", json.dumps(scores, indent=1) + "\n")
    return trials


def _score(record: EpisodeRecord) -> float:
    """Return per 1,000 steps; NaN for a run that failed."""
    return round(return_per(record), 1) if record.meta["complete"] else float("nan")


def _mean(returns: tuple[float, ...]) -> float:
    """A setting with a run that failed comes last."""
    return float(np.mean(returns)) if np.isfinite(returns).all() else -np.inf
