"""Families of broken worlds: an environment with its tests, its training and its planner, by one name.

`mole train terrain` and `mole eval terrain` mean the same as with the environment's id; where two families share an
environment, the id means the first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mole._expect import did_you_mean
from mole.control.config import TrainingConfig
from mole.planning.config import PlannerConfig
from mole.priors.shipped import CONTROL

__all__ = ["FAMILIES", "Family", "family_named", "family_of", "has_tasks", "world_of"]


@dataclasses.dataclass(frozen=True)
class Family:
    """What belongs to one kind of broken world.

    Attributes:
        name: in commands, folders and records, and of the priors that ship with the package.
        title: for tables and the report.
        tasks: distribution of hidden tasks in training; the environment's first if None.
        switch_every: steps between hidden changes while the agent controls, in training.
        training: amounts of data and training.
        planner: the planner of all methods.
        tuned: tuned settings by method, where they are not `mole.experiment.methods.TUNED`.
        chosen: names of its test settings; all of the environment's if None.
        returning: names of settings in which tasks return: the first is the one for quick looks and ablations.
        validation: schedules that settings are tuned on; no test uses them.
        steps: steps of a test run.
    """

    name: str
    title: str
    returning: tuple[str, ...]
    validation: tuple[str, ...]
    tasks: str | None = None
    switch_every: int = 200
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    planner: PlannerConfig = dataclasses.field(default_factory=PlannerConfig)
    tuned: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    chosen: tuple[str, ...] | None = None
    steps: int = 2000

    @property
    def env(self) -> str:
        """Gymnasium id."""
        return CONTROL[self.name].env

    @property
    def settings(self) -> dict[str, str]:
        """Test settings: name → schedule.

        Raises:
            ValueError: if a chosen one is not a setting of the environment.
        """
        # Here, since it needs a simulator, and the names and titles of families do not: a report is made without one.
        from mole.experiment.worlds import world_settings

        known = world_settings(self.env)
        for name in self.chosen or ():
            if name not in known:
                raise ValueError(
                    f"the family {self.name!r} has the setting {name!r}: {did_you_mean(name, known)}"
                )
        return {name: known[name] for name in self.chosen or known}


# Three sign vectors, neither A nor B of the tests among them.
_MOTORS_VALIDATION = ("alternate:1/-1/1/1/-1/1,-1/-1/1/-1/1/1,1/1/1/-1/-1/-1:150",)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="motors",
            title="Half-cheetah, failing motors",
            returning=("alternate",),
            validation=_MOTORS_VALIDATION,
        ),
        Family(
            name="motors-few",
            title="Half-cheetah, trained on at most one reversed motor",
            tasks="few-signs",
            chosen=("negative",),  # all six reversed: as far from this training as signs can be
            returning=(),
            validation=_MOTORS_VALIDATION,
        ),
        Family(
            name="motors-upright",
            title="Half-cheetah, failing motors, on its feet",
            returning=("alternate",),
            validation=_MOTORS_VALIDATION,
            chosen=("alternate",),
            # Longer plans, and data from where the robot should be: docs/training.md.
            planner=PlannerConfig(samples=100, iterations=4),
            training=TrainingConfig(
                rounds=8,
                episodes=20,
                episode_steps=400,
                horizon=20,
                samples=100,
                iterations=4,
                precision="auto",
                round_iterations=2500,
                last_iterations=4000,
                last_learning_rate=1e-3,
                last_rollout=8,
                shaping=("posture=3",),
                meta=dataclasses.replace(
                    TrainingConfig().meta, iterations=3000, learning_rate=4e-3, rate_speed=10.0
                ),
            ),
            steps=1000,
        ),
        Family(
            name="terrain",
            title="Half-cheetah, hills and valleys",
            returning=("course",),
            validation=("alternate:0.12,-0.15,0.05:45",),
            # In the first trial on slopes a wider search helped more than data from slopes did.
            planner=PlannerConfig(init_std=0.4),
            training=TrainingConfig(init_std=0.4),
            chosen=("basin", "hill", "gentle", "steep", "course"),
            # Chosen by one-step error: the return has two peaks, one for each gait that a run may find, so that one
            # lucky run would decide.
            tuned={
                "mole": {"step_scale": 0.1, "margin": 25.0},
                "mole-paper": {"step_scale": 0.3, "temperature": 0.02},
                "kshot": {"window": 16, "steps": 2, "step_scale": 0.5},
                "continuous": {"step_scale": 0.3},
                "supervised-sgd": {"step_scale": 0.3},
                "oracle": {"step_scale": 0.1},
            },
        ),
        Family(
            name="crawler",
            title="Six-legged crawler, failing legs",
            returning=("returning",),
            validation=("alternate:healthy,down-3,invert-4,down-1:110",),
            planner=PlannerConfig(horizon=12, init_std=0.35, noise_correlation=0.6),
            training=TrainingConfig(horizon=12, samples=100, init_std=0.35, noise_correlation=0.6),
            # Chosen by return, as those of the motors are (docs/results.md).
            tuned={
                # The trial with a margin of 20, for 36 dimensions instead of 18.
                "mole": {"step_scale": 0.1, "margin": 37.6},
                "mole-paper": {"step_scale": 0.03, "temperature": 0.02},
                "kshot": {"window": 8},
                "continuous": {"step_scale": 0.3},
                "supervised-sgd": {"step_scale": 0.1},
                "oracle": {"step_scale": 0.03},
            },
        ),
    )
}
"""All families by name."""


def family_named(name: str) -> Family:
    """The family of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in FAMILIES:
        raise ValueError(f"unknown family {name!r}: {did_you_mean(name, FAMILIES)}")
    return FAMILIES[name]


def family_of(name: str) -> Family | None:
    """The family that a command's argument means: by its name, or by its environment's id; None for another world."""
    return FAMILIES.get(name) or next((family for family in FAMILIES.values() if family.env == name), None)


def world_of(name: str) -> str:
    """The world that a command's argument means: a family's environment, or the world of that name itself."""
    family = family_of(name)
    return name if family is None else family.env


def has_tasks(world: str, schedule: str) -> bool:
    """Whether the world has a discrete task under this schedule, so that an oracle can be told which.

    Raises:
        ValueError: for a schedule that the world does not take.
    """
    from mole.experiment.worlds import KnownTask, make_world  # it needs a simulator, see `Family.settings`

    env = make_world(world, schedule=schedule)
    try:
        env.reset(seed=0)
        return KnownTask(env).upcoming() >= 0
    finally:
        env.close()
