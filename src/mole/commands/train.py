"""``mole train``: a prior and its supervised twin, from nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from mole.commands.common import console
from mole.commands.runs import same_defaults, world_for
from mole.control.training import TrainingConfig, train_priors
from mole.experiment.config import train_command
from mole.experiment.families import Family
from mole.experiment.worlds import training_world, world_spec
from mole.files.generations import SECONDS
from mole.files.processes import available_cores

__all__ = ["train_with"]

_SWITCH_EVERY = 200


def train_with(family: Family | None) -> Callable[..., None]:
    """The command with the defaults of a family."""
    default = TrainingConfig() if family is None else family.training
    usual_tasks = None if family is None else family.tasks
    usual_switch = _SWITCH_EVERY if family is None else family.switch_every

    def train(
        env: Annotated[str, tyro.conf.Positional],
        tasks: str | None = usual_tasks,
        parameter: str | None = None,
        switch_every: int = usual_switch,
        seed: int = 0,
        out: Path | None = None,
        workers: int | None = None,
        every_seconds: float = SECONDS,
        config: Annotated[TrainingConfig, tyro.conf.arg(name="")] = default,
    ) -> None:
        """Train a prior and its supervised twin from nothing; go on where an interrupted training stopped.

        Args:
            env: Gymnasium id, or a family (`mole envs` lists both); first, since it decides the defaults.
            tasks: distribution of hidden tasks; the environment's first if not given.
            parameter: a parameter of any Gymnasium environment that is to change: gravity, mass, friction, …
            switch_every: steps between untold changes of the task while the agent controls.
            seed: of everything.
            out: folder for data and priors; runs/train-<seed> if not given.
            workers: processes that gather data, one core each; as many as there are cores if not given. The result does
                not depend on how many. 0 does everything in one process.
            every_seconds: between two checkpoints of a stage, from which it goes on if it is stopped.
            config: amounts of data and training.
        """
        same_defaults(env, family)
        world = world_for(env, parameter)
        folder = Path(f"runs/train-{seed}") if out is None else out
        training_world(world, "explore", tasks, switch_every).close()
        command = train_command(
            env,
            seed,
            config,
            default,
            tasks=(tasks, usual_tasks),
            parameter=(parameter, None),
            switch_every=(switch_every, usual_switch),
        )
        train_priors(
            functools.partial(training_world, world, tasks=tasks, switch_every=switch_every),
            world_spec(world),
            config,
            folder=folder,
            seed=seed,
            provenance={"env": world, "command": command},
            workers=min(available_cores(), config.episodes) if workers is None else workers,
            every_seconds=every_seconds,
        )
        given = env if parameter is None else f"{env} --parameter {parameter}"
        console.print(f"priors: {folder / 'prior.mole'} and {folder / 'supervised.mole'}")
        console.print(f"try them: mole eval {given} --prior {folder / 'prior.mole'}")

    return train
