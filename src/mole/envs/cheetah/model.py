"""The half-cheetah: its MuJoCo model, what a learner sees of it, and what its environments have in common.

The model is Gymnasium's, with unlimited motors and better light. Features, targets and reward are JAX functions of
single examples.
"""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import ArrayLike, Float, Float64

from mole._types import Array
from mole.envs.scheduled_env import ScheduledEnv
from mole.envs.schedules.schedule import Schedule
from mole.envs.spec import DT, DynamicsSpec, Shaping, limited, position

__all__ = [
    "CTRL_COST",
    "DT",
    "DYNAMICS",
    "FIELD_COLUMNS",
    "FIELD_HEIGHT",
    "FIELD_ROWS",
    "LIMBS",
    "UPRIGHT",
    "CheetahEnv",
    "apply_delta",
    "delta",
    "fault_colours",
    "features",
    "load_model",
    "position",
    "posture",
    "reward",
    "standing",
]

LIMBS = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
"""The limb that each motor moves, in the order of the actions."""

FIELD_COLUMNS = 500
"""Columns of the height field, between 501 heights along x."""
FIELD_ROWS = 2
"""Heights along y: two, at the edges of the field. A third row would lie under the cheetah, and every foot would touch
the ground on both sides of that row."""
FIELD_HEIGHT = 50.0
"""Height in metres that 1 in the height field's data stands for."""
_FIELD_HALF_DEPTH = 4.0

_HEALTHY = np.array([0.90, 0.66, 0.36, 1.0])
_MILD = np.array([0.98, 0.58, 0.52, 1.0])
_SEVERE = np.array([0.72, 0.02, 0.05, 1.0])


def load_model(*, column: float | None = None, friction: float | None = None) -> mujoco.MjModel:
    """Compiles the model: bit for bit HalfCheetah-v5's dynamics, without its warning and log file.

    Two things differ. MuJoCo clips a limited actuator's control to [-1, 1]; a hidden factor of 3 must give three times
    the torque, so the actuators are unlimited here and the environment clips the *command*. And the scene has a spot
    light that follows the torso, a dark floor and a camera farther away.

    Args:
        column: if given, the floor is a height field whose columns are that wide, in metres, level at 0.
        friction: the floor's sliding friction, HalfCheetah's .4 if None.
    """
    path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
    spec = mujoco.MjSpec.from_file(str(path))
    total_mass = spec.compiler.settotalmass
    # MuJoCo 4 warns about this attribute and writes MUJOCO_LOG.TXT into the working folder; the two calls below do the
    # same as it, without either.
    spec.compiler.settotalmass = -1
    for actuator in spec.actuators:
        actuator.ctrllimited = False
    _decorate(spec)
    floor = spec.geom("floor")
    if friction is not None:
        floor.friction = [friction, *floor.friction[1:]]
    if column is not None:
        _undulate(spec, floor, column)
    model = spec.compile()
    mujoco.mj_setTotalmass(model, total_mass)
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def _undulate(spec: mujoco.MjSpec, floor: mujoco.MjsGeom, column: float) -> None:
    # Size: half the length, half the depth, the height of 1 in the data, and the thickness of the ground below 0.
    spec.add_hfield(
        name="terrain",
        nrow=FIELD_ROWS,
        ncol=FIELD_COLUMNS + 1,
        size=[0.5 * FIELD_COLUMNS * column, _FIELD_HALF_DEPTH, FIELD_HEIGHT, 1.0],
        userdata=np.zeros(FIELD_ROWS * (FIELD_COLUMNS + 1)),
    )
    floor.type, floor.hfieldname, floor.size = mujoco.mjtGeom.mjGEOM_HFIELD, "terrain", [0.0, 0.0, 0.0]


