"""Model-predictive path integral control: a softmax-weighted mean of noisy plans (Williams et al. 2017)."""

from __future__ import annotations

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from mole._expect import expect_choice, expect_number, expect_whole
from mole._types import Array, Float, Key
from mole.planning.base import Planner, coloured_noise

__all__ = ["MPPI"]


class _Search(NamedTuple):
    mean: Array  # [horizon, act]


class MPPI(Planner):
    """Move the mean to the average of its noisy copies, each weighted by ``exp(return / temperature)``.

    With `normalize` (the default) the returns of one iteration are first divided by their standard deviation
    over its finite candidates, so one temperature serves rewards of any scale; without it, the temperature is
    in units of the return, as in the paper. The path-integral coupling between noise and control cost is left
    out: a cost of actions belongs to the reward. Failed candidates have weight zero.

    Attributes:
        iterations: moves of the mean per call.
        temperature: small follows the best candidate, large averages over all.
        normalize: whether `temperature` is relative to the spread of the returns.
        noise_std: standard deviation of the noise, as a fraction of each action's range.
        noise_correlation: correlation of neighbouring steps' noise, in [0, 1); 0 is white.
    """

    iterations: int = eqx.field(static=True, default=3, kw_only=True)
    temperature: float = eqx.field(static=True, default=0.2, kw_only=True)
    normalize: bool = eqx.field(static=True, default=True, kw_only=True)
    noise_std: float = eqx.field(static=True, default=0.15, kw_only=True)
    noise_correlation: float = eqx.field(static=True, default=0.0, kw_only=True)

    def __check_init__(self) -> None:
        """Check the configuration; Equinox calls this after construction."""
        expect_whole("MPPI", "iterations", self.iterations, 1, "It is the number of moves of the mean.")
        expect_number(
            "MPPI", "temperature", self.temperature, above=0.0, remedy="It divides the returns of the plans."
        )
        expect_choice("MPPI", "normalize", self.normalize, (True, False))
        remedy = "It is a fraction of the action range."
        expect_number("MPPI", "noise_std", self.noise_std, above=0.0, below=math.inf, remedy=remedy)
        expect_number(
            "MPPI",
            "noise_correlation",
            self.noise_correlation,
            low=0.0,
            below=1.0,
            remedy="0 is white noise.",
        )

    def draw(self, key: Key) -> Float[Array, "iterations samples horizon act"]:
        """Standard normal noise for all iterations."""
        shape = (self.iterations, self.samples, self.horizon, self.action_low.size)
        return coloured_noise(key, shape, self.noise_correlation)

    def begin(self, mean: Float[Array, "horizon act"]) -> _Search:
        """The warm start."""
        return _Search(mean)

    def sample(
        self, search: _Search, noise: Float[Array, "samples horizon act"]
    ) -> Float[Array, "samples horizon act"]:
        """Noisy copies of the mean; the first is the mean itself."""
        std = self.noise_std * (self.action_high - self.action_low)
        return search.mean[None] + std[None, None] * noise.at[0].set(0.0)

    def update(
        self, search: _Search, plans: Float[Array, "samples horizon act"], returns: Float[Array, " samples"]
    ) -> _Search:
        """The weighted mean of the candidates."""
        alive = jnp.isfinite(returns)
        # Relative to the best, whose weight is then 1: the exponential cannot overflow.
        below = jnp.where(alive, returns - jnp.max(returns), -jnp.inf)
        scale = self.temperature
        if self.normalize:
            # Over the finite candidates alone: one minus infinity would make mean and spread NaN.
            count = jnp.maximum(alive.sum(), 1)
            centred = jnp.where(alive, below, 0.0)
            centred = jnp.where(alive, centred - centred.sum() / count, 0.0)
            spread = jnp.sqrt(jnp.square(centred).sum() / count)
            scale = scale * jnp.maximum(spread, 1e-30)  # equal returns: equal weights
        weights = jnp.where(alive, jnp.exp(below / scale), 0.0)
        # The total is 0 if every candidate failed: the mean stays, and nothing is divided by 0.
        total = weights.sum()
        mean = (weights[:, None, None] * plans).sum(0) / jnp.where(total > 0.0, total, 1.0)
        return _Search(jnp.where(total > 0.0, mean, search.mean))

    def finish(self, search: _Search) -> tuple[Float[Array, "horizon act"], Float[Array, " act"]]:
        """The mean and its first action."""
        return search.mean, search.mean[0]
