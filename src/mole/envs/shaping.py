"""Terms that only a planner's reward has: what a user knows of how a task should be done.

The environment's own reward stays what is reported. A `mole.envs.DynamicsSpec` names its terms, all of weight 0 unless
`DynamicsSpec.shaped` gives them one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mole._expect import did_you_mean
from mole._types import Array

__all__ = ["ShapedReward", "Shaping", "weighted"]

Reward = Callable[[Any, Any, Any], Array]


@dataclass(frozen=True)
class Shaping:
    """One named term of a planner's reward.

    Attributes:
        name: by which it is given a weight.
        term: ``(obs[obs], action[act], next_obs[obs]) -> scalar``, a JAX function of a module.
        weight: its factor; 0 leaves it out.
    """

    name: str
    term: Reward
    weight: float = 0.0


@dataclass(frozen=True)
class ShapedReward:
    """A reward with weighted terms. Equal ones are the same reward to whatever is compiled for it."""

    reward: Reward
    terms: tuple[Shaping, ...]

    def __call__(self, obs: Any, action: Any, next_obs: Any) -> Array:
        """The reward and all its terms."""
        total = self.reward(obs, action, next_obs)
        for one in self.terms:
            total = total + one.weight * one.term(obs, action, next_obs)
        return total


def weighted(terms: tuple[Shaping, ...], weights: Mapping[str, float]) -> tuple[Shaping, ...]:
    """The terms with these weights, and 0 for those that are not named.

    Raises:
        ValueError: for a name that no term has, or a weight that is no finite number.
    """
    known = [one.name for one in terms]
    for name, weight in weights.items():
        if name not in known:
            hint = did_you_mean(name, known) if known else "this environment's DynamicsSpec has no shaping."
            raise ValueError(f"unknown shaping {name!r}: {hint}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise ValueError(f"shaping {name!r} got the weight {weight!r}; expected a finite number.")
    return tuple(replace(one, weight=float(weights.get(one.name, 0.0))) for one in terms)
