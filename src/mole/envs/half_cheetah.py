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
from mole.envs._rendering import opengl_ready
from mole.envs.motors import Factors, check_command, motor_vocabulary, task_schedule
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
_WINDOW_CAMERA = {"type": mujoco.mjtCamera.mjCAMERA_TRACKING.value, "trackbodyid": 1, "distance": 3.4}
_BAD_STATE = mujoco.mjtWarning.mjWARN_BADQPOS.value  # the first of MuJoCo's warnings about bad numbers
_LIMIT = 1e6  # never reached; Gymnasium's checker warns about infinite bounds


class HalfCheetahMotorsEnv(MujocoEnv):
    """A half-cheetah whose motors fail, within an episode or between episodes, without telling the agent.

    ## Description
    The planar half-cheetah of Gymnasium's `HalfCheetah-v5`: 6 actuated joints, the same model bit for bit.
    Each motor has a hidden factor by which the commanded action is multiplied on its way to the simulator. A
    factor of -1 turns the motor round, 0.05 leaves it nearly dead, 3 gives three times the torque (the
    simulator's own clipping of controls to [-1, 1] is switched off; it is the command that is clipped). The
    factors are the *task*: they are not in the observation, and they may change at any step.

    ## Action space
    `Box(-1, 1, (6,), float32)`: commands of the back thigh, shin and foot and the front thigh, shin and foot
    motors. Commands out of range are clipped before everything else, the control cost included. A wrong
    shape, a dtype that is not real or a value that is not finite raises `ValueError`.

    ## Observation space
    `Box(-1e6, 1e6, (18,), float64)`, the bounds never being reached: all of `qpos` and `qvel`, in the order
    of `HalfCheetah-v5` with the position included.

    | Num  | Observation                                             | Unit  |
    | ---- | ------------------------------------------------------- | ----- |
    | 0    | x, metres forward                                       | m     |
    | 1    | z, height relative to the starting height               | m     |
    | 2    | pitch (unwrapped; 0 upright)                            | rad   |
    | 3-5  | angles of the back thigh, shin, foot                    | rad   |
    | 6-8  | angles of the front thigh, shin, foot                   | rad   |
    | 9    | velocity of x                                           | m/s   |
    | 10   | velocity of z                                           | m/s   |
    | 11   | angular velocity of pitch                               | rad/s |
    | 12-17| angular velocities of the six joints, in the same order | rad/s |

    ## Rewards
    `(x_after - x_before) / dt - 0.05 * |a|^2`, with dt = 0.05 s and `a` the clipped command, before the
    hidden factors. `mole.envs.half_cheetah.reward` is the same number as a pure JAX function.

    ## Starting state
    As `HalfCheetah-v5`, and the same for the same seed: positions uniform within `reset_noise_scale` of rest,
    velocities normal with that standard deviation.

    ## Episode end
    Never terminated. Truncated after `episode_steps`. If the simulation diverges (seen with factor 3 on all
    motors at full command), `FloatingPointError` is raised: MuJoCo alone would silently start anew.

    ## Arguments
    | Parameter           | Default   | Description                                                       |
    | ------------------- | --------- | ----------------------------------------------------------------- |
    | `tasks`             | `"signs"` | distribution of the factors of a whole episode, see below         |
    | `schedule`          | None      | factors that change within the episode; excludes `tasks`          |
    | `episode_steps`     | 1000      | steps until truncation; None for never                            |
    | `reset_noise_scale` | 0.1       | of the starting state                                             |
    | `render_mode`, …    |           | `width`, `height`, `camera_name` and the rest as any `MujocoEnv`; |
    |                     |           | limbs whose motor factor is not 1 are drawn red                   |

    ## Tasks
    Drawn at every reset from the environment's seeded generator: `"signs"` (any of the 64 sign vectors; the
    default without a schedule), `"few-signs"` (at most one negative), `"magnitudes"` (U(0.05, 2)
    each), or a function `rng -> factors`.

    A schedule is text (grammar: `mole.envs.schedule_text`): `identity`, `negative` (all -1), `magnitudes`
    (fixed 0.05/0.1/3/3/0.05/2), `fixed:1/1/-1/-1/-1/1`, `alternate:A,B:100` (A = 1/1/-1/-1/-1/1, B = -A; two
    values or more), `random:300` (a new sign vector every 300 steps), `random-magnitudes:100`; or a function
    `step -> factors`; or a list of `(factors, steps)`, repeated.

    `info`, at reset and at every step, for an evaluator's eyes only: `task` (number of the current factors in
    this episode, by first appearance) and `factors`, both those that governed the transition just made (at
    reset: the one to come); `x_position`, `x_velocity`, `reward_forward`, `reward_ctrl`.

    ## Version history
    * v0: first version.
    """

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
        **kwargs: Any,
    ):
        """See the class."""
        if episode_steps is not None and episode_steps < 1:
            raise ValueError(f"got episode_steps={episode_steps}; expected at least 1, or None for no limit.")
        self.schedule = task_schedule(tasks, schedule, len(LIMBS), SCHEDULES)
        self.episode_steps = episode_steps
        self._noise = reset_noise_scale
        if kwargs.get("camera_id") is None:
            kwargs.setdefault("camera_name", "track")
        kwargs.setdefault("default_camera_config", _WINDOW_CAMERA)
        super().__init__(
            "half_cheetah.xml",
            frame_skip=5,
            observation_space=spaces.Box(-_LIMIT, _LIMIT, (DYNAMICS.obs_dim,), np.float64),
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
        self._enter(self._timeline.at(0))
        return self._observe()

    def _enter(self, factors: Factors) -> None:
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
            "reward_ctrl": 0.0 - cost,  # not -0.0 at reset
        }

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Applies `action` for 0.05 s. See the class."""
        command = check_command(action, len(LIMBS))
        factors = self._started().at(self._step)
        if factors is not self._factors:
            self._enter(factors)
        data = self.data
        x_before = data.qpos[0]
        data.ctrl[:] = command * self._factors
        mujoco.mj_step(self.model, data, nstep=self.frame_skip)
        if data.warning.number[_BAD_STATE:].any():  # MuJoCo has silently started anew or dropped the control
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
        if self.mujoco_renderer.viewer is not None:
            return super().render()
        with opengl_ready(self.render_mode):
            return super().render()

    def upcoming_task(self) -> int:
        """Number of the hidden task that will govern the next transition. For an evaluator only."""
        return self._numbers.number(self._started().at(self._step))

    def _started(self) -> Timeline:
        if self._timeline is None:
            raise error.ResetNeeded("the episode has not begun or has failed; call reset() first.")
        return self._timeline
