"""The MuJoCo model of the half-cheetah: Gymnasium's, with unlimited motors and better light."""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from jaxtyping import Float64

__all__ = ["FIELD_COLUMNS", "FIELD_HEIGHT", "FIELD_ROWS", "LIMBS", "fault_colours", "load_model"]

LIMBS = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
"""The limb that each motor moves, in the order of the actions."""

FIELD_COLUMNS = 500
"""Columns of the height field, between 501 heights along x."""
FIELD_ROWS = 2
"""Heights along y. Two: with a row under the cheetah every foot touches the ground on both of its sides."""
FIELD_HEIGHT = 50.0
"""Height in metres that 1 in the height field's data stands for."""
_FIELD_HALF_DEPTH = 4.0

_HEALTHY = np.array([0.90, 0.66, 0.36, 1.0])
_MILD = np.array([0.98, 0.58, 0.52, 1.0])
_SEVERE = np.array([0.72, 0.02, 0.05, 1.0])


def load_model(*, column: float | None = None, friction: float | None = None) -> mujoco.MjModel:
    """Compiles the model: bit for bit HalfCheetah-v5's dynamics, without its warning and log file.

    Two things differ. MuJoCo clips a limited actuator's control to [-1, 1]; a hidden factor of 3 must give
    three times the torque, so the actuators are made unlimited here and the environment clips the *command*.
    And the scene has a spot light that follows the torso, a dark floor and a camera farther away.

    Args:
        column: if given, the floor is a height field whose columns are that wide, in metres, level at 0.
        friction: the floor's sliding friction, HalfCheetah's .4 if None.
    """
    path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
    spec = mujoco.MjSpec.from_file(str(path))
    total_mass = spec.compiler.settotalmass
    # Compiling with this attribute warns and writes MUJOCO_LOG.TXT; the calls below are what it stands for.
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
