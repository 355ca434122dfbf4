"""`mole/HalfCheetahMotors-v0`: a half-cheetah whose motors fail without telling anybody."""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import error, spaces
from gymnasium.envs.mujoco import MujocoEnv

from mole.envs._cheetah_dynamics import (
    CTRL_COST,
    DT,
    DYNAMICS,
    apply_delta,
    delta,
    features,
    position,
    posture,
    reward,
)
from mole.envs._cheetah_model import LIMBS, fault_colours, load_model
from mole.envs.motors import Factors, motor_vocabulary, task_schedule
from mole.envs.schedule import Schedule, TaskNumbers, Timeline

__all__ = [
    "DYNAMICS",
    "ENV_ID",
    "SCHEDULES",
    "HalfCheetahMotorsEnv",
    "apply_delta",
    "delta",
    "features",
    "position",
    "posture",
    "reward",
]

ENV_ID = "mole/HalfCheetahMotors-v0"
_A = np.array([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])
SCHEDULES = motor_vocabulary(
    len(LIMBS), {"A": _A, "B": -_A, "magnitudes": np.array([0.05, 0.1, 3.0, 3.0, 0.05, 2.0])}
)
"""The names that this environment's schedules may use."""
_LIMIT = 1e6  # never reached; Gymnasium's checker warns about infinite bounds


class HalfCheetahMotorsEnv(MujocoEnv):
    """DOC"""

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 20,
    }
    dynamics = DYNAMICS

    def __init__(
        self,
        tasks: str | Callable[[np.random.Generator], Any] | None = None,
        schedule: str | Schedule | Callable[[int], Any] | Sequence[tuple[Any, int]] | None = None,
        episode_steps: int | None = 1000,
        reset_noise_scale: float = 0.1,
        camera_name: str = "track",
        **kwargs: Any,
    ):
        """See the class."""
        if episode_steps is not None and episode_steps < 1:
            raise ValueError(
                f"got episode_steps={episode_steps}; expected at least 1, or None for episodes that never end."
            )
        self.schedule = task_schedule(tasks, schedule, len(LIMBS), SCHEDULES)
        self.episode_steps = episode_steps
        self._noise = reset_noise_scale
        super().__init__(
            "half_cheetah.xml",
            frame_skip=5,
            observation_space=spaces.Box(-_LIMIT, _LIMIT, (DYNAMICS.obs_dim,), np.float64),
            camera_name=camera_name,
            default_camera_config={"trackbodyid": 1, "type": 1, "distance": 3.4, "elevation": -8.0},
            **kwargs,
        )
        self._limb_geoms = [self.model.geom(name).id for name in LIMBS]
        self._step = 0
        self._timeline: Timeline | None = None
        self._numbers = TaskNumbers()
        self._factors: Factors = np.ones(len(LIMBS))
        self._task = 0

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = load_model()
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, self.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, self.height)
        return model, mujoco.MjData(model)

    def _set_action_space(self) -> Any:
        # Not the actuators' range: they are unlimited.
        self.action_space = spaces.Box(-1.0, 1.0, (DYNAMICS.act_dim,), np.float32)
        return self.action_space

    def reset_model(self) -> np.ndarray:
        """Draws the starting state as HalfCheetah-v5 does, then this episode's schedule."""
        noise = self.np_random.uniform(-self._noise, self._noise, size=self.model.nq)
        qvel = self.init_qvel + self._noise * self.np_random.standard_normal(self.model.nv)
        self.set_state(self.init_qpos + noise, qvel)
        self._timeline = self.schedule.timeline(int(self.np_random.integers(2**63)))
        self._numbers = TaskNumbers()
        self._step = 0
        self._enter(self._timeline.at(0), force=True)
        return self._observe()

    def _enter(self, factors: Factors, *, force: bool = False) -> None:
        if force or factors is not self._factors:
            self._factors = factors
            self._task = self._numbers.number(factors)

    def _observe(self) -> np.ndarray:
        return np.concatenate([self.data.qpos, self.data.qvel])

    def _get_reset_info(self) -> dict[str, Any]:
        return self._info(0.0, 0.0)

    def _info(self, velocity: float, cost: float) -> dict[str, Any]:
        return {
            "task": self._task,
            "factors": self._factors.copy(),
            "x_position": float(self.data.qpos[0]),
            "x_velocity": velocity,
            "reward_forward": velocity,
            "reward_ctrl": -cost,
        }

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Applies `action` for 0.05 s. See the class."""
        if self._timeline is None:
            raise error.ResetNeeded("step() was called before reset(); call reset() first.")
        command = _command(action)
        self._enter(self._timeline.at(self._step))
        data = self.data
        x_before, time_before = data.qpos[0], data.time
        data.ctrl[:] = command * self._factors
        mujoco.mj_step(self.model, data, nstep=self.frame_skip)
        if data.time < time_before:  # MuJoCo has silently started the simulation anew
            self._timeline = None
            raise FloatingPointError(
                f"the simulation became unstable at step {self._step} with motor factors {self._factors}; "
                "expected a finite state. Call reset(), and use smaller factors or gentler actions."
            )
        self._step += 1
        velocity = float(data.qpos[0] - x_before) / DT
        cost = CTRL_COST * float(command @ command)
        truncated = self.episode_steps is not None and self._step >= self.episode_steps
        if self.render_mode == "human":
            self.render()
        return self._observe(), velocity - cost, False, truncated, self._info(velocity, cost)

    def render(self) -> Any:
        """Renders as the render mode says; limbs whose motor factor is not 1 are red."""
        self.model.geom_rgba[self._limb_geoms] = fault_colours(self._factors)
        return super().render()


def _command(action: Any) -> np.ndarray:
    array = np.asarray(action)
    if array.shape != (len(LIMBS),):
        raise ValueError(
            f"got an action of shape {array.shape}; expected {(len(LIMBS),)}: one number per motor."
        )
    if array.dtype.kind not in "fiu":
        raise ValueError(f"got an action of dtype {array.dtype}; expected real numbers, for example float32.")
    command = array.astype(np.float64)
    if not np.isfinite(command).all():
        raise ValueError(
            f"got the action {array}; expected finite numbers in [-1, 1]. Check the policy or planner for NaN."
        )
    return np.clip(command, -1.0, 1.0)
