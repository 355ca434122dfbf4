"""Parameters that act on the actions and observations on their way: the gain of commands, and delays."""

from __future__ import annotations

import math
from collections import deque
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from mole.envs.schedules.schedule import Value
from mole.envs.wrappers.knobs import Knob, one_number

__all__ = ["MOST_DELAY", "ActionDelay", "CommandGain", "ObservationDelay", "factors"]

MOST_DELAY = 100
"""Steps: the longest delay, so that the memory for what was sent has a bound."""


class CommandGain(Knob):
    """Multiplies the action, clipped to its box first; the environment's own clipping of the product stays."""

    lasting = False
    original = 1.0

    def __init__(self, env: gymnasium.Env[Any, Any]):
        """Needs a box of actions."""
        self._box = _box(env, "an actuator gain", "set_attribute('force_mag') or another parameter")
        self._gain: Value = 1.0

    def check(self, value: Any) -> Value:
        """One factor, or one for each entry of the action."""
        return factors(value, self._box.shape)

    def set(self, value: Value) -> None:
        """Holds for the next actions."""
        self._gain = value

    def command(self, action: Any) -> Any:
        """The product, in the type of the action space."""
        # A command beyond the bounds must not get round the gain: with a gain of 0.5, 2 is 0.5 and not 1.
        clipped = np.clip(np.asarray(action, np.float64), self._box.low, self._box.high)
        return (clipped * self._gain).astype(self._box.dtype)


def factors(value: Any, shape: tuple[int, ...]) -> Value:
    """One finite factor as a float, or a read-only array of them of the given shape.

    Raises:
        ValueError: for anything else.
    """
    array = np.asarray(value)
    if array.dtype.kind in "fiu" and array.shape == shape and array.size > 1 and np.isfinite(array).all():
        fixed = array.astype(np.float64)
        fixed.flags.writeable = False
        return fixed
    if array.size == 1:
        return one_number(value, "an actuator gain")
    raise ValueError(
        f"got {value!r} for an actuator gain; expected one finite factor, or {math.prod(shape)} of them."
    )


def _box(env: gymnasium.Env[Any, Any], what: str, instead: str) -> spaces.Box:
    space = env.action_space
    if not isinstance(space, spaces.Box):
        # It is the environment that is unsuitable, not the type of an argument.
        raise ValueError(f"got the action space {space}; {what} needs a Box. Use {instead}.")  # noqa: TRY004
    return space


class _Delay(Knob):
    """What was sent some steps ago arrives now. If the delay shrinks, items are skipped; if it grows, repeated."""

    lasting = False
    original = 0

    def __init__(self) -> None:
        self._delay = 0
        self._sent: deque[Any] = deque(maxlen=MOST_DELAY + 1)

    def check(self, value: Any) -> Value:
        number = one_number(value, "a delay")
        if not (number.is_integer() and 0 <= number <= MOST_DELAY):
            raise ValueError(
                f"got a delay of {number:g}; expected a whole number of steps from 0 to {MOST_DELAY}."
            )
        return int(number)

    def set(self, value: Value) -> None:
        self._delay = value

    def between(self, rng: np.random.Generator, low: Value, high: Value) -> Value:
        return int(rng.integers(low, high, endpoint=True))

    def _arriving(self, item: Any, before: Any) -> Any:
        # A copy: whoever made it may write the next one into the same array.
        self._sent.append(deepcopy(item))
        return self._sent[-1 - self._delay] if self._delay < len(self._sent) else before


class ObservationDelay(_Delay):
    """The agent sees the observation of some steps ago; before there is one, the first of the episode."""

    def begin(self, obs: Any) -> Any:
        """Forgets the last episode."""
        self._sent.clear()
        self._sent.append(deepcopy(obs))
        return obs

    def observe(self, obs: Any) -> Any:
        """An observation of this episode, a copy."""
        return deepcopy(self._arriving(obs, self._sent[0]))


class ActionDelay(_Delay):
    """The environment acts on the action of some steps ago; before there is one, on zeros (clipped to the box)."""

    def __init__(self, env: gymnasium.Env[Any, Any]):
        """Needs a box of actions: other spaces have no neutral action."""
        super().__init__()
        box = _box(env, "an action delay", "set_observation_delay")
        self._rest = np.clip(np.zeros(box.shape), box.low, box.high).astype(box.dtype)

    def begin(self, obs: Any) -> Any:
        """Forgets the last episode."""
        self._sent.clear()
        return obs

    def command(self, action: Any) -> Any:
        """The action of some steps ago."""
        return self._arriving(action, self._rest)