def _decorate(spec: mujoco.MjSpec) -> None:
    for geom in spec.geoms:
        if geom.name != "floor":
            geom.rgba = _HEALTHY
    floor = spec.texture("texplane")
    floor.rgb1, floor.rgb2 = [0.30, 0.34, 0.38], [0.38, 0.43, 0.48]
    material = spec.material("MatPlane")
    material.reflectance, material.specular, material.shininess = 0.0, 0.2, 0.2
    material.texuniform, material.texrepeat = True, [1.0, 1.0]
    spec.geom("floor").rgba = [1.0, 1.0, 1.0, 1.0]
    spec.geom("floor").size = [0.0, 0.0, 40.0]  # drawn without end: a good run leaves 40 m behind
    for texture in spec.textures:
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            texture.rgb1, texture.rgb2 = [0.42, 0.55, 0.70], [0.80, 0.85, 0.90]
    # A directional light stripes the shadows; a spot that follows the torso does not.
    light = spec.lights[0]
    spec.delete(light)
    spec.body("torso").add_light(
        name="spot",
        type=mujoco.mjtLightType.mjLIGHT_SPOT,
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        pos=[-1.0, -2.0, 4.0],
        dir=[0.22, 0.42, -0.88],
        diffuse=[0.9, 0.9, 0.88],
        specular=[0.2, 0.2, 0.2],
        cutoff=60,
        exponent=2,
        castshadow=True,
    )
    spec.visual.quality.shadowsize = 1024
    spec.visual.headlight.ambient = [0.45, 0.45, 0.45]
    spec.visual.headlight.diffuse = [0.35, 0.35, 0.35]
    spec.visual.rgba.haze = [0.62, 0.70, 0.79, 1.0]
    camera = spec.camera("track")
    camera.pos = [0.0, -3.2, 0.75]
    down = 0.15  # radians below the horizon; the XML's axes take precedence over a quaternion
    camera.alt.xyaxes = [1.0, 0.0, 0.0, 0.0, np.sin(down), np.cos(down)]


def fault_colours(factors: Float64[np.ndarray, " act"]) -> Float64[np.ndarray, "act 4"]:
    """Colour of each limb: its own where the factor is 1, else red, darker the farther it is from 1."""
    severity = np.clip(np.abs(factors - 1.0) / 2.0, 0.0, 1.0)[:, None]
    red = (1.0 - severity) * _MILD + severity * _SEVERE
    return np.where(severity == 0.0, _HEALTHY, red)


CTRL_COST = 0.05
"""Weight of the squared action in the reward: that of the authors' code; HalfCheetah-v5 has twice as much."""


def features(obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"]) -> Float[Array, " dx"]:
    """The model's input, 24 numbers: z, sin and cos of pitch, 6 joints, 9 velocities, the limited action.

    x is left out because nothing depends on it. Pitch enters by sine and cosine: it is unwrapped, and a turn changes
    nothing.
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


UPRIGHT = 0.8
"""Cosine of pitch from which on `standing` has nothing to add: a run leans forward by 30° and more."""


def standing(
    obs: Float[ArrayLike, " obs"], action: Float[ArrayLike, " act"], next_obs: Float[ArrayLike, " obs"]
) -> Float[Array, ""]:
    """min(cos pitch, .8) − .8 after the step: 0 on its feet, −1.8 on its back. The shaping ``posture``.

    To lie on its back is a local optimum of a short plan: it slides forward, and to stand up costs more than ten steps.
    """
    return jnp.minimum(posture(next_obs), UPRIGHT) - UPRIGHT


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
    shaping=(Shaping("posture", standing),),
)
"""The functions of this module in one object."""


# What every half-cheetah of this package shares: its start, its reward and its camera.


class CheetahEnv(ScheduledEnv):
    """A half-cheetah in a world with one hidden value at a time. Abstract, as `ScheduledEnv`."""

    dynamics = DYNAMICS
    _DISTANCE = 3.4
    _TERMS = ("forward", "ctrl")
    _REMEDY = "Call reset(), and use smaller values in the schedule or gentler actions."

    def __init__(
        self, schedule: Schedule, episode_steps: int | None, reset_noise_scale: float, **kwargs: Any
    ):
        """As `ScheduledEnv`."""
        super().__init__("half_cheetah.xml", schedule, episode_steps, reset_noise_scale, **kwargs)

    def _starting_state(self) -> tuple[np.ndarray, np.ndarray]:
        # In the order of HalfCheetah-v5, so that it is the same for the same seed.
        noise = self.np_random.uniform(-self._noise, self._noise, size=self.model.nq)
        qvel = self.init_qvel + self._noise * self.np_random.standard_normal(self.model.nv)
        return self.init_qpos + noise, qvel

    def _earned(
        self, before: np.ndarray, command: np.ndarray, obs: Float[np.ndarray, " obs"]
    ) -> tuple[float, ...]:
        # Of the simulator's x, not the observed one: on terrain it is the one that is near 0, with more digits.
        velocity = float(self.data.qpos[0] - before[0]) / DT
        return velocity, 0.0 - CTRL_COST * float(command @ command)  # 0.0 -: no negative zeros
