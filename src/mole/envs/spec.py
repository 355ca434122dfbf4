"""What a learner and a planner must know about an environment: inputs, targets and reward as pure functions.

A `DynamicsSpec` bundles functions of single examples (no batch axis: `jax.vmap` them) that work inside `jax.jit`. Every
environment of this package has one; for any other environment `generic_spec` makes a plain one from its sizes and a
reward function. `register_reward` is enough for an environment that is made by its id: `mole.envs.wrappers.generic`
does the rest. At the end stands what the specs of our own environments share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from mole._expect import did_you_mean, expect_callable, expect_type, expect_whole
from mole._types import Array
from mole.envs.shaping import ShapedReward, Shaping, weighted

__all__ = [
    "DT",
    "DynamicsSpec",
    "Shaping",
    "check_action",
    "generic_spec",
    "limited",
    "position",
    "register_reward",
    "register_spec",
    "registered_reward",
    "registered_spec",
    "spec_for",
]

Features = Callable[[Any, Any], Array]
Delta = Callable[[Any, Any], Array]
Reward = Callable[[Any, Any, Any], Array]
Scalar = Callable[[Any], Array]


@dataclass(frozen=True)
class DynamicsSpec:
    """Pure functions between an environment and a dynamics model. Hashable: it can be a static argument.

    Attributes:
        obs_dim: entries of an observation.
        act_dim: entries of an action.
        feature_dim: entries of a model input, ``features(obs, action)``.
        delta_dim: entries of a model target, ``delta(obs, next_obs)``.
        features: ``(obs[obs], action[act]) -> x[dx]``, the model's input.
        delta: ``(obs[obs], next_obs[obs]) -> y[dy]``, the model's target.
        apply_delta: ``(obs[obs], y[dy]) -> next_obs[obs]``, the inverse of `delta`.
        reward: ``(obs[obs], action[act], next_obs[obs]) -> scalar``, the number that the environment gives.
        posture: ``obs[obs] -> scalar`` in [-1, 1], 1 upright, -1 upside down; None where it has no meaning.
        position: ``obs[obs] -> scalar``, metres forward; None where it has no meaning.
        shaping: terms that only a planner's reward has, of weight 0 unless `shaped` gives them one.
    """

    obs_dim: int
    act_dim: int
    feature_dim: int
    delta_dim: int
    features: Features
    delta: Delta
    apply_delta: Delta
    reward: Reward
    posture: Scalar | None = None
    position: Scalar | None = None
    shaping: tuple[Shaping, ...] = ()

    @property
    def planning_reward(self) -> Reward:
        """What a planner maximises: `reward` itself, or with the shaping that has a weight."""
        terms = tuple(one for one in self.shaping if one.weight)
        return ShapedReward(self.reward, terms) if terms else self.reward

    def shaped(self, weights: Mapping[str, float]) -> DynamicsSpec:
        """The spec with these weights of its shaping by name, and 0 for the others.

        Raises:
            ValueError: for an unknown name or a weight that is no finite number.
        """
        return replace(self, shaping=weighted(self.shaping, weights))


def _concatenated(obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"]) -> Float[Array, " dx"]:
    obs = jnp.asarray(obs)
    return jnp.concatenate([obs, jnp.asarray(action, obs.dtype)])


def _difference(obs: Float[ArrayLike, " obs"], next_obs: Float[ArrayLike, " obs"]) -> Float[Array, " dy"]:
    return jnp.asarray(next_obs) - jnp.asarray(obs)


def _sum(obs: Float[ArrayLike, " obs"], y: Float[ArrayLike, " dy"]) -> Float[Array, " obs"]:
    return jnp.asarray(obs) + jnp.asarray(y)


def generic_spec(obs_dim: int, act_dim: int, reward: Reward) -> DynamicsSpec:
    """A spec for any environment: the input is (obs, action), the target next_obs - obs.

    Args:
        obs_dim: entries of the (flat) observation.
        act_dim: entries of the (flat) action.
        reward: a JAX function ``(obs, action, next_obs) -> scalar``. Pass the same function object each time:
            a new one means a new spec, and whatever is compiled for the spec is compiled again.

    Raises:
        ValueError: if a size is below 1.
        TypeError: if a size is no whole number, or the reward no function.
    """
    remedy = "Flatten the space first (gymnasium.wrappers.FlattenObservation)."
    expect_whole("generic_spec", "obs_dim", obs_dim, 1, remedy)
    expect_whole("generic_spec", "act_dim", act_dim, 1, remedy)
    expect_callable("generic_spec", "reward", reward, "(obs, action, next_obs) -> scalar.")
    return DynamicsSpec(
        obs_dim=obs_dim,
        act_dim=act_dim,
        feature_dim=obs_dim + act_dim,
        delta_dim=obs_dim,
        features=_concatenated,
        delta=_difference,
        apply_delta=_sum,
        reward=reward,
    )


# By id without the prefix in ``module:id``, which only tells Gymnasium what to import.
_SPECS: dict[str, DynamicsSpec] = {}
_REWARDS: dict[str, Reward] = {}


def register_reward(env_id: str, reward: Reward) -> None:
    """Makes `reward` what a planner uses in the environment `env_id`, instead of a learned one.

    Put the call into the module that registers the environment, or into one of its own: ``module:id`` imports it,
    also in worker processes.

    Args:
        env_id: a Gymnasium id.
        reward: a pure JAX function ``(obs[obs], action[act], next_obs[obs]) -> scalar`` of the flat observation and
            action (`mole.envs.FlatSpaces`); as near as possible to the number that the environment gives.

    Raises:
        TypeError: if `reward` cannot be called.
        ValueError: if another reward is registered for that id.
    """
    expect_type("register_reward", "env_id", env_id, str, "It is a Gymnasium id.")
    expect_callable("register_reward", "reward", reward, "In JAX: (obs, action, next_obs) -> scalar.")
    # Compared by identity, as everything that is compiled for a reward is found by it.
    if _REWARDS.get(env_id, reward) is not reward:
        raise ValueError(
            f"{env_id!r} already has a different reward; register the environment under another id."
        )
    _REWARDS[env_id] = reward


def registered_reward(env_id: str) -> Reward | None:
    """The reward registered for an id, None if there is none."""
    return _REWARDS.get(env_id.rpartition(":")[2])


def registered_spec(env_id: str) -> DynamicsSpec | None:
    """The spec registered for an id, None if there is none."""
    return _SPECS.get(env_id.rpartition(":")[2])


def register_spec(env_id: str, spec: DynamicsSpec) -> None:
    """Makes `spec` what `spec_for` answers for `env_id`.

    Raises:
        TypeError: if `spec` is no DynamicsSpec.
        ValueError: if another spec is registered for that id.
    """
    expect_type("register_spec", "env_id", env_id, str, "It is a Gymnasium id.")
    expect_type("register_spec", "spec", spec, DynamicsSpec, "mole.envs.generic_spec makes one.")
    if _SPECS.get(env_id, spec) != spec:
        raise ValueError(f"{env_id!r} already has a different DynamicsSpec; register yours under another id.")
    _SPECS[env_id] = spec


def spec_for(env_id_or_env: Any) -> DynamicsSpec:
    """The spec registered for an environment.

    Args:
        env_id_or_env: a Gymnasium id (``"mole/HalfCheetahMotors-v0"``, with or without a ``module:`` prefix),
            or an environment, wrapped or not.

    Raises:
        ValueError: for an environment without a registered spec (with the nearest known id), or one whose
            observations are not those that its spec describes (an observation wrapper, for example).
    """
    if isinstance(env_id_or_env, str):
        return _lookup(env_id_or_env)
    # A wrapper's own spec comes first: it describes the observations outside of that wrapper.
    env = env_id_or_env
    has = getattr(env, "has_wrapper_attr", None)
    own = env.get_wrapper_attr("dynamics") if has is not None and has("dynamics") else None
    if isinstance(own, DynamicsSpec):
        spec = own
    elif getattr(env, "spec", None) is not None:
        spec = _lookup(env.spec.id)
    else:
        raise ValueError(
            f"got {type(env).__name__}, an environment without an id; expected one made with gymnasium.make, "
            "or one whose `dynamics` is a DynamicsSpec. Wrap it: mole.envs.agent_env(env), or build a spec with "
            "generic_spec(obs_dim, act_dim, reward) and pass it explicitly."
        )
    if env.observation_space.shape != (spec.obs_dim,):
        raise ValueError(
            f"got observations of shape {env.observation_space.shape}, but the environment's DynamicsSpec "
            f"expects {(spec.obs_dim,)}. "
            "Remove the wrapper that changes observations, or pass a DynamicsSpec of your own."
        )
    return spec


def _lookup(env_id: str) -> DynamicsSpec:
    name = env_id.rpartition(":")[2]
    if name not in _SPECS:
        raise ValueError(
            f"no DynamicsSpec for environment {env_id!r}: {did_you_mean(name, _SPECS)} "
            "For any other environment wrap it: mole.envs.agent_env(env); or use "
            "generic_spec(obs_dim, act_dim, reward) or register yours with register_spec(env_id, spec)."
        )
    return _SPECS[name]


DT = 0.05
"""Seconds per step of our machines: 5 physics steps of 0.01 s, as Gymnasium's HalfCheetah-v5 has them."""


def check_action(action: Any, size: int) -> np.ndarray:
    """`action` as float64 `[act]`.

    Raises:
        ValueError: for another shape, a dtype that is not real, or entries that are not finite.
    """
    array = np.asarray(action)
    if array.shape != (size,):
        raise ValueError(f"got an action of shape {array.shape}; expected {(size,)}: one number per motor.")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"got an action of dtype {array.dtype}; expected real numbers, such as float32.")
    command = array.astype(np.float64)
    if not np.isfinite(command).all():
        raise ValueError(
            f"got the action {array}; expected finite numbers. Check the policy or planner for NaN."
        )
    return command


def limited(action: Float[ArrayLike, " act"], like: Array) -> Float[Array, " act"]:
    """`action` ``[act]`` clipped to [-1, 1] as our environments clip it, in the type of `like`.

    Inputs, targets and reward then agree with what the environment did with the command.
    """
    return jnp.clip(jnp.asarray(action, like.dtype), -1.0, 1.0)


def position(obs: Float[ArrayLike, " obs"]) -> Float[Array, ""]:
    """Metres forward, along world x: the first entry."""
    return jnp.asarray(obs)[0]
