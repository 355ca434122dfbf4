"""From nothing to a prior: random data, then rounds of control by the adapting agent and meta-training.

    explore (random actions) → meta-train → [ control with the current prior → meta-train ] × rounds → supervised twin

The hidden task is never read, and nothing in the data says when it changed. Each stage writes one file, so that an
interrupted training goes on where it stopped and gives the same result.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mole._types import Key, Trajectory
from mole.atomic import remove_leftovers
from mole.control.agent import Agent
from mole.control.claim import claim_folder
from mole.control.data import (
    load_stretches,
    random_rollout,
    save_stretches,
    to_trajectories,
    unit_scale_where_constant,
)
from mole.control.episode import Stretch, run_episode
from mole.control.episode_file import EpisodeFile
from mole.control.stage_bar import StageBar
from mole.control.training_config import TrainingConfig
from mole.control.training_log import TrainingLog
from mole.generations import SECONDS, Periodic
from mole.lock import folder_lock
from mole.meta import TrainProgress, meta_train, supervised_train
from mole.meta.resume import TrainingFile
from mole.models import MLP
from mole.online import KShot, Mixture
from mole.prior import MetaPrior
from mole.prior_file import load_prior, save_prior

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = ["TrainingConfig", "train_priors"]


def train_priors(
    make_env: Callable[[str], Any],
    spec: DynamicsSpec,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int,
    provenance: dict[str, Any],
    every_seconds: float = SECONDS,
    progress: bool = True,
) -> tuple[MetaPrior, MetaPrior]:
    """Train a meta-learned prior and its supervised twin for one environment.

    Args:
        make_env: makes an environment for the phase "explore" (one hidden task per episode) or "control" (the task
            changes within the episode). Its action space gives the planner's bounds.
        spec: the environment's `DynamicsSpec`.
        config: amounts.
        folder: data, priors of every round, ``log.jsonl``; stages whose file is there already are not done again.
        seed: of everything.
        provenance: goes into the headers of the priors.
        every_seconds: between two checkpoints of a stage that runs; they are removed when it is done.
        progress: show a bar with the remaining time.

    Returns:
        The meta-trained prior (``folder/prior.mole``) and the supervised one (``folder/supervised.mole``).

    Raises:
        ValueError: if the folder holds a training with another configuration or seed, or another process is at work on
            it.
    """
    with folder_lock(folder), StageBar(_Training.planned(config), enabled=progress) as bar:
        claim_folder(
            folder, "training.json", {"seed": seed, "config": dataclasses.asdict(config), **provenance}
        )
        remove_leftovers(folder)
        return _Training(make_env, spec, config, folder, seed, provenance, bar, every_seconds).run()


class _Training:
    def __init__(
        self,
        make_env: Callable[[str], Any],
        spec: DynamicsSpec,
        config: TrainingConfig,
        folder: Path,
        seed: int,
        provenance: dict[str, Any],
        bar: StageBar,
        every_seconds: float,
    ) -> None:
        self.make_env, self.spec, self.config, self.folder = make_env, spec, config, folder
        self.seed, self.provenance, self.bar = seed, provenance, bar
        self.every_seconds, self.started = every_seconds, time.monotonic()
        self.events = TrainingLog(folder / "log.jsonl")

    def run(self) -> tuple[MetaPrior, MetaPrior]:
        random = self.trajectories(self.explore(), self.config.random_steps)
        prior = self.meta_train(0, [random], None)
        control: list[Trajectory] = []
        for number in range(1, self.config.rounds + 1):
            control += self.trajectories(self.control(number, prior), self.config.episode_steps)
            prior = self.meta_train(number, [random, control], prior)
        steps = sum(len(t.x) for t in random + control)
        save_prior(self.folder / "prior.mole", prior, {**self.provenance, "seed": self.seed, "steps": steps})
        supervised = self.supervised([random, control] if control else [random], steps)
        for part in self.folder.glob(
            "*.part*"
        ):  # killed between the end of a stage and the removal of its checkpoint
            part.unlink()
        return prior, supervised

    def trajectories(self, stretches: list[Stretch], run: int) -> list[Trajectory]:
        return to_trajectories(stretches, self.spec, shortest=2 * self.config.meta.window, run=run)

    def key(self, stage: str, number: int) -> Key:
        names = ("model", "meta", "control", "supervised")
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), names.index(stage)), number)

    def explore(self) -> list[Stretch]:
        path, config = self.folder / "data-random.npz", self.config
        if not path.exists():
            self.bar.say("random actions")
            env, stretches = self.make_env("explore"), []
            for number in range(config.random_rollouts):
                rng = np.random.default_rng([self.seed, number])
                stretches += random_rollout(env, config.random_steps, rng)
                self.bar.advance("explore", config.random_steps)
            env.close()
            save_stretches(path, stretches)
        return load_stretches(path)

    def control(self, number: int, prior: MetaPrior) -> list[Stretch]:
        config, stretches = self.config, []
        env = self.make_env("control")
        planner = config.planner(env.action_space.low, env.action_space.high)
        agents = [Agent(Mixture(prior), planner, self.spec), Agent(KShot(prior), planner, self.spec)]
        for episode in range(config.episodes):
            path = self.folder / f"data-{number:02d}-{episode:02d}.npz"
            if not path.exists():
                self.bar.say(
                    f"round {number} of {config.rounds}: control, episode {episode + 1} of {config.episodes}"
                )
                place = number * config.episodes + episode
                noise = config.action_noise[place % len(config.action_noise)]
                result = run_episode(
                    env,
                    agents[episode % 2],
                    steps=config.episode_steps,
                    seed=self.seed * 100_003 + place,
                    key=self.key("control", place),
                    meta=self.meta_of(number, type(agents[episode % 2].learner).__name__),
                    action_noise=noise,
                    checkpoint=(running := EpisodeFile(path.with_suffix(".part"), self.periodic())),
                )
                record = result.record
                self.log(
                    round=number,
                    episode=episode,
                    learner=record.meta["method"],
                    noise=noise,
                    return_per_1000=float(record.reward.mean() * 1000),
                    one_step_error=float(np.nanmean(record.loss)),
                    tasks=int(record.n_tasks[-1]),
                    ms_per_step=float(np.median(record.seconds) * 1e3),
                )
                save_stretches(
                    path, result.stretches
                )  # after its line in the log, which would be lost otherwise
                running.remove()
                self.bar.advance("control", config.episode_steps)
            stretches += load_stretches(path)
        env.close()
        return stretches

    def periodic(self) -> Periodic:
        return Periodic(seconds=self.every_seconds)

    def meta_of(self, number: int, learner: str) -> dict[str, Any]:
        return {
            "env": self.provenance.get("env", ""),
            "method": learner,
            "schedule": f"training round {number}",
            "seed": self.seed,
            "step_seconds": 1.0,
        }

    def meta_train(self, number: int, groups: list[list[Trajectory]], start: MetaPrior | None) -> MetaPrior:
        path, config = self.folder / f"prior-{number:02d}.mole", self.config
        if not path.exists():
            self.bar.say(f"round {number} of {config.rounds}: meta-training")
            model = self.fresh_model() if start is None else start.model
            iterations = config.meta.iterations if start is None else config.round_iterations
            prior = meta_train(
                model,
                groups,
                config=dataclasses.replace(config.meta, iterations=iterations),
                key=self.key("meta", number),
                group_weights=self.weights(groups),
                rate=None if start is None else start.inner_rate,
                callback=self.watch("meta", number),
                checkpoint=(running := TrainingFile(path.with_suffix(".part"), self.periodic())),
            )
            header = {**self.provenance, "seed": self.seed, "round": number}
            save_prior(path, unit_scale_where_constant(prior, groups), header)
            running.remove()
        return load_prior(path)[0]

    def supervised(self, groups: list[list[Trajectory]], steps: int) -> MetaPrior:
        path, config = self.folder / "supervised.mole", self.config
        if not path.exists():
            self.bar.say("supervised twin")
            prior = supervised_train(
                self.fresh_model(),
                groups,
                config=dataclasses.replace(config.meta, iterations=self.supervised_iterations(config)),
                key=self.key("supervised", 0),
                group_weights=self.weights(groups),
                callback=self.watch("supervised", 0),
                checkpoint=(running := TrainingFile(path.with_suffix(".part"), self.periodic())),
            )
            header = {**self.provenance, "seed": self.seed, "steps": steps, "kind": "supervised"}
            save_prior(path, unit_scale_where_constant(prior, groups), header)
            running.remove()
        return load_prior(path)[0]

    @staticmethod
    def planned(config: TrainingConfig) -> dict[str, int]:
        """Steps of every stage."""
        return {
            "explore": config.random_rollouts * config.random_steps,
            "control": config.rounds * config.episodes * config.episode_steps,
            "meta": config.meta.iterations + config.rounds * config.round_iterations,
            "supervised": _Training.supervised_iterations(config),
        }

    @staticmethod
    def supervised_iterations(config: TrainingConfig) -> int:
        """As many as the first meta-training and one round; the held-out loss no longer falls after two thirds."""
        return config.meta.iterations + config.round_iterations

    def fresh_model(self) -> MLP:
        sizes = (self.spec.feature_dim, self.spec.delta_dim)
        return MLP(*sizes, width=self.config.width, depth=self.config.depth, key=self.key("model", 0))

    def weights(self, groups: list[list[Trajectory]]) -> list[float]:
        share = self.config.on_policy_share
        return [1.0] if len(groups) == 1 else [1.0 - share, share]

    def watch(self, stage: str, number: int) -> Callable[[TrainProgress], None]:
        done = 0

        def callback(event: TrainProgress) -> None:
            nonlocal done
            self.bar.advance(stage, event.iteration - done)
            done = event.iteration
            self.log(stage=stage, round=number, **event._asdict())

        return callback

    def log(self, **entry: Any) -> None:
        self.events.append(time.monotonic() - self.started, entry)
