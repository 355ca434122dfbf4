"""One step of an environment, taken in the same way by an agent's episode, the gathering of data and every check.

Whatever comes out of an environment is copied, since it may use one array for all its observations. Numbers that
nothing can learn from (NaN, infinity, beyond float32) raise `NotFiniteError`, so that a caller can end the episode and
go on. Whatever goes into it lies within the bounds of its action space in that space's own type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "DroppedWarning",
    "Losses",
    "NotFiniteError",
    "Step",
    "as_action",
    "as_obs",
    "as_reward",
    "five_of",
    "name_of",
    "reset",
    "take",
    "two_of",
]

_LARGEST = float(np.finfo(np.float32).max)
_LEAST_LOST = 10  # episodes, before most of them can be said to fail


class NotFiniteError(FloatingPointError):
    """A number out of an environment that is NaN, infinite or beyond float32, or a simulation that failed."""


class DroppedWarning(UserWarning):
    """Transitions were dropped, because their numbers were not finite."""


class Step(NamedTuple):
    """What an environment gave for one action.

    Attributes:
        obs: ``[obs]``, a copy, float32 or float64.
        reward: finite.
        terminated: whether the episode ended.
        truncated: whether it was cut there.
        info: as the environment gave it.
    """

    obs: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    info: Any


def reset(env: Any, seed: int | None = None) -> np.ndarray:
    """Begin an episode: its first observation ``[obs]``, a copy, float32 or float64.

    Raises:
        NotFiniteError: if it is not finite.
        TypeError: if the environment does not have Gymnasium's interface.
    """
    return as_obs(env, two_of(env, env.reset(seed=seed))[0], "observation at reset")


def take(env: Any, action: np.ndarray) -> Step:
    """One step with an action ``[act]``.

    Raises:
        NotFiniteError: if observation or reward are not finite, or the environment raises FloatingPointError, as a
            simulation does that became unstable.
        TypeError: if the environment does not have Gymnasium's interface.
    """
    try:
        result = env.step(as_action(env.action_space, action))
    except FloatingPointError as error:
        raise NotFiniteError(str(error)) from error
    obs, reward, terminated, truncated, info = five_of(env, result)
    # Checked before anything learns from it: a single NaN would spoil a learner and every later plan.
    obs, reward = as_obs(env, obs), as_reward(env, reward)
    if not np.isfinite(reward):
        raise NotFiniteError(f"the environment gave the reward {reward}; expected a finite number.")
    return Step(obs, reward, bool(terminated), bool(truncated), info)


def five_of(env: Any, result: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The five values of a step. Raises TypeError for anything else."""
    if isinstance(result, tuple) and len(result) == 5:
        return result
    name = name_of(env)
    if isinstance(result, tuple) and len(result) == 4:
        raise TypeError(
            f"{name}.step() gave four values (obs, reward, done, info), which is the API before Gym 0.26; expected "
            "five: (obs, reward, terminated, truncated, info). Split done into the two, or wrap the environment with "
            "shimmy.GymV21CompatibilityV0(env=env)."
        )
    raise TypeError(
        f"{name}.step() gave {_shown(result)}; expected a tuple of five: (obs, reward, terminated, truncated, info)."
    )


def two_of(env: Any, result: Any) -> tuple[Any, Any]:
    """The two values of a reset. Raises TypeError for anything else."""
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
        return result
    raise TypeError(
        f"{name_of(env)}.reset() gave {_shown(result)}; expected (obs, info) with a dict of information. "
        "Return both, or wrap an old environment with shimmy.GymV21CompatibilityV0(env=env)."
    )


def as_reward(env: Any, reward: Any) -> float:
    """A reward as a float: a number, or an array or list that holds one. Raises TypeError for anything else."""
    values = np.asarray(reward)
    if values.size != 1 or values.dtype.kind not in "fiub":
        raise TypeError(
            f"{name_of(env)}.step() gave the reward {_shown(reward)}; expected one number. Return a float."
        )
    return float(values.reshape(()))


def as_obs(env: Any, obs: Any, what: str = "observation") -> np.ndarray:
    """A copy of an observation, in float32 if it has that type or a smaller one, else in float64.

    Raises:
        NotFiniteError: if an entry is NaN, infinite or beyond float32.
        TypeError: if it is no array of numbers.
    """
    values = np.asarray(obs)
    if values.dtype.kind not in "fiub":
        raise TypeError(
            f"{name_of(env)} gave the {what} {_shown(obs)}; expected an array of numbers. Flatten dicts and tuples: "
            "mole.envs.agent_env(env)."
        )
    expected = getattr(getattr(env, "observation_space", None), "shape", None)
    if expected is not None and values.shape != expected:
        raise TypeError(f"{name_of(env)} gave an {what} of shape {values.shape}; its space says {expected}.")
    # NaN is not <=, so it is found too.
    if not (np.abs(values) <= _LARGEST).all():
        bad = np.flatnonzero(~(np.abs(values) <= _LARGEST)).tolist()
        finite = np.isfinite(np.asarray(values, np.float64)).all()
        wrong = "beyond the largest float32 number" if finite else "not finite"
        raise NotFiniteError(f"the environment gave an {what} that is {wrong} in entries {bad}.")
    return np.array(values, np.float32 if values.dtype in (np.float32, np.float16) else np.float64)


def as_action(space: Any, action: Any) -> Any:
    """A copy of an action within the bounds of its space, in the space's own type.

    A float64 bound of 0.1 is below the float32 number that is nearest to it, and an environment may insist on it.
    """
    low, high = np.asarray(space.low), np.asarray(space.high)
    dtype = low.dtype if low.dtype.kind == "f" else np.float32
    return np.clip(np.asarray(action, dtype), low, high)


class Losses:
    """Counts the episodes that ended in numbers which are not finite, and gives up if they are most of all.

    Attributes:
        begun: episodes that began.
        dropped: transitions that were dropped, each the end of an episode.
    """

    def __init__(self) -> None:
        """Nothing counted."""
        self.begun = self.dropped = 0

    def reset(self, env: Any, seed: int | None = None) -> np.ndarray:
        """`reset`, again for as long as the observation is not finite."""
        while True:
            self.begun += 1
            try:
                return reset(env, seed)
            except NotFiniteError as error:
                # A second start from the same seed would be the same.
                seed = None
                self.add(error)

    def add(self, error: NotFiniteError) -> None:
        """Count a transition that was dropped.

        Raises:
            FloatingPointError: if most episodes ended so.
        """
        self.dropped += 1
        if self.dropped >= _LEAST_LOST and 2 * self.dropped > self.begun:
            raise FloatingPointError(
                f"{self.dropped} of {self.begun} episodes ended in numbers that are not finite, the last one because: "
                f"{error} Expected that most do not. Take smaller time steps or bounded actions, or end the episode "
                "before its state runs away."
            )

    @property
    def text(self) -> str:
        """What was dropped, for a report; empty if nothing was."""
        if not self.dropped:
            return ""
        ended = f"{self.dropped} of {self.begun} episodes ended in numbers that are not finite"
        return f"{ended}: those transitions were dropped"


def name_of(env: Any) -> str:
    """An environment's id, or its class if it has none."""
    made = getattr(getattr(env, "unwrapped", env), "spec", None)
    return type(getattr(env, "unwrapped", env)).__name__ if made is None else str(made.id)


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"
