"""Amounts of a training: data, meta-training, and the planner that gathers data."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args

from mole.learning.prior import Planning
from mole.meta import MetaConfig
from mole.meta.resume import later
from mole.planning.base import Planner
from mole.planning.config import HORIZON, PlannerConfig, planner_for

__all__ = ["Precision", "TrainingConfig", "fast_bfloat16", "parse_shaping", "resolved_precision"]

Precision = Literal["auto", "float32", "bfloat16"]
# As Linux names the instructions that multiply bfloat16 matrices.
_FLAGS = {"avx512_bf16", "amx_bf16"}
_CPUINFO = Path("/proc/cpuinfo")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Amounts of data and training.

    The planner's amounts are fields of their own instead of one `PlannerConfig`, since that is how the options of
    ``mole train`` and the files of folders have named them from the beginning; `planner_config` collects them.
    """

    # 254,000 steps of data in all. For the half-cheetah the whole training takes 18 to 23 minutes on one core
    # (docs/training.md has quicker amounts).
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
    horizon: int = HORIZON
    """Steps of a plan."""
    samples: int = 64
    """Candidate plans in each iteration of the planner."""
    iterations: int = PlannerConfig.iterations
    """Iterations of the planner (CEM)."""
    init_std: float = PlannerConfig.init_std
    """Its standard deviation at the start, as a fraction of the action range."""
    noise_correlation: float = PlannerConfig.noise_correlation
    """Correlation of the noise of neighbouring steps of a plan."""
    precision: Precision = "float32"
    """Type of the model's weights in planning; auto is bfloat16 where the processor multiplies it faster."""
    round_iterations: int = 3500
    """Meta-gradient steps after each round (``meta.iterations`` are made on the random data)."""
    last_iterations: int | None = None
    """Meta-gradient steps after the last round, which gives the result; ``round_iterations`` if None."""
    last_learning_rate: float | None = None
    """Adam's rate at the start of the last meta-training, which gives the result; ``meta.learning_rate``, that of all
    others, if None."""
    last_rollout: int | None = later(None)
    """Steps of the roll-outs in the last meta-training (`mole.meta.rollout`); ``meta.rollout`` if None."""
    shaping: tuple[str, ...] = later(())
    """NAME=WEIGHT of the terms of the planner's reward (`mole.envs.DynamicsSpec`) while it gathers data."""
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
        iterations, rate = self.last_iterations, self.last_learning_rate
        if (iterations is not None and iterations < 1) or (rate is not None and rate <= 0):
            raise ValueError(
                f"TrainingConfig got last_iterations={iterations}, last_learning_rate={rate}; expected at least 1 and "
                "a positive number, or None."
            )
        self.shaping_weights  # noqa: B018  raises for a text of another form
        if self.last_rollout is not None:
            dataclasses.replace(self.meta, rollout=self.last_rollout)  # raises if it is longer than a window
        # Found out here rather than hours later, when the first data is cut into windows.
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
        self._check_held_out()
        # What the planner refuses should be known now, not after the first meta-training.
        self.planner(SimpleNamespace(low=[-1.0], high=[1.0]))

    def _check_held_out(self) -> None:
        """Of a single trajectory the end is held out: it must be long enough for a window, and so must the rest."""
        window, share = 2 * self.meta.window, self.meta.held_out
        amounts = [("random_rollouts", self.random_rollouts, self.random_steps)]
        amounts += [("episodes", self.episodes, self.episode_steps)] if self.rounds else []
        for name, trajectories, steps in amounts:
            held = max(1, round(share * steps))
            if trajectories == 1 and min(held, steps - held) < window:
                raise ValueError(
                    f"TrainingConfig got {name}=1 of {steps} steps and meta.held_out={share}: {held} steps are held "
                    f"out and {steps - held} trained on; expected at least 2k = {window} of both. Use {name}=2 or "
                    "more, of which one is held out as a whole, more steps, or another share."
                )

    def meta_of(self, number: int) -> MetaConfig:
        """Meta-training after a round; 0 is the one on random data."""
        # The first prior is trained from nothing and the last is the result: both may be worth more than the others.
        iterations, rate, rollout = self.round_iterations, self.meta.learning_rate, self.meta.rollout
        if number == 0:
            iterations = self.meta.iterations
        elif number == self.rounds and self.last_iterations is not None:
            iterations = self.last_iterations
        if number == self.rounds > 0 and self.last_learning_rate is not None:
            rate = self.last_learning_rate
        if number == self.rounds and self.last_rollout is not None:
            rollout = self.last_rollout
        return dataclasses.replace(self.meta, iterations=iterations, learning_rate=rate, rollout=rollout)

    @property
    def rolls(self) -> bool:
        """Whether a meta-training has roll-outs, for which the transitions are kept beside the pairs."""
        return bool(self.meta.rollout or self.last_rollout)

    @property
    def shaping_weights(self) -> dict[str, float]:
        """Weight of each term of ``shaping``."""
        return parse_shaping(self.shaping)

    @property
    def planning(self) -> Planning:
        """What the priors of this training remember of the planner."""
        return Planning(self.horizon, tuple((k, w) for k, w in self.shaping_weights.items() if w))

    @property
    def planned(self) -> dict[str, int]:
        """Steps of every stage."""
        return {
            "explore": self.random_rollouts * self.random_steps,
            "control": self.rounds * self.episodes * self.episode_steps,
            "meta": sum(self.meta_of(number).iterations for number in range(self.rounds + 1)),
            "supervised": self.supervised_iterations,
        }

    @property
    def supervised_iterations(self) -> int:
        """Gradient steps of the supervised baseline; its held-out loss no longer falls after two thirds of them."""
        return self.meta.iterations + self.round_iterations

    def group_weights(self, groups: int) -> list[float]:
        """Share of windows from random data and, if there are two groups, from control."""
        return [1.0] if groups == 1 else [1.0 - self.on_policy_share, self.on_policy_share]

    @property
    def planner_config(self) -> PlannerConfig:
        """The amounts of the planner that gathers data."""
        return PlannerConfig(
            horizon=self.horizon,
            samples=self.samples,
            iterations=self.iterations,
            init_std=self.init_std,
            noise_correlation=self.noise_correlation,
            precision=resolved_precision(self.precision),
        )

    def planner(self, space: Any) -> Planner:
        """The planner that gathers data, within the bounds of an action space ``[act]``."""
        return planner_for(self.planner_config, space)


def parse_shaping(texts: Sequence[str]) -> dict[str, float]:
    """Weights of a planner's shaping from NAME=WEIGHT texts.

    Raises:
        ValueError: for a text of another form, or a name given twice.
    """
    weights: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if not name or not math.isfinite(weight):
            raise ValueError(f"--shaping got {text!r}; expected NAME=WEIGHT, for example posture=3.")
        if name in weights:
            raise ValueError(f"--shaping got {name!r} twice; expected each name once.")
        weights[name] = weight
    return weights


@functools.cache
def fast_bfloat16() -> bool:
    """Whether this machine's processor has instructions for such products, as far as it says so (Linux, x86)."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except FileNotFoundError:  # another system
        return False
    return any(not _FLAGS.isdisjoint(line.split()) for line in lines if line.startswith("flags"))


def resolved_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """What "auto" means on this machine; the others mean themselves.

    Raises:
        ValueError: for another word.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"got precision={precision!r}; expected one of {', '.join(get_args(Precision))}.")
    if precision == "auto":
        return "bfloat16" if fast_bfloat16() else "float32"
    return precision
