"""Angles as cosine and sine: no model can learn the changes of an angle that jumps at ±π."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from mole._expect import expect_type
from mole.datasets.resolution import TURNS, jumps
from mole.datasets.transitions import record_random

__all__ = ["AnglePairs", "angles_of"]

_STEPS = 1000  # in which an angle that matters goes round at least once


class AnglePairs(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations in which each angle is replaced by its cosine and its sine, which follow all other entries.

    Args:
        env: an environment whose observations are vectors, for example a `FlatSpaces`.
        angles: entry → its full turn (2π, or 360 for degrees).

    Raises:
        ValueError: if there is no such entry.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], angles: Mapping[int, float]) -> None:
        """See the class."""
        expect_type("AnglePairs", "env", env, gymnasium.Env, "gymnasium.make gives one.")
        super().__init__(env)
        inner: Any = env.observation_space
        size = inner.low.size
        self.angles = {int(entry): float(turn) for entry, turn in sorted(angles.items())}
        if not self.angles or not all(0 <= entry < size for entry in self.angles):
            raise ValueError(
                f"AnglePairs got the angles {list(angles)}; expected some of the entries 0 to {size - 1}."
            )
        self._others = np.setdiff1d(np.arange(size), list(self.angles))
        one = np.ones(2 * len(self.angles))
        low, high = (np.asarray(bound, np.float64)[self._others] for bound in (inner.low, inner.high))
        self.observation_space = spaces.Box(np.append(low, -one), np.append(high, one), dtype=np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """As the environment's; the observation ``[obs]`` has two entries for every angle."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._paired(obs), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """As the environment's; the observation ``[obs]`` has two entries for every angle."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._paired(obs), reward, terminated, truncated, info

    def _paired(self, obs: Any) -> np.ndarray:
        values = np.asarray(obs, np.float64)
        phase = 2 * np.pi * values[list(self.angles)] / np.array(list(self.angles.values()))
        return np.concatenate([values[self._others], np.cos(phase), np.sin(phase)])


def angles_of(env: gymnasium.Env[Any, Any], angles: Sequence[int] | Literal["auto"]) -> dict[int, float]:
    """The angles of an environment with observations ``[obs]``: entry → full turn.

    Args:
        env: it is stepped if they are to be found.
        angles: entries in radians; or "auto" for those that jump by 2π or 360 within 1,000 random steps.
    """
    if angles != "auto":
        return {int(entry): TURNS[0] for entry in angles}
    episodes = record_random(env, _STEPS, np.random.default_rng(0))
    found = jumps([episode.obs for episode in episodes])
    # What jumps by its whole range, whatever that is, may also be something that bounces.
    return {entry: turn for entry, turn in found.items() if turn in TURNS}
