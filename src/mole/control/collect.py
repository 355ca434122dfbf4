"""One episode of a training round, and the supervised twin, as jobs that any process can do.

A job names files: it reads a prior, or all data, and leaves one file behind. So a job that is done is never done again,
whoever did it, and the result does not depend on how many processes there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from mole.control.agent import Agent
from mole.control.episode import run_episode
from mole.control.resume import EpisodeFile
from mole.control.stages import save_stretches
from mole.control.training_config import TrainingConfig, chosen
from mole.files.atomic import atomic_file
from mole.files.generations import Periodic
from mole.online import KShot, Mixture
from mole.priors.file import load_prior

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = ["Collect", "World", "collect", "stage_key"]

_STAGES = ("model", "meta", "control", "supervised")


class World(NamedTuple):
    """What a training learns to control.

    Attributes:
        make_env: makes an environment for the phase "explore" or "control".
        spec: its `DynamicsSpec`.
        name: in the headers of records.
    """

    make_env: Callable[[str], Any]
    spec: DynamicsSpec
    name: str


class Collect(NamedTuple):
    """One episode of control by an adapting agent.

    Attributes:
        world: where.
        config: amounts.
        folder: of the training.
        seed: of the training.
        round: its number, from 1; the prior of the round before is used.
        episode: its number within the round, from 0.
        every_seconds: between two checkpoints while it runs.
    """

    world: World
    config: TrainingConfig
    folder: Path
    seed: int
    round: int
    episode: int
    every_seconds: float

    @property
    def path(self) -> Path:
        """The file of its transitions."""
        return self.folder / f"data-{self.round:02d}-{self.episode:02d}.npz"

    @property
    def figures(self) -> Path:
        """The file of what is to be logged; it is there before that of the transitions."""
        return self.path.with_suffix(".json")


def stage_key(seed: int, stage: str, number: int) -> jax.Array:
    """The random key of a part of a training."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STAGES.index(stage)), number)


def collect(job: Collect) -> None:
    """Make an episode; leave what is to be logged of it in ``job.figures``, and its transitions in ``job.path``."""
    config = job.config
    prior, _ = load_prior(job.folder / f"prior-{job.round - 1:02d}.mole")
    # Both kinds of adaptation leave their mistakes in the data, in turn.
    learner = KShot(prior) if job.episode % 2 else Mixture(prior)
    env = job.world.make_env("control")
    planner = config.planner(env.action_space.low, env.action_space.high)
    place = job.round * config.episodes + job.episode
    noise = config.action_noise[place % len(config.action_noise)]
    method, precision = type(learner).__name__, chosen(config.precision)
    running = EpisodeFile(job.path.with_suffix(".part"), Periodic(seconds=job.every_seconds))
    try:
        record, stretches = run_episode(
            env,
            Agent(learner, planner, job.world.spec, precision),
            steps=config.episode_steps,
            seed=job.seed * 100_003 + place,
            key=stage_key(job.seed, "control", place),
            meta={
                "env": job.world.name,
                "method": method,
                "schedule": f"training round {job.round}",
                "seed": job.seed,
                "step_seconds": 1.0,
            },
            action_noise=noise,
            checkpoint=running,
        )
    finally:
        env.close()
    figures = {
        "round": job.round,
        "episode": job.episode,
        "learner": method,
        "noise": noise,
        "precision": precision,
        "return_per_1000": float(record.reward.mean() * 1000),
        "one_step_error": float(np.nanmean(record.loss)),
        "tasks": int(record.n_tasks[-1]),
        "ms_per_step": float(np.median(record.seconds) * 1e3),
    }
    with atomic_file(job.figures) as file:
        file.write((json.dumps(figures) + "\n").encode())
    save_stretches(job.path, stretches)
    running.remove()
