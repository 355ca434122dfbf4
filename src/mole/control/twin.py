"""The supervised twin of a prior, and what both are trained on: all data of a training, read from its files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from mole._types import Trajectory
from mole.control.collect import World, stage_key
from mole.control.progress import TrainingLog
from mole.control.stages import load_stretches, to_trajectories, unit_scale_where_constant
from mole.control.training_config import TrainingConfig
from mole.files.generations import Periodic
from mole.learning.models import MLP
from mole.meta import TrainProgress, supervised_train
from mole.meta.resume import TrainingFile
from mole.priors.file import save_prior

__all__ = ["Twin", "fresh_model", "recorded", "train_twin"]


class Twin(NamedTuple):
    """The training of the twin.

    Attributes:
        world: its `DynamicsSpec` says what inputs and targets are.
        config: amounts.
        folder: of the training, with all data.
        seed: of the training.
        header: of the prior.
        every_seconds: between two checkpoints while it runs.
    """

    world: World
    config: TrainingConfig
    folder: Path
    seed: int
    header: dict[str, Any]
    every_seconds: float

    @property
    def path(self) -> Path:
        """The file of the twin."""
        return self.folder / "supervised.mole"

    @property
    def log(self) -> Path:
        """A log of its own, since others may write theirs at the same time."""
        return self.folder / "log-supervised.jsonl"


def train_twin(job: Twin) -> None:
    """Train the twin, and leave it in ``job.path`` and what is to be logged in ``job.log``."""
    config, log = job.config, TrainingLog(job.log)
    running = TrainingFile(job.path.with_suffix(".part"), Periodic(seconds=job.every_seconds))

    def watch(event: TrainProgress) -> None:
        log.append({}, {"stage": "supervised", "round": 0, **event._asdict()})

    random, *rounds = (recorded(job.world, config, job.folder, number) for number in range(config.rounds + 1))
    groups = [random, [t for one in rounds for t in one]] if rounds else [random]
    prior = supervised_train(
        fresh_model(job.world, config, job.seed),
        groups,
        config=dataclasses.replace(config.meta, iterations=config.twin_iterations),
        key=stage_key(job.seed, "supervised", 0),
        group_weights=config.group_weights(len(groups)),
        callback=watch,
        checkpoint=running,
    )
    save_prior(job.path, unit_scale_where_constant(prior, groups), job.header)
    running.remove()


def recorded(world: World, config: TrainingConfig, folder: Path, number: int) -> list[Trajectory]:
    """The data of a round; random actions are round 0."""
    names = (
        [f"data-{number:02d}-{episode:02d}" for episode in range(config.episodes)]
        if number
        else ["data-random"]
    )
    stretches = [one for name in names for one in load_stretches(folder / f"{name}.npz")]
    run = config.episode_steps if number else config.random_steps
    return to_trajectories(stretches, world.spec, shortest=2 * config.meta.window, run=run)


def fresh_model(world: World, config: TrainingConfig, seed: int) -> MLP:
    """The network that a training, and its twin, start from."""
    sizes = (world.spec.feature_dim, world.spec.delta_dim)
    return MLP(*sizes, width=config.width, depth=config.depth, key=stage_key(seed, "model", 0))
