"""The MuJoCo model of the six-legged crawler, built in code: no file is read."""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float64

__all__ = ["JOINTS", "LEGS", "LOCK_ANGLES", "MODEL_DT", "leg_geoms", "load_model", "observe"]

LEGS = ("front left", "middle left", "rear left", "front right", "middle right", "rear right")
"""The legs 1 to 6, in the order of the fault codes."""
JOINTS = tuple(f"{part} {leg}" for leg in LEGS for part in ("hip", "knee"))
"""The joint that each motor moves, in the order of the actions."""
LOCK_ANGLES = (0.0, -0.3)
"""Angles at which the hip and the knee of a locked leg are held, in rad: the foot is pressed to the ground."""
MODEL_DT = 0.01
"""Seconds per physics step, as of the half-cheetah."""

_HIP_RANGE = np.deg2rad([-30.0, 30.0])
_KNEE_RANGE = np.deg2rad([-30.0, 40.0])
_BODY = [0.36, 0.43, 0.50, 1.0]
_HEALTHY = [0.90, 0.66, 0.36, 1.0]
# Ends of thigh and shin in the leg's own frame, in metres: outwards, sideways, up.
_KNEE = [0.20, 0.0, 0.02]
_FOOT = [0.05, 0.0, -0.22]


def load_model() -> mujoco.MjModel:
    """Compiles the model: a free torso of 4 kg, six legs of two hinges and 12 motors; 6.9 kg in all.

    The springs of the joints hold it up with the motors off. Legs touch the ground, but no other leg. Every joint has
    an equality constraint, inactive until `data.eq_active` switches it on, which holds it at its angle of
    `LOCK_ANGLES`.
    """
    spec = mujoco.MjSpec()
    spec.modelname = "crawler"
    spec.option.timestep = MODEL_DT
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.compiler.degree = False
    _scene(spec)
    torso = spec.worldbody.add_body(name="torso", pos=[0.0, 0.0, 0.23])
    torso.add_freejoint(name="root")
    _geom(torso, "torso", mujoco.mjtGeom.mjGEOM_ELLIPSOID, size=[0.32, 0.13, 0.06], mass=4.0, rgba=_BODY)
    # A nose, without mass and without contacts: pictures show which way is forward.
    torso.add_geom(
        name="nose",
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[0.035, 0.0, 0.0],
        pos=[0.29, 0.0, 0.03],
        rgba=[0.95, 0.95, 0.92, 1.0],
        mass=0.0,
        contype=0,
        conaffinity=0,
    )
    for number, leg in enumerate(LEGS):
        _leg(spec, torso, leg, row=number % 3, side=1 if number < 3 else -1)
    _camera_and_light(torso)
    return spec.compile()


def leg_geoms(model: mujoco.MjModel) -> np.ndarray:
    """Ids of the geoms of every leg, ``[6, 3]``: thigh, shin and foot."""
    return np.array([[model.geom(f"{part} {leg}").id for part in ("thigh", "shin", "foot")] for leg in LEGS])


def observe(
    qpos: Float64[np.ndarray, "*batch nq"], qvel: Float64[np.ndarray, "*batch nv"]
) -> Float64[np.ndarray, "*batch obs"]:
    """The observations of simulator states: roll, pitch and yaw in the place of the quaternion."""
    obs = np.empty((*qpos.shape[:-1], qpos.shape[-1] - 1 + qvel.shape[-1]))
    obs[..., :3] = qpos[..., :3]
    w, x, y, z = (qpos[..., i] for i in range(3, 7))
    obs[..., 3] = np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    # Rounding can carry the sine of pitch past 1, where arcsin is NaN.
    obs[..., 4] = np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0))
    obs[..., 5] = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    obs[..., 6 : qpos.shape[-1] - 1] = qpos[..., 7:]
    obs[..., qpos.shape[-1] - 1 :] = qvel
    return obs


def _geom(body: Any, name: str, shape: Any, **settings: Any) -> None:
    # Geoms collide where the contype of one meets the conaffinity of the other. The floor has (1, 0): all the rest
    # touches the floor and nothing else.
    body.add_geom(
        name=name, type=shape, contype=0, conaffinity=1, condim=3, friction=[1.0, 0.005, 0.0001], **settings
    )


