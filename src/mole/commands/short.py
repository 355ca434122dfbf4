"""The short commands that need a simulator: ``mole demo``, ``mole tune`` and ``mole envs``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from mole.commands.common import console
from mole.commands.runs import (
    FailedRuns,
    check_failures,
    prior_files,
    run_evaluation,
    same_defaults,
    world_for,
    write_page,
    write_results,
)
from mole.experiment.config import EvalConfig, PlannerConfig
from mole.experiment.evaluate import Done
from mole.experiment.families import FAMILIES, Family
from mole.experiment.methods import METHODS
from mole.experiment.tune import VALIDATION_SEEDS, VALIDATION_STEPS, tune
from mole.experiment.worlds import describe_environments, limit_of
from mole.priors.shipped import control_files
from mole.report.footage import demo_video

__all__ = ["demo", "envs", "tune_with"]

_SHOWN = FAMILIES["motors-upright"]


def demo(
    steps: int = 1000,
    seed: int = 0,
    out: Path = Path("runs/demo"),
    workers: int = 2,
    video: bool = True,
) -> None:
    """Motors change sign every 100 steps: mole beside its baselines, with a report at the end.

    Args:
        steps: steps of each run, 0.05 s each.
        seed: of environment and planner.
        out: folder for records and report.html.
        workers: number of processes, one core each.
        video: whether the report has a video (needs EGL).
    """
    prior, supervised = control_files(_SHOWN.name)
    config = EvalConfig(
        _SHOWN.env,
        prior,
        supervised,
        methods=("mole", "kshot", "continuous", "supervised"),
        seeds=(seed,),
        steps=steps,
        planner=_SHOWN.planner,
        keep_actions=True,
    )
    console.print("A half-cheetah whose six motors change sign every 100 steps (A ↔ B), and nobody tells it.")
    records = run_evaluation(config, out, workers)
    # Everything that there is to show is written before a failed run ends the command.
    write_results(out, records)
    failed = not all(record.meta["complete"] for record in records)
    if failed:
        videos, reason = {}, "a run failed"
    else:
        videos, reason = demo_video(records, out) if video else ({}, "not asked for (--no-video)")
    if reason:
        console.print(f"no video: {reason}")
    command = f"mole demo --steps {steps} --seed {seed}"
    write_page(out, records, "A half-cheetah whose motors keep failing", command, videos, reason)
    check_failures(records)


def tune_with(family: Family | None) -> Callable[..., None]:
    """The command ``mole tune`` with the defaults of a family."""
    default = PlannerConfig() if family is None else family.planner
    validation = () if family is None else family.validation

    def tune_methods(
        env: Annotated[str, tyro.conf.Positional],
        methods: tuple[str, ...] = METHODS,
        schedule: tuple[str, ...] = validation,
        steps: int = VALIDATION_STEPS,
        parameter: str | None = None,
        episode_limit: str | None = None,
        prior: Path | None = None,
        supervised: Path | None = None,
        out: Path = Path("runs/tune"),
        workers: int = 2,
        planner: PlannerConfig = default,
    ) -> None:
        """Choose the settings of every method with the same number of trials, on a validation schedule.

        Args:
            env: Gymnasium id or family. It comes first, because it decides the defaults.
            methods: which methods.
            schedule: validation schedules; do not use the schedules of a test.
            steps: steps of each run.
            parameter: a parameter of any Gymnasium environment that follows the schedule.
            episode_limit: steps after which an episode is truncated and reset, or none; the environment's if not given.
            prior: file of the meta-trained prior; the prior of the package if not given.
            supervised: file of the supervised prior; supervised.mole beside the meta-trained prior if not given.
            out: folder for the trials.
            workers: number of processes, one core each.
            planner: the planner that all methods share.
        """
        same_defaults(env, family)
        if not schedule:
            raise ValueError(f"{env} has no validation schedule; give one that no test uses: --schedule.")
        world = world_for(env, parameter)
        meta, baseline = prior_files(env, world, prior, supervised)
        begun = next(iter(sorted(out.rglob("eval.json"))), None) if out.exists() else None
        config = EvalConfig(
            world,
            meta,
            baseline,
            methods,
            schedule,
            VALIDATION_SEEDS,
            steps,
            planner=planner,
            episode_limit=limit_of(world, episode_limit, begun),
        )
        failures, total = [], 0
        with console.status("tuning") as status:

            def on_done(event: Done) -> None:
                nonlocal total
                total = event.total
                status.update(f"{event.number}/{event.total} runs")
                # A run that failed counts as nan in its trial: the others go on, and the failure is told at the end.
                if event.failure is not None:
                    cell = event.cell
                    failures.append(f"{cell.method} · {cell.schedule} · seed {cell.seed}: {event.failure}")

            trials = tune(config, out, workers=workers, on_done=on_done)
        table = Table("method", "settings", "return / 1000 steps")
        for trial in trials:
            settings = ", ".join(f"{k}={v}" for k, v in trial.settings.items())
            table.add_row(trial.method, settings, "  ".join(f"{value:.0f}" for value in trial.returns))
        console.print(table)
        if failures:
            raise FailedRuns(
                f"{len(failures)} of {total} runs failed (nan in the table); run it again to try them again.\n"
                + "\n".join(failures)
            )

    return tune_methods


def envs() -> None:
    """List the environments of this package, the names that their schedules may use, and the families of tests."""
    for name, text in describe_environments().items():
        console.print(f"[bold]{name}[/bold]\n{text}\n")
    for family in FAMILIES.values():
        console.print(f"family [bold]{family.name}[/bold]: {family.title} ({family.env})")
