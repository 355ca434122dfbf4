"""The parts of a training that any process can do: an episode of control, and the supervised baseline.

A job names files: it reads a prior, or all data, and leaves one file behind. So a job that is done is never done again,
whoever did it, and the result does not depend on how many processes there are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from pickle import PicklingError
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._float32 import in_float32
from mole._types import Motion, Trajectory
from mole.control.agent import Agent
from mole.control.config import TrainingConfig
from mole.control.episode import run_episode
from mole.control.resume import EpisodeFile
from mole.control.stages import TrainingLog, load_segments, save_segments
from mole.datasets.transitions import to_motions, to_trajectories
from mole.files.atomic import atomic_file
from mole.files.generations import Periodic
from mole.learning.models import MLP
from mole.learning.prior import MetaPrior
from mole.meta import TrainProgress, supervised_train
from mole.meta.resume import TrainingFile
from mole.online import KShot, Mixture
from mole.priors.file import load_prior, save_prior

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = [
    "Baseline",
    "Collect",
    "World",
    "collect",
    "finished",
    "fresh_model",
    "logged",
    "recorded",
    "stage_key",
    "train_baseline",
]

_STAGES = ("model", "meta", "control", "supervised")  # the place of a stage is part of its key


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

    def check_portable(self) -> None:
        """Raise ValueError unless another process can be given it."""
        try:
            ForkingPickler.dumps(self)
        except (AttributeError, TypeError, PicklingError) as error:
            raise ValueError(
                f"train_priors got make_env or spec that no other process can read ({error}); expected functions and "
                "classes of modules, no lambda and nothing defined within a function. Move them there, or use "
                "workers=0."
            ) from error


def logged(event: TrainProgress) -> dict[str, Any]:
    """What a log says of an evaluation: nothing of what was not measured."""
    return {name: value for name, value in event._asdict().items() if value is not None}


def stage_key(seed: int, stage: str, number: int) -> jax.Array:
    """The random key of a part of a training."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STAGES.index(stage)), number)


def fresh_model(world: World, config: TrainingConfig, seed: int) -> MLP:
    """The network that a training, and its supervised baseline, start from."""
    sizes = (world.spec.feature_dim, world.spec.delta_dim)
    # The same key for both, so that they differ in the training alone.
    return MLP(*sizes, width=config.width, depth=config.depth, key=stage_key(seed, "model", 0))


@in_float32
def recorded(
    world: World, config: TrainingConfig, folder: Path, number: int
) -> list[Trajectory] | list[Motion]:
    """The data of a round from its files, with the transitions if a model is rolled along them; random is round 0."""
    names = (
        [f"data-{number:02d}-{episode:02d}" for episode in range(config.episodes)]
        if number
        else ["data-random"]
    )
    segments = [one for name in names for one in load_segments(folder / f"{name}.npz")]
    # Episodes that end early give segments shorter than a window, which are joined within their run.
    run = config.episode_steps if number else config.random_steps
    made = to_motions if config.rolls else to_trajectories
    return made(segments, world.spec, shortest=2 * config.meta.window, run=run)


def finished(prior: MetaPrior, config: TrainingConfig, groups: Sequence[Sequence[Any]]) -> MetaPrior:
    """The prior as it is saved: it knows the planner, and targets that never varied have a residual scale of 1.

    Such targets, the end of an episode in a world without one, tell no task from another. At their tiny measured
    residual, the first noise in their prediction would.
    """
    targets = np.concatenate([np.asarray(t.y) for group in groups for t in group])
    scale = jnp.where(jnp.asarray(np.ptp(targets, axis=0) == 0), 1.0, prior.residual_scale)
    return eqx.tree_at(lambda p: p.residual_scale, prior, scale).planned(config.planning)


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


@in_float32
def collect(job: Collect) -> None:
    """Make an episode; leave what is to be logged of it in ``job.figures``, and its transitions in ``job.path``."""
    config = job.config
    prior = load_prior(job.folder / f"prior-{job.round - 1:02d}.mole", MetaPrior)
    # Both kinds of adaptation leave their mistakes in the data, in turn.
    learner = KShot(prior) if job.episode % 2 else Mixture(prior)
    place = job.round * config.episodes + job.episode
    # Without noise in some episodes, so that the prior also knows where its own plans lead.
    noise = config.action_noise[place % len(config.action_noise)]
    method, precision = type(learner).__name__, config.planner_config.precision
    running = EpisodeFile(job.path.with_suffix(".part"), Periodic(seconds=job.every_seconds))
    env = job.world.make_env("control")
    try:
        record, segments = run_episode(
            env,
            Agent(learner, config.planner(env.action_space), job.world.spec, precision),
            steps=config.episode_steps,
            # A prime, far above the number of episodes: trainings with other seeds share none of them.
            seed=job.seed * 100_003 + place,
            key=stage_key(job.seed, "control", place),
            # In full: the header decides whether a running episode goes on, and must not depend on the environment.
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
        # The loss of a pair that was refused is NaN.
        "one_step_error": float(np.nanmean(record.loss)),
        "tasks": int(record.n_tasks[-1]),
        "ms_per_step": float(np.median(record.seconds) * 1e3),
    }
    if "dropped" in record.meta:
        figures["dropped"] = record.meta["dropped"]
    # The transitions last: their file is what says that the job is done.
    with atomic_file(job.figures) as file:
        file.write((json.dumps(figures) + "\n").encode())
    save_segments(job.path, segments)
    running.remove()


class Baseline(NamedTuple):
    """The training of the supervised baseline: the same network on the same data, without an inner step.

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
        """The file of the supervised prior."""
        return self.folder / "supervised.mole"

    @property
    def log(self) -> Path:
        """A log of its own, since others may write theirs at the same time."""
        return self.folder / "log-supervised.jsonl"


@in_float32
def train_baseline(job: Baseline) -> None:
    """Train the baseline, and leave it in ``job.path`` and what is to be logged in ``job.log``."""
    config, log = job.config, TrainingLog(job.log)
    running = TrainingFile(job.path.with_suffix(".part"), Periodic(seconds=job.every_seconds))

    def watch(event: TrainProgress) -> None:
        log.append({}, {"stage": "supervised", "round": 0, **logged(event)})

    # From the files, also in this process: a worker that does this job has nothing else.
    random, *rounds = (recorded(job.world, config, job.folder, number) for number in range(config.rounds + 1))
    groups: list[Any] = [random, [t for one in rounds for t in one]] if rounds else [random]
    prior = supervised_train(
        fresh_model(job.world, config, job.seed),
        groups,
        # Without roll-outs: they are those of an adapted model.
        config=dataclasses.replace(config.meta, iterations=config.supervised_iterations, rollout=0),
        key=stage_key(job.seed, "supervised", 0),
        group_weights=config.group_weights(len(groups)),
        callback=watch,
        checkpoint=running,
    )
    save_prior(job.path, finished(prior, config, groups), job.header)
    running.remove()
