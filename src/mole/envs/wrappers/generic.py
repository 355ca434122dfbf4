"""Any Gymnasium environment with a continuous action space, made ready for an agent.

An agent needs a flat observation, a bounded flat action and a reward that it can compute along a plan. `agent_env`
gives all three: spaces are checked and flattened, and a reward that is not registered is learned together with the
dynamics, as a part of the observation (`RewardInObservation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import ArrayLike, Float

from mole._expect import expect_type
from mole._types import Array
from mole.datasets.steps import as_reward, five_of, two_of
from mole.envs.spec import (
    DynamicsSpec,
    check_action,
    generic_spec,
    registered_reward,
    registered_spec,
    spec_for,
)
from mole.envs.wrappers.angles import AnglePairs, angles_of

__all__ = ["FlatSpaces", "RewardInObservation", "agent_env", "learned_reward_spec"]

_GIVES_ONE = "gymnasium.make gives one."
_FIXED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def agent_env(
    env: gymnasium.Env[Any, Any], *, angles: Sequence[int] | Literal["auto"] = ()
) -> gymnasium.Env[Any, Any]:
    """``env`` with flat observations and actions and a `DynamicsSpec`, which `spec_for` finds.

    An environment with a spec of its own is returned as it is. Otherwise the reward is the function registered for its
    id (`mole.envs.register_reward`), or else it is learned.

    Args:
        env: any Gymnasium environment whose actions are real vectors within finite bounds.
        angles: entries of the flat observation that are angles in radians and jump at the end of a turn: the agent gets
            cosine and sine instead (`AnglePairs`). "auto" finds those that jump by 2π or 360 within 1,000 random steps.

    Raises:
        TypeError: if it is no environment.
        ValueError: if its spaces are not supported, or ``angles`` are given where a spec or a reward function of these
            observations is known; with what to do.
    """
    if hasattr(env, "single_action_space"):
        raise TypeError(
            f"agent_env got a vector environment of {getattr(env, 'num_envs', 'several')}; expected one environment. "
            "Pass what gymnasium.make gives: training makes copies of its own (workers=)."
        )
    expect_type("agent_env", "env", env, gymnasium.Env, _GIVES_ONE)
    name = _id(env) or ""
    own = env.has_wrapper_attr("dynamics") and isinstance(env.get_wrapper_attr("dynamics"), DynamicsSpec)
    if angles and (own or registered_spec(name) or registered_reward(name)):
        raise ValueError(
            f"agent_env got angles={angles!r} for {_name(env)}, of whose observations a spec or a reward function is "
            "known; expected neither, since both would be of other observations. Give cosine and sine in the spec."
        )
    if own:
        return env
    flat = FlatSpaces(env)
    if angles and (found := angles_of(flat, angles)):
        flat = AnglePairs(flat, found)
    if registered_spec(name) is not None:
        spec_for(flat)  # raises if the spec does not fit these observations
        return flat
    return RewardInObservation(flat) if registered_reward(name) is None else flat


class FlatSpaces(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations and actions as vectors of real numbers; actions are clipped to their bounds.

    Boxes of any shape, dicts and tuples are concatenated in Gymnasium's order (dicts by key), discrete entries of an
    observation become one-hot vectors. ``dynamics`` is a generic spec where a reward is registered for the id.

    Args:
        env: the environment.

    Raises:
        ValueError: for actions that are discrete, unbounded or without room, and for observations that are images,
            text or of varying size.
    """

    dynamics: DynamicsSpec

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """See the class."""
        expect_type("FlatSpaces", "env", env, gymnasium.Env, _GIVES_ONE)
        super().__init__(env)
        _check_observations(env)
        low, high = _action_bounds(env)
        # The wrapped environment's: this wrapper's own spaces are set below.
        self._inner = env.observation_space, env.action_space
        flat: Any = spaces.flatten_space(env.action_space)
        self._bounds = _flat64(flat.low), _flat64(flat.high)
        self.action_space = spaces.Box(low, high, dtype=np.float32)
        box: Any = spaces.flatten_space(env.observation_space)
        # float64 holds every number of the parts; actions are float32, as planners give them.
        self.observation_space = spaces.Box(_flat64(box.low), _flat64(box.high), dtype=np.float64)
        reward = registered_reward(_id(env) or "")
        if reward is not None:
            self.dynamics = generic_spec(box.low.size, low.size, reward)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """As the environment's; the observation ``[obs]`` is flat."""
        obs, info = two_of(self.env, self.env.reset(seed=seed, options=options))
        return self._flat(obs), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """As the environment's, with a flat action ``[act]``, clipped to the bounds; the observation is flat.

        Raises:
            ValueError: for an action of another shape, or one that is not real and finite.
        """
        # In float64, where the bounds of every part are exact: each part then takes them in its own type.
        clipped = np.clip(check_action(action, self._bounds[0].size).astype(np.float32), *self._bounds)
        result = self.env.step(spaces.unflatten(self._inner[1], clipped))
        obs, reward, terminated, truncated, info = five_of(self.env, result)
        return self._flat(obs), as_reward(self.env, reward), bool(terminated), bool(truncated), info

    def _flat(self, obs: Any) -> np.ndarray:
        return _flat64(spaces.flatten(self._inner[0], obs))


