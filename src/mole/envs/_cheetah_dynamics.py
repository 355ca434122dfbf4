"""The half-cheetah as a learner sees it: features, targets and reward, JAX functions of single examples."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from mole._types import Array
from mole.envs._dynamics import DT, limited, position
from mole.envs.spec import DynamicsSpec

__all__ = ["CTRL_COST", "DT", "DYNAMICS", "apply_delta", "delta", "features", "position", "posture", "reward"]

CTRL_COST = 0.05
"""Weight of the squared action in the reward."""


def features(obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"]) -> Float[Array, " dx"]:
    """The model's input, 24 numbers: z, sin and cos of pitch, 6 joints, 9 velocities, the limited action.

    x is left out because nothing depends on it; pitch enters as an angle on the circle.
    """
    obs = jnp.asarray(obs)
    pitch = obs[2]
    head = jnp.stack([obs[1], jnp.sin(pitch), jnp.cos(pitch)])
    return jnp.concatenate([head, obs[3:], limited(action, obs)])


def delta(obs: Float[ArrayLike, " obs"], next_obs: Float[ArrayLike, " obs"]) -> Float[Array, " dy"]:
    """The model's target: the change of all 18 entries over one step."""
    return jnp.asarray(next_obs) - jnp.asarray(obs)


def apply_delta(obs: Float[ArrayLike, " obs"], y: Float[ArrayLike, " dy"]) -> Float[Array, " obs"]:
    """The next observation, from an observation and a change: the inverse of `delta`."""
    return jnp.asarray(obs) + jnp.asarray(y)


def reward(
    obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"], next_obs: Float[ArrayLike, " obs"]
) -> Float[Array, ""]:
    """Forward velocity in m/s minus 0.05 |a|², `action` being the command before the hidden factors.

    The same number as the environment's. In float32 the difference of two positions far from the origin loses
    digits: about 1e-4 m/s at 100 m.
    """
    obs, next_obs = jnp.asarray(obs), jnp.asarray(next_obs)
    velocity = (next_obs[0] - obs[0]) / DT
    return velocity - CTRL_COST * jnp.sum(jnp.square(limited(action, obs)))


def posture(obs: Float[ArrayLike, " obs"]) -> Float[Array, ""]:
    """Cosine of pitch: 1 on its feet, -1 on its back."""
    return jnp.cos(jnp.asarray(obs)[2])


DYNAMICS = DynamicsSpec(
    obs_dim=18,
    act_dim=6,
    feature_dim=24,
    delta_dim=18,
    features=features,
    delta=delta,
    apply_delta=apply_delta,
    reward=reward,
    posture=posture,
    position=position,
)
"""The functions of this module in one object."""
