"""Cross-entropy method: refit a Gaussian over plans to its best samples (Chua et al. 2018, PETS)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from mole._expect import expect_choice, expect_number, expect_whole
from mole._types import Array, Float, Key
from mole.planning.base import Planner, coloured_noise

__all__ = ["CEM"]


class _Search(NamedTuple):
    mean: Array  # [horizon, act]
    std: Array  # [horizon, act]
    kept: Array  # [keep_elites, horizon, act], the best of all iterations so far, with their
    kept_returns: Array  # [keep_elites]
    best: Array  # [horizon, act], the best single plan so far, with its
    best_return: Array  # []


class CEM(Planner):
    """Cross-entropy method with a diagonal Gaussian over plans.

    Each iteration draws `samples` plans around the mean, clips them to the bounds, and moves mean and
    standard deviation to those of the `elites` best. The standard deviation starts from `init_std` at every
    call; only the mean is warm-started.

    Attributes:
        iterations: refits per call.
        elites: best plans to fit, as a count (int) or as a fraction of `samples` (float in (0, 1)).
        init_std: standard deviation at the start, as a fraction of each action's range.
        min_std: its floor in every iteration, as a fraction of each action's range.
        noise_correlation: correlation of neighbouring steps' noise, in [0, 1); 0 is white.
        smoothing: share of the old mean and deviation kept at each refit, in [0, 1).
        keep_elites: best plans of the earlier iterations that compete again, without being scored again.
        include_mean: the first candidate of every iteration is the mean itself.
        execute: the action returned: the final ``"mean"``'s first, or the ``"best"`` scored plan's first.
    """

    iterations: int = eqx.field(static=True, default=3, kw_only=True)
    elites: int | float = eqx.field(static=True, default=10, kw_only=True)
    init_std: float = eqx.field(static=True, default=0.25, kw_only=True)
    min_std: float = eqx.field(static=True, default=0.0, kw_only=True)
    noise_correlation: float = eqx.field(static=True, default=0.0, kw_only=True)
    smoothing: float = eqx.field(static=True, default=0.0, kw_only=True)
    keep_elites: int = eqx.field(static=True, default=0, kw_only=True)
    include_mean: bool = eqx.field(static=True, default=True, kw_only=True)
    execute: Literal["mean", "best"] = eqx.field(static=True, default="mean", kw_only=True)

    def __check_init__(self) -> None:
        """Check the configuration; Equinox calls this after construction."""
        share = "It is a fraction of the action range."
        # Equinox checks a subclass before its base class, and the elites are compared with the samples.
        expect_whole("CEM", "samples", self.samples, 1, "It is the candidate plans of an iteration.")
        expect_whole("CEM", "iterations", self.iterations, 1, "It is the number of refits.")
        if isinstance(self.elites, float):
            remedy = "A float is a fraction of samples; give a whole number for a count."
            expect_number("CEM", "elites", self.elites, above=0.0, below=1.0, remedy=remedy)
        else:
            expect_whole("CEM", "elites", self.elites, 1, "At most all samples.", most=self.samples)
        expect_number("CEM", "init_std", self.init_std, above=0.0, below=math.inf, remedy=share)
        least = f"{share} At most init_std."
        expect_number("CEM", "min_std", self.min_std, low=0.0, high=self.init_std, remedy=least)
        expect_number(
            "CEM", "noise_correlation", self.noise_correlation, low=0.0, below=1.0, remedy="0 is white noise."
        )
        expect_number(
            "CEM", "smoothing", self.smoothing, low=0.0, below=1.0, remedy="0 forgets the old mean."
        )
        expect_whole("CEM", "keep_elites", self.keep_elites, 0, "At most all elites.", most=self.n_elites)
        expect_choice("CEM", "include_mean", self.include_mean, (True, False))
        expect_choice("CEM", "execute", self.execute, ("mean", "best"))

    @property
    def n_elites(self) -> int:
        """The number of elites, whether it was given as a count or as a fraction."""
        return max(1, round(self.elites * self.samples)) if isinstance(self.elites, float) else self.elites

    def draw(self, key: Key) -> Float[Array, "iterations samples horizon act"]:
        """Standard normal noise for all iterations."""
        shape = (self.iterations, self.samples, self.horizon, self.action_low.size)
        return coloured_noise(key, shape, self.noise_correlation)

    def begin(self, mean: Float[Array, "horizon act"]) -> _Search:
        """The warm start with the initial deviation; nothing kept yet."""
        nothing = jnp.full((self.keep_elites,), -jnp.inf, mean.dtype)
        kept = jnp.broadcast_to(mean[None], (self.keep_elites, *mean.shape))
        return _Search(
            mean, self._deviation(self.init_std), kept, nothing, mean, jnp.full((), -jnp.inf, mean.dtype)
        )

    def sample(
        self, search: _Search, noise: Float[Array, "samples horizon act"]
    ) -> Float[Array, "samples horizon act"]:
        """Gaussian candidates around the mean."""
        if self.include_mean:
            noise = noise.at[0].set(0.0)
        return search.mean[None] + search.std[None] * noise

    def update(
        self, search: _Search, plans: Float[Array, "samples horizon act"], returns: Float[Array, " samples"]
    ) -> _Search:
        """Refit to the elites. Failed candidates never count, also when fewer than `elites` succeeded."""
        # Model and observation are the same throughout a call, and so is what a kept plan earns.
        if self.keep_elites:
            plans = jnp.concatenate([search.kept, plans])
            returns = jnp.concatenate([search.kept_returns, returns])
        # Failed candidates have minus infinity: they come last, and get no share of the refit.
        values, index = lax.top_k(returns, self.n_elites)
        elites = plans[index]
        alive = jnp.isfinite(values)
        share = (alive / jnp.maximum(alive.sum(), 1)).astype(plans.dtype)[:, None, None]
        mean = (share * elites).sum(0)
        std = jnp.sqrt((share * jnp.square(elites - mean[None])).sum(0))
        mean = self.smoothing * search.mean + (1.0 - self.smoothing) * mean
        std = self.smoothing * search.std + (1.0 - self.smoothing) * std
        better = values[0] > search.best_return
        return _Search(
            mean=jnp.where(alive[0], mean, search.mean),
            std=jnp.where(alive[0], jnp.maximum(std, self._deviation(self.min_std)), search.std),
            kept=elites[: self.keep_elites],
            kept_returns=values[: self.keep_elites],
            best=jnp.where(better, elites[0], search.best),
            best_return=jnp.where(better, values[0], search.best_return),
        )

    def finish(self, search: _Search) -> tuple[Float[Array, "horizon act"], Float[Array, " act"]]:
        """The final mean, and the first action of the mean or of the best plan."""
        return search.mean, search.mean[0] if self.execute == "mean" else search.best[0]

    def _deviation(self, fraction: float) -> Array:
        std = fraction * (self.action_high - self.action_low)
        return jnp.broadcast_to(std[None], (self.horizon, *std.shape))