class RewardInObservation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations end in the reward of the step that led to them and whether that step ended the episode (0 or 1).

    A dynamics model then learns the reward and the end of an episode together with the dynamics and adapts them online,
    and a planner reads both from predicted observations: ``dynamics`` is `learned_reward_spec`.

    Args:
        env: an environment with flat observations, for example a `FlatSpaces`.

    Raises:
        ValueError: if the observations are no vectors.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """See the class."""
        expect_type("RewardInObservation", "env", env, gymnasium.Env, _GIVES_ONE)
        super().__init__(env)
        inner: Any = env.observation_space
        if not isinstance(inner, spaces.Box) or len(inner.shape) != 1:
            raise ValueError(
                f"RewardInObservation got observations in {_short(inner)}; expected vectors. "
                "Flatten them first: RewardInObservation(FlatSpaces(env))."
            )
        low, high = _flat64(inner.low), _flat64(inner.high)
        self.observation_space = spaces.Box(
            np.append(low, [-np.inf, 0.0]), np.append(high, [np.inf, 1.0]), dtype=np.float64
        )
        action: Any = env.action_space
        self.dynamics = learned_reward_spec(low.size, action.shape[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """As the environment's; the last two entries of the observation ``[obs]`` are zero."""
        obs, info = two_of(self.env, self.env.reset(seed=seed, options=options))
        return np.append(np.asarray(obs, np.float64), [0.0, 0.0]), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """As the environment's; ``[obs]`` ends with the reward and with 1 if the episode was terminated, else 0."""
        obs, reward, terminated, truncated, info = five_of(self.env, self.env.step(action))
        number = as_reward(self.env, reward)
        seen = np.append(np.asarray(obs, np.float64), [number, float(terminated)])
        return seen, number, bool(terminated), bool(truncated), info


def learned_reward_spec(obs_dim: int, act_dim: int) -> DynamicsSpec:
    """The spec of a `RewardInObservation`: the model predicts change, reward and end of the episode.

    The input is (observation, action) without the two last entries; the target (change of the observation, reward,
    ended). Along a plan an end is never undone, and nothing is earned after it.

    Args:
        obs_dim: entries of the observation before the two were added.
        act_dim: entries of the action.
    """
    return DynamicsSpec(
        obs_dim=obs_dim + 2,
        act_dim=act_dim,
        feature_dim=obs_dim + act_dim,
        delta_dim=obs_dim + 2,
        features=_features,
        delta=_delta,
        apply_delta=_apply_delta,
        reward=_reward,
    )


def _features(obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"]) -> Float[Array, " dx"]:
    obs = jnp.asarray(obs)
    return jnp.concatenate([obs[:-2], jnp.asarray(action, obs.dtype)])


def _delta(obs: Float[ArrayLike, " obs"], next_obs: Float[ArrayLike, " obs"]) -> Float[Array, " dy"]:
    obs, next_obs = jnp.asarray(obs), jnp.asarray(next_obs)
    return jnp.concatenate([next_obs[:-2] - obs[:-2], next_obs[-2:]])


def _apply_delta(obs: Float[ArrayLike, " obs"], y: Float[ArrayLike, " dy"]) -> Float[Array, " obs"]:
    obs, y = jnp.asarray(obs), jnp.asarray(y)
    # Ends are rare, and a model that regresses 0 and 1 seldom predicts 1: more likely than not is enough.
    ended = jnp.maximum(obs[-1], (y[-1] > 0.5).astype(obs.dtype))
    return jnp.concatenate([obs[:-2] + y[:-2], y[-2:-1], ended[None]])


def _reward(
    obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"], next_obs: Float[ArrayLike, " obs"]
) -> Float[Array, ""]:
    obs, next_obs = jnp.asarray(obs), jnp.asarray(next_obs)
    # By the end before the step: the step that ends an episode still earns its reward.
    return jnp.where(obs[-1] > 0.5, jnp.zeros((), next_obs.dtype), next_obs[-2])


def _leaves(space: spaces.Space[Any], path: str) -> Iterator[tuple[str, spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _leaves(inner, f"{path}[{key!r}]")
    elif isinstance(space, spaces.Tuple):
        for number, inner in enumerate(space.spaces):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, space


def _check_observations(env: gymnasium.Env[Any, Any]) -> None:
    for path, space in _leaves(env.observation_space, "observation"):
        if not isinstance(space, _FIXED):
            raise ValueError(  # noqa: TRY004  # a space is a value here, and all that is refused is refused alike
                f"{_name(env)}: got {path} in {_short(space)}, which has no fixed number of entries; expected numbers "
                "(Box, Discrete, MultiDiscrete, MultiBinary, or dicts and tuples of them). Leave it out or encode it: "
                "gymnasium.wrappers.FilterObservation, TransformObservation."
            )
        # Two axes of bytes are a grey picture; of other numbers they may be a table of states.
        shape = space.shape or ()
        if isinstance(space, spaces.Box) and (
            len(shape) > 2 or (len(shape) == 2 and space.dtype == np.uint8)
        ):
            raise ValueError(
                f"{_name(env)}: got {path} in {_short(space)}, which looks like an image; expected a vector of "
                "numbers. The dynamics model is for states: use a variant of the environment with state observations, "
                "or encode the image first (gymnasium.wrappers.TransformObservation)."
            )


def _action_bounds(env: gymnasium.Env[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Flat bounds ``[act]`` of the actions."""
    for path, space in _leaves(env.action_space, "action"):
        if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype or np.int64, np.floating):
            raise ValueError(
                f"{_name(env)}: got {path} in {_short(space)}; expected real numbers (a Box of floats), since the "
                "planner searches among real vectors. Use a continuous variant of the environment, or wrap its actions "
                "(gymnasium.wrappers.TransformAction)."
            )
    # In float32, as planners give actions: there, bounds of float64 may be infinite or meet.
    box: Any = spaces.flatten_space(env.action_space)
    low, high = (np.asarray(limit, np.float32).reshape(-1) for limit in (box.low, box.high))
    wrong = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high) & (low < high))).tolist()
    if wrong or not low.size:
        raise ValueError(
            f"{_name(env)}: got action bounds low={low}, high={high} (entries {wrong}); expected finite ones with "
            "low < high, since the planner samples between them. Choose a range: gymnasium.wrappers.TransformAction("
            "env, lambda action: action, gymnasium.spaces.Box(low, high, dtype=numpy.float32))."
        )
    return low, high


def _flat64(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64).reshape(-1)


def _id(env: gymnasium.Env[Any, Any]) -> str | None:
    return None if env.unwrapped.spec is None else env.unwrapped.spec.id


def _name(env: gymnasium.Env[Any, Any]) -> str:
    return _id(env) or type(env.unwrapped).__name__


def _short(space: spaces.Space[Any]) -> str:
    text = str(space)
    return text if len(text) <= 120 else f"{text[:117]}..."
