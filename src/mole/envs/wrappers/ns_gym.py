"""Environments made with NS-Gym (`ns-gym` on PyPI), for agents that expect plain observations and rewards.

NS-Gym's wrappers put the state into a dictionary with notes about what changed. The agents of this package are not told
what changed, so the notes are removed. NS-Gym itself is not imported here.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium import error, spaces

from mole._expect import expect_choice, expect_type
from mole.datasets.steps import as_reward, five_of, two_of
from mole.envs.schedules.schedule import TaskNumbers

__all__ = ["PlainNSGym"]


class PlainNSGym(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The bare state as the observation and a plain number as the reward, of an environment made with NS-Gym.

    `info`, for an evaluator's eyes only: ``task``, the number of the parameters' values in the transition, by first
    appearance in the episode, -1 throughout if they drift; and ``parameters``, the values.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, drifts: bool = False):
        """Unwraps `env`.

        Args:
            env: an environment with an NS-Gym wrapper, inside or outside of other wrappers that leave its
                observations alone.
            drifts: its parameters move continuously (a random walk, a trend), so that they make no tasks.

        Raises:
            TypeError: if `env` is no environment.
            ValueError: if there is no NS-Gym wrapper, or its observations have been changed.
        """
        expect_type("PlainNSGym", "env", env, gymnasium.Env, "gymnasium.make gives one.")
        expect_choice("PlainNSGym", "drifts", drifts, (True, False))
        super().__init__(env)
        if not env.has_wrapper_attr("tunable_params"):
            raise ValueError(
                f"got {type(env).__name__} around {type(env.unwrapped).__name__}, which has no `tunable_params`; "
                "expected an environment with a wrapper of ns_gym.wrappers. For a plain environment use switching()."
            )
        space = env.observation_space
        if not isinstance(space, spaces.Dict) or "state" not in space.spaces:
            raise ValueError(
                f"got observations in {space}; expected NS-Gym's dictionary with a 'state'. "
                "Put wrappers that change observations around PlainNSGym, not inside of it."
            )
        self.observation_space = space["state"]
        self._drifts = drifts
        self._numbers = TaskNumbers(drifts)
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Begins an episode."""
        obs, info = two_of(self.env, self.env.reset(seed=seed, options=options))
        self._numbers = TaskNumbers(self._drifts)
        self._running = True
        values = self._upcoming()
        return obs["state"], {**info, "task": self._number(values), "parameters": values}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step."""
        obs, reward, terminated, truncated, info = five_of(self.env, self.env.step(action))
        # NS-Gym's own reward object has an attribute `reward`, unless it was made with scalar_reward=True.
        number = as_reward(self.env, getattr(reward, "reward", reward))
        # NS-Gym changes the parameters at the beginning of a step: these values governed the transition.
        values = {name: self._value(name) for name in self._updates()}
        info = {**info, "task": self._number(values), "parameters": values}
        return obs["state"], number, terminated, truncated, info

    def upcoming_task(self) -> int:
        """Number of the task that will govern the next transition; -1 for none. For an evaluator only.

        It asks copies of NS-Gym's update functions; a value that NS-Gym will refuse as unphysical is not foreseen.
        """
        if not self._running:
            raise error.ResetNeeded("the episode has not begun; call reset() first.")
        return self._number(self._upcoming())

    def _updates(self) -> dict[str, Any]:
        return self.env.get_wrapper_attr("tunable_params")

    def _value(self, name: str) -> Any:
        # NS-Gym's MuJoCo wrapper knows where its parameters are; those of classic control are attributes.
        if self.env.has_wrapper_attr("_get_param_value"):
            return deepcopy(self.env.get_wrapper_attr("_get_param_value")(name))
        return deepcopy(getattr(self.env.unwrapped, name))

    def _upcoming(self) -> dict[str, Any]:
        now, values = self.env.get_wrapper_attr("t"), {}
        for name, update in self._updates().items():
            value = self._value(name)
            if name == "gravity" and np.ndim(value):  # a vector, of which NS-Gym moves the last entry
                value[-1] = deepcopy(update)(value[-1], now)[0]
            else:
                value = deepcopy(update)(value, now)[0]
            values[name] = value
        return values

    def _number(self, values: dict[str, Any]) -> int:
        return self._numbers.number(np.concatenate([np.ravel(value) for value in values.values()]))
