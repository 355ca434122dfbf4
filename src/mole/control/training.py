"""From nothing to a prior: random data, then rounds of control by the adapting agent and meta-training.

    explore (random actions) → meta-train → [ control with the current prior → meta-train ] × rounds → supervised twin

The hidden task is never read, and nothing in the data says when it changed. Each stage writes one file, so that an
interrupted training goes on where it stopped and gives the same result.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mole._types import Key, Trajectory
from mole.control.agent import Agent
from mole.control.claim import claim_folder
from mole.control.data import load_stretches, random_rollout, save_stretches, to_trajectories
from mole.control.episode import Stretch, run_episode
from mole.control.stage_bar import StageBar
from mole.meta import MetaConfig, TrainProgress, meta_train, supervised_train
from mole.models import MLP
from mole.online import KShot, Mixture
from mole.planning import CEM
from mole.prior import MetaPrior
from mole.prior_file import load_prior, save_prior

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = ["TrainingConfig", "train_priors"]


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Amounts of data and training."""

    random_rollouts: int = 600
    """Rollouts with random actions."""
    random_steps: int = 250
    """Steps of each."""
    rounds: int = 10
    """Rounds of control by the adapting agent, each followed by meta-training."""
    episodes: int = 13
    """Episodes of control in one round."""
    episode_steps: int = 800
    """Steps of each."""
    action_noise: tuple[float, ...] = (0.0, 0.1, 0.2)
    """Exploration noise of successive episodes, as a fraction of half the action range."""
    on_policy_share: float = 0.7
    """Share of training windows drawn from control, once there is any."""
    width: int = 256
    """Units per hidden layer."""
    depth: int = 2
    """Hidden layers."""
    horizon: int = 10
    """Steps of a plan."""
    samples: int = 64
    """Candidate plans in each iteration of the planner."""
    iterations: int = 3
    """Iterations of the planner (CEM)."""
    round_iterations: int = 3500
    """Meta-gradient steps after each round (``meta.iterations`` are made on the random data)."""
    meta: MetaConfig = dataclasses.field(default_factory=MetaConfig)
    """Meta-training."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("random_rollouts", "random_steps", "episodes", "episode_steps", "round_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainingConfig got {name}={getattr(self, name)}; expected at least 1.")
        if self.rounds < 0 or not 0.0 < self.on_policy_share < 1.0:
            raise ValueError(
                f"TrainingConfig got rounds={self.rounds}, on_policy_share={self.on_policy_share}; expected "
                "rounds >= 0 and a share between 0 and 1."
            )
        if min(self.random_steps, self.episode_steps) < 2 * self.meta.window:
            raise ValueError(
                f"TrainingConfig got rollouts of {min(self.random_steps, self.episode_steps)} steps; expected at least "
                f"2k = {2 * self.meta.window}, one window of time."
            )
        if self.meta.window < 4:
            raise ValueError(
                f"TrainingConfig got meta.window={self.meta.window}; expected at least 4, since the agent that gathers "
                "data judges a new task on 8 pairs (2k)."
            )
        # What the planner refuses should be known now, not after the first meta-training.
        CEM([-1.0], [1.0], horizon=self.horizon, samples=self.samples, iterations=self.iterations)


def train_priors(
    make_env: Callable[[str], Any],
    spec: DynamicsSpec,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int,
    provenance: dict[str, Any],
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
        progress: show a bar with the remaining time.

    Returns:
        The meta-trained prior (``folder/prior.mole``) and the supervised one (``folder/supervised.mole``).

    Raises:
        ValueError: if the folder holds a training with another configuration or seed.
    """
    claim_folder(folder, "training.json", {"seed": seed, "config": dataclasses.asdict(config), **provenance})
    with StageBar(_Training.planned(config), enabled=progress) as bar:
        return _Training(make_env, spec, config, folder, seed, provenance, bar).run()


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
    ) -> None:
        self.make_env, self.spec, self.config, self.folder = make_env, spec, config, folder
        self.seed, self.provenance, self.bar = seed, provenance, bar
        self.started = time.monotonic()

    def run(self) -> tuple[MetaPrior, MetaPrior]:
        random = to_trajectories(self.explore(), self.spec)
        prior = self.meta_train(0, [random], None)
        control: list[Trajectory] = []
        for number in range(1, self.config.rounds + 1):
            control += to_trajectories(self.control(number, prior), self.spec)
            prior = self.meta_train(number, [random, control], prior)
        steps = sum(len(t.x) for t in random + control)
        save_prior(self.folder / "prior.mole", prior, {**self.provenance, "seed": self.seed, "steps": steps})
        return prior, self.supervised([random, control] if control else [random], steps)

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
        bounds = (env.action_space.low, env.action_space.high)
        planner = CEM(*bounds, horizon=config.horizon, samples=config.samples, iterations=config.iterations)
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
                )
                save_stretches(path, result.stretches)
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
                self.bar.advance("control", config.episode_steps)
            stretches += load_stretches(path)
        env.close()
        return stretches

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
            )
            save_prior(path, prior, {**self.provenance, "seed": self.seed, "round": number})
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
            )
            save_prior(
                path, prior, {**self.provenance, "seed": self.seed, "steps": steps, "kind": "supervised"}
            )
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
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(
                json.dumps({"wall_seconds": round(time.monotonic() - self.started, 1), **entry}) + "\n"
            )
