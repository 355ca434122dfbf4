"""Random shooting: the planner of the paper's authors (Nagabandi et al. 2018, 2019)."""

from __future__ import annotations

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_choice
from mole._types import Array, Float, Key
from mole.planning.base import Planner

__all__ = ["RandomShooting"]


class _Search(NamedTuple):
    plan: Array  # [horizon, act], the best so far, with its
    value: Array  # []


class RandomShooting(Planner):
    """Draw plans uniformly within the bounds, once, and take the first action of the best.

    Attributes:
        warm_start: the previous best plan, shifted by one step, is one of the candidates. The authors'
            planner forgets its plan at every step instead.
    """

    samples: int = eqx.field(static=True, default=1000, kw_only=True)  # as many as the authors use at most
    warm_start: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self) -> None:
        """Check the configuration; Equinox calls this after construction."""
        expect_choice("RandomShooting", "warm_start", self.warm_start, (True, False))

    def draw(self, key: Key) -> Float[Array, "iterations samples horizon act"]:
        """Uniform numbers in [0, 1), for the only iteration."""
        # Drawn flat, as `coloured_noise` is.
        shape = (1, self.samples, self.horizon, self.action_low.size)
        return jax.random.uniform(key, (math.prod(shape),), self.action_low.dtype).reshape(shape)

    def begin(self, mean: Float[Array, "horizon act"]) -> _Search:
        """The warm start, not scored yet."""
        return _Search(mean, jnp.full((), -jnp.inf, mean.dtype))

    def sample(
        self, search: _Search, noise: Float[Array, "samples horizon act"]
    ) -> Float[Array, "samples horizon act"]:
        """Uniform candidates; with `warm_start`, the first is the shifted plan."""
        low, high = self.action_low[None, None], self.action_high[None, None]
        plans = low + (high - low) * noise
        return plans.at[0].set(search.plan) if self.warm_start else plans

    def update(
        self, search: _Search, plans: Float[Array, "samples horizon act"], returns: Float[Array, " samples"]
    ) -> _Search:
        """Keep the best candidate."""
        best = jnp.argmax(returns)
        better = returns[best] > search.value
        return _Search(
            jnp.where(better, plans[best], search.plan), jnp.where(better, returns[best], search.value)
        )

    def finish(self, search: _Search) -> tuple[Float[Array, "horizon act"], Float[Array, " act"]]:
        """The best plan and its first action."""
        return search.plan, search.plan[0]
