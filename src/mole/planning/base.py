"""What every planner shares: the bounds, the warm start and the one 'sample, score, update' loop.

A planner is configuration only; what it remembers between two steps is an explicit `PlannerState`. A concrete planner
says how to draw noise, how to turn it into candidate plans and how to learn from their returns; the loop, the
treatment of failed candidates and the bounds live here. Structure after hydrax.
"""

from __future__ import annotations

import abc
import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mole._expect import expect_choice, expect_key, expect_number, expect_type, expect_whole
from mole._types import Array, Bool, Float, Int, Key, Model
from mole.planning.scoring import Reward, expect_obs, rollout

__all__ = ["Planner", "PlannerState", "coloured_noise"]

_LARGEST = 1e15  # of a bound: squares of the range must not overflow in float32


class PlannerState(NamedTuple):
    """What a planner carries from one step to the next.

    Attributes:
        mean: the plan chosen last, `[horizon, act]`, within the bounds; the next call shifts and refines it.
        failed: how many calls so far found no candidate with a finite return.
    """

    mean: Float[Array, "horizon act"]
    failed: Int[Array, ""]


def coloured_noise(key: Key, shape: tuple[int, int, int, int], rho: float) -> Array:
    """Standard normal noise `[iterations, samples, horizon, act]`, AR(1)-correlated along the horizon.

    Each entry has variance 1 and neighbours in time have correlation `rho`; 0 is white noise. Coloured noise
    keeps pushing in one direction, which explores further than white noise of the same size (iCEM, Pinneri et
    al. 2020).
    """
    # XLA on a CPU draws a flat vector six times faster than the same numbers with a short last axis.
    white = jax.random.normal(key, (math.prod(shape),))
    if rho == 0.0:
        return white.reshape(shape)
    # The recursion n_t = rho n_{t-1} + sqrt(1 - rho^2) e_t is one constant lower-triangular matrix.
    steps = np.arange(shape[2])
    lag = steps[:, None] - steps[None]
    mix = np.where(lag >= 0, rho ** np.maximum(lag, 0), 0.0) * np.sqrt(1.0 - rho**2)
    mix[:, 0] = rho**steps  # the first step has nothing before it, and variance 1 by itself
    iterations, samples, horizon, act = shape
    mixed = jnp.asarray(mix, white.dtype) @ white.reshape(horizon, -1)
    return mixed.reshape(horizon, iterations, samples, act).transpose(1, 2, 0, 3)


def _as_bounds(values: Any) -> Array:
    try:
        # Of NumPy: JAX would take True and False as bounds of 1 and 0.
        dtype = np.asarray(values).dtype
        if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
            raise TypeError  # noqa: TRY301
        return jnp.asarray(values, dtype=jnp.float32)  # as all that a model computes, also where x64 is on
    except (TypeError, ValueError):
        raise TypeError(
            f"planner got action bounds {values!r:.80}; expected one number per entry of the action."
        ) from None


def _check_bounds(owner: str, low: Array, high: Array) -> None:
    """Bounds must be two finite vectors of one length, low below high everywhere."""
    if low.ndim != 1 or low.shape != high.shape or low.size == 0:
        raise ValueError(
            f"{owner} got action_low and action_high of shapes {low.shape} and {high.shape}; expected two vectors of "
            "one length [act]. Give one bound per entry of the action."
        )
    low_, high_ = np.asarray(low), np.asarray(high)
    if not (np.abs(np.concatenate([low_, high_])) <= _LARGEST).all():  # NaN is not <=
        raise ValueError(
            f"{owner} got action_low={low_} and action_high={high_}; expected finite numbers of at most {_LARGEST:g} "
            "in size. Planners sample within the bounds, so choose a range for each action."
        )
    if not (low_ < high_).all():
        raise ValueError(
            f"{owner} got action_low={low_} and action_high={high_}; expected low < high in every entry. "
            "Exchange them, or drop entries of the action that cannot move."
        )


