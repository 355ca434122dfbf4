"""``mole train``: a prior and its supervised baseline, from nothing."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import tyro

from mole.commands.common import console
from mole.commands.runs import same_defaults, workers_of, world_for
from mole.control.check import check_env
from mole.control.training import TrainingConfig, train_priors
from mole.experiment.families import Family
from mole.experiment.worlds import limit_of, training_world, world_spec
from mole.files.generations import SECONDS
from mole.files.processes import available_cores
from mole.meta.devices import expect_there

__all__ = ["train_command", "train_with"]

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
        episode_limit: str | None = None,
        seed: int = 0,
        out: Path | None = None,
        workers: int | None = None,
        ray: tuple[str, ...] | None = None,
        every_seconds: float = SECONDS,
        devices: int | None = None,
        check: bool = False,
        config: Annotated[TrainingConfig, tyro.conf.arg(name="")] = default,
    ) -> None:
        """Train a prior and its supervised baseline from nothing; go on where an interrupted training stopped.

        Args:
            env: Gymnasium id, or a family (`mole envs` lists both); first, since it decides the defaults.
            tasks: distribution of hidden tasks; the environment's first if not given.
            parameter: a parameter of any Gymnasium environment that is to change: gravity, mass, friction, …
            switch_every: steps between changes of the hidden task while the agent controls.
            episode_limit: steps after which an episode is truncated and reset, or none; the environment's if not given.
            seed: seed of everything.
            out: folder for data and priors; runs/train-<seed> if not given.
            workers: processes that gather data, one core each; as many as there are cores if not given. The result does
                not depend on how many. 0 does everything in one process.
            ray: gather the data on a Ray cluster instead, at HOST:PORT, or without an address on this machine. OUT must
                be on storage that its machines share.
            every_seconds: seconds between two checkpoints of a stage, from which it goes on if it is stopped.
            devices: devices of JAX that share the windows of a batch in meta-training. A processor counts as one,
                unless JAX_NUM_CPU_DEVICES says otherwise. Results agree up to rounding.
            check: only take a few hundred steps in the environment, and print what an agent could not learn in it.
            config: amounts of data and training.
        """
        same_defaults(env, family)
        if devices is not None:
            config = dataclasses.replace(config, meta=dataclasses.replace(config.meta, devices=devices))
            expect_there(devices)  # now, and not after the data are made
        world = world_for(env, parameter)
        folder = Path(f"runs/train-{seed}") if out is None else out
        limit = limit_of(world, episode_limit, folder / "training.json")
        kept = "none" if limit is None else limit
        # Made and closed at once, so that tasks which the world does not have are refused before a folder is made.
        with closing(training_world(world, "explore", tasks, switch_every, kept)) as made:
            if check:
                report = check_env(made, spec=world_spec(world))
                console.print(str(report), markup=False, highlight=False, soft_wrap=True)
                report.raise_errors()
                return
        command = train_command(
            env,
            seed,
            config,
            default,
            tasks=(tasks, usual_tasks),
            parameter=(parameter, None),
            switch_every=(switch_every, usual_switch),
            episode_limit=(episode_limit, None),
        )
        count = min(available_cores(), config.episodes) if workers is None else workers
        with workers_of(ray) as where:
            train_priors(
                functools.partial(
                    training_world, world, tasks=tasks, switch_every=switch_every, episode_limit=kept
                ),
                world_spec(world),
                config,
                folder=folder,
                seed=seed,
                provenance={"env": world, "command": command}
                | ({} if limit is None else {"episode_limit": limit}),
                workers=where.cores or count,
                every_seconds=every_seconds,
                where=where,
            )
        given = env if parameter is None else f"{env} --parameter {parameter}"
        console.print(f"priors: {folder / 'prior.mole'} and {folder / 'supervised.mole'}")
        console.print(f"try them: mole eval {given} --prior {folder / 'prior.mole'}")

    return train


def train_command(
    env: str,
    seed: int,
    config: TrainingConfig,
    default: TrainingConfig,
    **options: tuple[Any, Any],
) -> str:
    """The command that repeats a training, with the options that differ from their defaults.

    A folder is claimed by it: if its order or its form changed, trainings that were stopped could not go on.

    Args:
        env: as given.
        seed: as given.
        config: amounts.
        default: amounts if none are given.
        options: (value, default) of every other option.
    """
    pairs = {name.replace("_", "-"): pair for name, pair in options.items()}
    usual = _options(default)
    pairs |= {name: (value, usual[name]) for name, value in _options(config).items()}
    extra = [_written(name, value) for name, (value, usual) in pairs.items() if value != usual]
    return " ".join(["mole train", env, *extra, f"--seed {seed}"])


def _written(name: str, value: Any) -> str:
    if isinstance(value, bool):
        # tyro's way: --no-video, and --meta.no-first-order for a nested option.
        head, _, tail = name.rpartition(".")
        return f"--{name}" if value else f"--{head}.no-{tail}" if head else f"--no-{tail}"
    return f"--{name} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"


def _options(config: Any, prefix: str = "") -> dict[str, Any]:
    options: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        name, value = prefix + field.name.replace("_", "-"), getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            options |= _options(value, f"{name}.")
        else:
            options[name] = value
    return options
