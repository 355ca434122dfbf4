"""What every planner shares: the rollout, the warm start and the one 'sample, score, update' loop.

A planner is configuration only; what it remembers between two steps is an explicit `PlannerState`. A
concrete planner says how to draw noise, how to turn it into candidate plans and how to learn from their
returns; the loop, the treatment of failed candidates and the bounds live here. Structure after hydrax.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Key as Keys

from mole._types import Array, Bool, Float, Int, Key, Model
from mole.planning.checks import (
    as_bounds,
    check_bounds,
    check_obs,
    check_state,
    check_step,
    require,
    require_number,
    require_whole,
)

__all__ = ["Planner", "PlannerState", "Reward", "coloured_noise", "rollout", "rollout_trajectory"]

Reward = Callable[[Array, Array, Array], Array]
"""A pure JAX function ``(obs[obs], action[act], next_obs[obs]) -> scalar``."""


class PlannerState(NamedTuple):
    """What a planner carries from one step to the next.

    Attributes:
        mean: the plan chosen last, `[horizon, act]`, within the bounds; the next call shifts and refines it.
        failed: how many calls so far found no candidate with a finite return.
    """

    mean: Float[Array, "*batch horizon act"]
    failed: Int[Array, "*batch"]


@eqx.filter_jit
def rollout(
    model: Model,
    reward: Reward,
    obs: Float[Array, " obs"],
    plans: Float[Array, "samples horizon act"],
    discount: float,
) -> Float[Array, " samples"]:
    """Discounted return of every plan, all started from `obs`: sum over h of `discount**h * reward_h`.

    The scan runs over the horizon and the vmap over the samples is inside of it, so a network sees one matrix
    `[samples, in]` per step.
    """
    check_step(model, reward, obs, plans[0, 0])
    samples, horizon, _ = plans.shape

    def step(states: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        actions, weight = inputs
        following = jax.vmap(model)(states, actions)
        return following, weight * jax.vmap(reward)(states, actions, following)

    weights = jnp.asarray(discount ** np.arange(horizon), plans.dtype)
    start = jnp.broadcast_to(obs[None], (samples, *obs.shape))
    _, rewards = lax.scan(step, start, (jnp.swapaxes(plans, 0, 1), weights))
    return rewards.sum(0)


@eqx.filter_jit
def rollout_trajectory(
    model: Model, obs: Float[Array, " obs"], plan: Float[Array, "horizon act"]
) -> Float[Array, "horizon+1 obs"]:
    """The observations that the model predicts along one plan, `obs` itself first."""

    def step(state: Array, action: Array) -> tuple[Array, Array]:
        following = model(state, action)
        return following, following

    _, predicted = lax.scan(step, obs, plan)
    return jnp.concatenate([obs[None], predicted])


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
    mix[:, 0] = rho**steps
    iterations, samples, horizon, act = shape
    mixed = jnp.asarray(mix, white.dtype) @ white.reshape(horizon, -1)
    return mixed.reshape(horizon, iterations, samples, act).transpose(1, 2, 0, 3)


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

    action_low: Float[Array, " act"] = eqx.field(converter=as_bounds)
    action_high: Float[Array, " act"] = eqx.field(converter=as_bounds)
    horizon: int = eqx.field(static=True, default=10, kw_only=True)
    samples: int = eqx.field(static=True, default=100, kw_only=True)
    discount: float = eqx.field(static=True, default=1.0, kw_only=True)
    tail: Literal["repeat", "middle"] = eqx.field(static=True, default="repeat", kw_only=True)

    def __check_init__(self) -> None:
        """Check the configuration; Equinox calls this after construction."""
        check_bounds(self.action_low, self.action_high)
        require_number(("discount", self.discount))
        require_whole(("horizon", self.horizon), ("samples", self.samples))
        require(self.horizon >= 1, "horizon", self.horizon, "at least 1 step")
        require(self.samples >= 1, "samples", self.samples, "at least 1 candidate plan")
        require(
            0.0 < self.discount <= 1.0, "discount", self.discount, "a number in (0, 1]; 1 means no discount"
        )
        require(self.tail in ("repeat", "middle"), "tail", self.tail, "'repeat' or 'middle'")

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
        check_obs(obs)
        warm, noise = self.prepare(state, key)

        def iteration(search: Any, flat: Array) -> tuple[Any, Array]:
            plans = self.candidates(search, flat)
            return self.learn(search, plans, rollout(model, reward, obs, plans, self.discount))

        search, alive = lax.scan(iteration, self.begin(warm), noise)
        return self.conclude(state, warm, search, alive.any())

    @eqx.filter_jit
    def plan_batch(
        self,
        states: PlannerState,
        model: Model,
        reward: Reward,
        obs: Float[Array, "batch obs"],
        keys: Keys[Array, " batch"],
        *,
        model_axis: int | None = None,
    ) -> tuple[PlannerState, Float[Array, "batch act"]]:
        """`plan` for several observations at once, each with its own state and key.

        Args:
            states: stacked states, as from `init_batch`.
            model: one model for all, or, with `model_axis=0`, arrays stacked along a leading batch axis.
            reward: as in `plan`, the same for all.
            obs: `[batch, obs]`.
            keys: `[batch]`, for example `jax.random.split(key, batch)`.
            model_axis: the batch axis of every array in `model`; None if the model is shared.
        """
        axis = None if model_axis is None else eqx.if_array(model_axis)

        def one(state: PlannerState, model: Model, obs: Array, key: Key) -> tuple[PlannerState, Array]:
            return self.plan(state, model, reward, obs, key)

        return eqx.filter_vmap(one, in_axes=(0, axis, 0, 0))(states, model, obs, keys)

    def init_batch(self, batch: int) -> PlannerState:
        """`init` stacked `batch` times, for `plan_batch`."""
        require(batch >= 1, "batch", batch, "at least 1")
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (batch, *leaf.shape)), self.init())

    # The pieces of the loop, for `plan` above and for `mole.planning.host`, where a model outside JAX scores.

    def prepare(
        self, state: PlannerState, key: Key
    ) -> tuple[Float[Array, "horizon act"], Float[Array, "iterations flat"]]:
        """The warm start, and the noise of every iteration with its last three axes flattened.

        Flat across the loop's border, so that the draw stays flat too (see `coloured_noise`).

        Raises:
            ValueError: if the state is not one of this planner's.
        """
        check_state(state.mean, (self.horizon, *self.action_low.shape))
        noise = self.draw(key)
        return self._shift(state.mean), noise.reshape(noise.shape[0], -1)

    def candidates(self, search: Any, flat: Float[Array, " flat"]) -> Float[Array, "samples horizon act"]:
        """The plans of one iteration, within the bounds, from its noise as `prepare` gives it."""
        return self.clip(self.sample(search, flat.reshape(-1, self.horizon, self.action_low.size)))

    def learn(
        self, search: Any, plans: Float[Array, "samples horizon act"], returns: Float[Array, " samples"]
    ) -> tuple[Any, Bool[Array, ""]]:
        """The search after scored candidates, and whether any of their returns is finite."""
        finite = jnp.isfinite(returns)
        return self.update(search, plans, jnp.where(finite, returns, -jnp.inf)), finite.any()

    def conclude(
        self, state: PlannerState, warm: Float[Array, "horizon act"], search: Any, ok: Bool[Array, ""]
    ) -> tuple[PlannerState, Float[Array, " act"]]:
        """The new state and the action of a search, or those of the warm start if it is not `ok`."""
        mean, action = self.finish(search)
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
        last = mean[-1] if self.tail == "repeat" else self._middle()
        return jnp.concatenate([mean[1:], last[None]])