class Planner(eqx.Module):
    """Abstract planner: `init() -> state`, `plan(state, model, reward, obs, key) -> (state, action)`.

    Candidates are clipped to the bounds before they are scored, so the bounds themselves are reachable and
    all that a planner learns from lies within them. A candidate whose return is NaN or infinite ranks below
    all others. If no candidate of a call has a finite return, the action is that of the warm start (the
    previous plan shifted by one step) and `state.failed` grows by one.

    Attributes:
        action_low: smallest action, `[act]`.
        action_high: largest action, `[act]`.
        horizon: steps in a plan.
        samples: candidate plans in one iteration.
        discount: weight of the reward one step later, in (0, 1].
        tail: last action of the warm start: ``"repeat"`` that of the previous plan, or the
            ``"middle"`` of the bounds.
    """

    # The bounds are arrays, so that other bounds are no other program; all else is a constant of the program.
    action_low: Float[Array, " act"] = eqx.field(converter=_as_bounds)
    action_high: Float[Array, " act"] = eqx.field(converter=_as_bounds)
    horizon: int = eqx.field(static=True, default=10, kw_only=True)
    samples: int = eqx.field(static=True, default=100, kw_only=True)
    discount: float = eqx.field(static=True, default=1.0, kw_only=True)
    tail: Literal["repeat", "middle"] = eqx.field(static=True, default="repeat", kw_only=True)

    def __check_init__(self) -> None:
        """Check the configuration; Equinox calls this after construction, and that of every subclass."""
        owner = type(self).__name__
        _check_bounds(owner, self.action_low, self.action_high)
        expect_whole(owner, "horizon", self.horizon, 1, "It is the steps of a plan.")
        expect_whole(owner, "samples", self.samples, 1, "It is the candidate plans of an iteration.")
        expect_number(owner, "discount", self.discount, above=0.0, high=1.0, remedy="1 means no discount.")
        expect_choice(owner, "tail", self.tail, ("repeat", "middle"))

    # What a concrete planner provides. `search` is its own pytree of fixed shape.

    @abc.abstractmethod
    def draw(self, key: Key) -> Float[Array, "iterations samples horizon act"]:
        """All noise of one call at once: one large draw is cheaper than one per iteration."""

    @abc.abstractmethod
    def begin(self, mean: Float[Array, "horizon act"]) -> Any:
        """The search before its first iteration, around the warm start."""

    @abc.abstractmethod
    def sample(
        self, search: Any, noise: Float[Array, "samples horizon act"]
    ) -> Float[Array, "samples horizon act"]:
        """Candidate plans of one iteration; the loop clips them to the bounds."""

    @abc.abstractmethod
    def update(
        self, search: Any, plans: Float[Array, "samples horizon act"], returns: Float[Array, " samples"]
    ) -> Any:
        """Learn from the scored candidates. Failed ones return minus infinity; all may have failed."""

    @abc.abstractmethod
    def finish(self, search: Any) -> tuple[Float[Array, "horizon act"], Float[Array, " act"]]:
        """The plan to start from next time, and the action to take now."""

    # What all planners have.

    def init(self) -> PlannerState:
        """The state before the first call: the middle of the bounds at every step."""
        shape = (self.horizon, *self.action_low.shape)
        return PlannerState(jnp.broadcast_to(self._middle()[None], shape), jnp.zeros((), jnp.int32))

    @eqx.filter_jit
    def plan(
        self, state: PlannerState, model: Model, reward: Reward, obs: Float[Array, " obs"], key: Key
    ) -> tuple[PlannerState, Float[Array, " act"]]:
        """Plan from `obs` and return the new state and the first action, which lies within the bounds.

        Compiled once per planner configuration, `reward` (by identity: do not create a new function at each
        call) and structure of `model`; new values of the parameters do not recompile.

        Args:
            state: what `init` or the previous call returned.
            model: callable pytree `(obs[obs], action[act]) -> next_obs[obs]`.
            reward: pure function `(obs, action, next_obs) -> scalar`.
            obs: the current observation, `[obs]`.
            key: a typed key from `jax.random.key`; the same key gives the same action.

        Raises:
            ValueError: if the state, `obs`, the model's output or the reward has the wrong shape.
            TypeError: if `obs` or the model's output has the wrong dtype.
        """
        expect_obs(f"{type(self).__name__}.plan", obs)
        warm, noise = self.prepare(state, key)

        def iteration(search: Any, flat: Array) -> tuple[Any, Array]:
            plans = self.candidates(search, flat)
            return self.learn(search, plans, rollout(model, reward, obs, plans, self.discount))

        search, alive = lax.scan(iteration, self.begin(warm), noise)
        return self.conclude(state, warm, search, alive.any())

    # The pieces of the loop, for `plan` above and for `mole.planning.host`, where a model outside JAX scores.

    def prepare(
        self, state: PlannerState, key: Key
    ) -> tuple[Float[Array, "horizon act"], Float[Array, "iterations flat"]]:
        """The warm start, and the noise of every iteration with its last three axes flattened.

        Flat across the loop's border, so that the draw stays flat too (see `coloured_noise`).

        Raises:
            ValueError: if the state is of a planner with another horizon or action size.
            TypeError: if it is no state, or the key is no PRNG key.
        """
        owner, shape = f"{type(self).__name__}.plan", (self.horizon, self.action_low.size)
        expect_type(owner, "state", state, PlannerState, "Start from this planner's own init().")
        expect_key(owner, key)
        if state.mean.shape != shape:
            raise ValueError(
                f"{owner} got state.mean of shape {state.mean.shape}; expected {shape} [horizon, act]. "
                "Start from this planner's own init()."
            )
        noise = self.draw(key)
        return self._shift(state.mean), noise.reshape(noise.shape[0], -1)

    def candidates(self, search: Any, flat: Float[Array, " flat"]) -> Float[Array, "samples horizon act"]:
        """The plans of one iteration, within the bounds, from its noise as `prepare` gives it."""
        return self.clip(self.sample(search, flat.reshape(-1, self.horizon, self.action_low.size)))

    def learn(
        self, search: Any, plans: Float[Array, "samples horizon act"], returns: Float[Array, " samples"]
    ) -> tuple[Any, Bool[Array, ""]]:
        """The search after scored candidates, and whether any of their returns is finite."""
        # A model that runs away gives NaN or infinity, and +inf would win: both become the worst return.
        finite = jnp.isfinite(returns)
        return self.update(search, plans, jnp.where(finite, returns, -jnp.inf)), finite.any()

    def conclude(
        self, state: PlannerState, warm: Float[Array, "horizon act"], search: Any, ok: Bool[Array, ""]
    ) -> tuple[PlannerState, Float[Array, " act"]]:
        """The new state and the action of a search, or those of the warm start if it is not `ok`."""
        mean, action = self.finish(search)
        # Clipped once more: rounding can carry an average of plans within the bounds beyond them.
        mean = jnp.where(ok, self.clip(mean), warm)
        action = jnp.where(ok, self.clip(action), warm[0])
        return PlannerState(mean, state.failed + (~ok).astype(state.failed.dtype)), action

    def clip(self, actions: Float[Array, "*any act"]) -> Float[Array, "*any act"]:
        """Actions moved to the nearest point within the bounds."""
        shape = (1,) * (actions.ndim - 1) + self.action_low.shape
        return jnp.clip(actions, self.action_low.reshape(shape), self.action_high.reshape(shape))

    def _middle(self) -> Array:
        return 0.5 * self.action_low + 0.5 * self.action_high

    def _shift(self, mean: Array) -> Array:
        # One step has passed: the plan's second action is due now, and a new last one is needed.
        last = mean[-1] if self.tail == "repeat" else self._middle()
        return jnp.concatenate([mean[1:], last[None]])
