"""``mole tune``: the same number of trials for every method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from mole.commands.common import console, prior_files, same_defaults, world_for
from mole.experiment.config import EvalConfig, PlannerConfig
from mole.experiment.families import Family
from mole.experiment.methods import METHODS
from mole.experiment.tune import VALIDATION_SEEDS, VALIDATION_STEPS, tune

__all__ = ["tune_with"]


def tune_with(family: Family | None) -> Callable[..., None]:
    """The command with the defaults of a family."""
    default = PlannerConfig() if family is None else family.planner
    validation = () if family is None else family.validation

    def tune_methods(
        env: Annotated[str, tyro.conf.Positional],
        methods: tuple[str, ...] = METHODS,
        schedule: tuple[str, ...] = validation,
        steps: int = VALIDATION_STEPS,
        parameter: str | None = None,
        prior: Path | None = None,
        supervised: Path | None = None,
        out: Path = Path("runs/tune"),
        workers: int = 2,
        planner: PlannerConfig = default,
    ) -> None:
        """Choose the settings of every method with the same number of trials, on a validation schedule.

        Args:
            env: Gymnasium id, or a family; first, since it decides the defaults.
            methods: which methods.
            schedule: validation schedules; none that is used in a test.
            steps: steps of a trial's run.
            parameter: a parameter of any Gymnasium environment that follows the schedule.
            prior: meta-trained prior; the shipped one if not given.
            supervised: its supervised twin.
            out: folder for the trials.
            workers: processes, one core each.
            planner: the planner that all methods share.
        """
        same_defaults(env, family)
        if not schedule:
            raise ValueError(f"{env} has no validation schedule; give one that no test uses: --schedule.")
        world = world_for(env, parameter)
        meta, twin = prior_files(env, world, prior, supervised)
        config = EvalConfig(world, meta, twin, methods, schedule, VALIDATION_SEEDS, steps, planner=planner)
        with console.status("tuning") as status:
            trials = tune(
                config,
                out,
                workers=workers,
                on_done=lambda event: status.update(f"{event.number}/{event.total} runs"),
            )
        table = Table("method", "settings", "return / 1000 steps")
        for trial in trials:
            settings = ", ".join(f"{k}={v}" for k, v in trial.settings.items())
            table.add_row(trial.method, settings, "  ".join(f"{value:.0f}" for value in trial.returns))
        console.print(table)

    return tune_methods