def _leg(spec: Any, torso: Any, leg: str, row: int, side: int) -> None:
    capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
    # The leg points along its own x axis: outwards (90°), the front legs turned 25° forward and the rear ones 25° back.
    heading = side * np.deg2rad((65.0, 90.0, 115.0)[row])
    thigh = torso.add_body(
        name=f"thigh {leg}",
        pos=[(0.26, 0.0, -0.26)[row], side * (0.10, 0.13, 0.10)[row], 0.0],
        quat=[np.cos(heading / 2), 0.0, 0.0, np.sin(heading / 2)],
    )
    # Mirrored, so that + swings forward on both sides, and + lifts.
    _joint(spec, thigh, f"hip {leg}", [0.0, 0.0, -side], _HIP_RANGE, LOCK_ANGLES[0])
    _geom(
        thigh,
        f"thigh {leg}",
        capsule,
        fromto=[0.0, 0.0, 0.0, *_KNEE],
        size=[0.028, 0, 0],
        mass=0.25,
        rgba=_HEALTHY,
    )
    shin = thigh.add_body(name=f"shin {leg}", pos=_KNEE)
    _joint(spec, shin, f"knee {leg}", [0.0, -1.0, 0.0], _KNEE_RANGE, LOCK_ANGLES[1])
    _geom(
        shin,
        f"shin {leg}",
        capsule,
        fromto=[0.0, 0.0, 0.0, *_FOOT],
        size=[0.022, 0, 0],
        mass=0.2,
        rgba=_HEALTHY,
    )
    _geom(
        shin,
        f"foot {leg}",
        mujoco.mjtGeom.mjGEOM_SPHERE,
        pos=_FOOT,
        size=[0.03, 0, 0],
        mass=0.033,
        rgba=_HEALTHY,
    )


def _joint(spec: Any, body: Any, name: str, axis: list[float], limits: np.ndarray, lock: float) -> None:
    # Springs that carry the body with the motors off, at 0.23 m. In a trial of 4,000 random commands at full strength
    # the cosine of the torso's tilt stayed above .90: data can be gathered without falls, and nothing need end.
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=axis,
        limited=True,
        range=limits,
        damping=1.0,
        armature=0.02,
        stiffness=4.0,
    )
    motor = spec.add_actuator(
        name=name, trntype=mujoco.mjtTrn.mjTRN_JOINT, target=name, ctrllimited=True, ctrlrange=[-1.0, 1.0]
    )
    motor.set_to_motor()
    motor.gear[0] = 10.0
    held = spec.add_equality(
        name=f"lock {name}",
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=name,
        active=False,
    )
    held.data[:5] = [lock, 0.0, 0.0, 0.0, 0.0]


def _scene(spec: Any) -> None:
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.42, 0.55, 0.70],
        rgb2=[0.80, 0.85, 0.90],
        width=64,
        height=384,
    )
    spec.add_texture(
        name="tiles",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=[0.30, 0.34, 0.38],
        rgb2=[0.38, 0.43, 0.48],
        width=128,
        height=128,
    )
    material = spec.add_material(name="floor", texuniform=True, texrepeat=[1.0, 1.0], reflectance=0.0)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0.0, 0.0, 40.0],  # without end
        material="floor",
        contype=1,
        conaffinity=0,
        condim=3,
        friction=[1.0, 0.005, 0.0001],
    )
    # Shadows are most of a frame's time: 480 × 270 pixels took 79 ms with 4096 and fourfold samples, 25 with 1024 and
    # one, and 8 without shadows.
    spec.visual.quality.shadowsize = 1024
    spec.visual.headlight.ambient = [0.45, 0.45, 0.45]
    spec.visual.headlight.diffuse = [0.35, 0.35, 0.35]
    spec.visual.rgba.haze = [0.62, 0.70, 0.79, 1.0]


def _camera_and_light(torso: Any) -> None:
    # A directional light stripes the shadows; a spot that follows the torso does not.
    torso.add_light(
        name="spot",
        type=mujoco.mjtLightType.mjLIGHT_SPOT,
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        pos=[-0.8, -1.6, 3.2],
        dir=[0.22, 0.42, -0.88],
        diffuse=[0.9, 0.9, 0.88],
        specular=[0.2, 0.2, 0.2],
        cutoff=60,
        exponent=2,
        castshadow=True,
    )
    # It looks at the torso from behind its right shoulder; axes: right, up, backwards.
    back = np.array([-0.62, -1.45, 0.85])
    right = np.cross([0.0, 0.0, 1.0], back)
    axes = np.stack([right, np.cross(back, right), back], axis=1)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, (axes / np.linalg.norm(axes, axis=0)).ravel())
    torso.add_camera(
        name="track",
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        pos=back,
        quat=quat,
        fovy=36.0,
    )
