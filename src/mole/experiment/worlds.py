"""Environments by name, for training and for evaluation; and what the evaluator knows of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.error import Error as GymnasiumError

from mole.envs.suggest import did_you_mean

__all__ = ["KnownTask", "describe_environments", "environments", "make_world", "training_world"]


def environments() -> list[str]:
    """Ids of the environments of this package."""
    return sorted(name for name in gymnasium.registry if name.startswith("mole/"))


def describe_environments() -> dict[str, str]:
    """Id → first line of its documentation, training distributions and the words of its schedules."""
    texts = {}
    for name in environments():
        entry: Any = load_env_creator(str(gymnasium.spec(name).entry_point))
        words = sys.modules[entry.__module__].SCHEDULES
        texts[name] = (
            f"  {(entry.__doc__ or '').strip().splitlines()[0]}\n"
            f"  schedules: {', '.join([*words.values, *(f'{s}:STEPS' for s in words.samplers)])}, "
            "fixed:VALUE, alternate:VALUE,VALUE[,…]:STEPS"
        )
    return texts


def make_world(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    """Make an environment that is never truncated.

    Raises:
        ValueError: for an unknown id, with the nearest known one, or settings that it does not take.
    """
    if env_id not in gymnasium.registry:
        raise ValueError(f"unknown environment {env_id!r}: {did_you_mean(env_id, environments())}")
    try:
        return gymnasium.make(env_id, disable_env_checker=True, episode_steps=None, **settings)
    except (TypeError, GymnasiumError) as error:
        raise ValueError(f"{env_id} cannot be made with {settings}: {error}") from error


def training_world(env_id: str, phase: str, tasks: str, switch_every: int) -> gymnasium.Env[Any, Any]:
    """The environment of a phase of training.

    Args:
        env_id: one of `environments`.
        phase: "explore" (one hidden task per episode) or "control" (it changes within the episode, untold).
        tasks: the training distribution of hidden tasks.
        switch_every: steps between changes in the control phase.
    """
    if phase == "explore":
        return make_world(env_id, tasks=tasks)
    samplers = {"signs": "random", "magnitudes": "random-magnitudes", "few-signs": "random-few-signs"}
    if tasks not in samplers:
        raise ValueError(f"got tasks={tasks!r}; {did_you_mean(tasks, samplers)}")
    return make_world(env_id, schedule=f"{samplers[tasks]}:{switch_every}")


class KnownTask:
    """What an evaluator knows of an environment of this package (`mole.control.episode.Truth`)."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Look behind the wrappers."""
        self._env: Any = env.unwrapped

    def governing(self, info: Mapping[str, Any]) -> int:
        """The task of the transition that gave ``info``; -1 if the environment does not say."""
        return int(info.get("task", -1))

    def upcoming(self) -> int:
        """The task of the next transition."""
        return int(self._env.upcoming_task())
