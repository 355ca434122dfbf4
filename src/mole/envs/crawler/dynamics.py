"""The crawler as a learner sees it: features, targets and reward, JAX functions of single examples."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from mole._types import Array
from mole.envs.spec import DT, DynamicsSpec, limited, position

__all__ = [
    "CTRL_COST",
    "DRIFT_COST",
    "DT",
    "DYNAMICS",
    "HEADING_COST",
    "apply_delta",
    "delta",
    "features",
    "position",
    "posture",
    "reward",
]

CTRL_COST = 0.01
"""Weight of the squared action in the reward."""
# In the first trial, planning with a learned model went .50 to .74 m/s without the next two and .81 with them.
HEADING_COST = 0.5
"""Weight of the heading's angle from straight ahead, per rad."""
DRIFT_COST = 0.3
"""Weight of the speed sideways, per m/s."""


def _wrapped(angle: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.mod(angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi


def _turned(x: Float[Array, ""], y: Float[Array, ""], angle: Float[Array, ""]) -> tuple[Array, Array]:
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * x - sin * y, sin * x + cos * y


def features(obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"]) -> Float[Array, " dx"]:
    """The model's input, 46 numbers, none of which depends on where it is or which way it is heading.

    z, the unit vector upwards in the body's frame (3), 12 joints, velocity of the torso in a level frame
    turned with its heading (3), angular velocity in the body's frame (3), 12 joint velocities, and the limited
    action (12).
    """
    obs = jnp.asarray(obs)
    roll, pitch, yaw = obs[3], obs[4], obs[5]
    forward, left = _turned(obs[18], obs[19], -yaw)
    # The third row of the rotation matrix: roll and pitch without the jumps of their angles.
    up = [-jnp.sin(pitch), jnp.sin(roll) * jnp.cos(pitch), jnp.cos(roll) * jnp.cos(pitch)]
    head = jnp.stack([obs[2], *up])
    return jnp.concatenate([head, obs[6:18], jnp.stack([forward, left]), obs[20:], limited(action, obs)])


def delta(obs: Float[ArrayLike, " obs"], next_obs: Float[ArrayLike, " obs"]) -> Float[Array, " dy"]:
    """The model's target, 36 numbers: the change of every entry over one step.

    The changes of (x, y) and of the velocity along them are turned into the frame of the heading in `obs`, so
    that the same stride is the same target whatever the heading; the change of yaw is in [-pi, pi).
    """
    obs = jnp.asarray(obs)
    change = jnp.asarray(next_obs) - obs
    ahead, aside = _turned(change[0], change[1], -obs[5])
    faster, drift = _turned(change[18], change[19], -obs[5])
    turn = _wrapped(change[5])  # yaw jumps by 2 pi where the crawler has turned round
    return jnp.concatenate(
        [
            jnp.stack([ahead, aside]),
            change[2:5],
            turn[None],
            change[6:18],
            jnp.stack([faster, drift]),
            change[20:],
        ]
    )


def apply_delta(obs: Float[ArrayLike, " obs"], y: Float[ArrayLike, " dy"]) -> Float[Array, " obs"]:
    """The next observation, from an observation and a change: the inverse of `delta`."""
    obs, y = jnp.asarray(obs), jnp.asarray(y)
    east, north = _turned(y[0], y[1], obs[5])
    v_east, v_north = _turned(y[18], y[19], obs[5])
    yaw = _wrapped(obs[5] + y[5])
    return jnp.concatenate(
        [
            jnp.stack([obs[0] + east, obs[1] + north]),
            obs[2:5] + y[2:5],
            yaw[None],
            obs[6:18] + y[6:18],
            jnp.stack([obs[18] + v_east, obs[19] + v_north]),
            obs[20:] + y[20:],
        ]
    )


def reward(
    obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"], next_obs: Float[ArrayLike, " obs"]
) -> Float[Array, ""]:
    """Speed along world x in m/s - 0.3 |speed along y| - 0.5 |yaw after the step| - 0.01 |a|².

    `action` is the command, before the fault of any leg. The same number as the environment's; in float32 the
    difference of two positions far from the origin loses digits: about 1e-4 m/s at 100 m.
    """
    obs, next_obs = jnp.asarray(obs), jnp.asarray(next_obs)
    speed = (next_obs[0] - obs[0]) / DT
    drift = jnp.abs(next_obs[1] - obs[1]) / DT
    effort = jnp.sum(jnp.square(limited(action, obs)))
    return speed - DRIFT_COST * drift - HEADING_COST * jnp.abs(next_obs[5]) - CTRL_COST * effort


def posture(obs: Float[ArrayLike, " obs"]) -> Float[Array, ""]:
    """Cosine of the torso's tilt: 1 on its feet, -1 on its back."""
    obs = jnp.asarray(obs)
    return jnp.cos(obs[3]) * jnp.cos(obs[4])


DYNAMICS = DynamicsSpec(
    obs_dim=36,
    act_dim=12,
    feature_dim=46,
    delta_dim=36,
    features=features,
    delta=delta,
    apply_delta=apply_delta,
    reward=reward,
    posture=posture,
    position=position,
)
"""The functions of this module in one object."""
