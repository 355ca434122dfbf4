"""`mole/CrawlerLegs-v0`: a six-legged crawler whose legs fail, which the agent is not told."""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float64

from mole.envs.cheetah.model import fault_colours
from mole.envs.crawler import model as _crawler_model
from mole.envs.crawler.dynamics import CTRL_COST, DRIFT_COST, DT, DYNAMICS, HEADING_COST, reward
from mole.envs.crawler.legs import (
    CODES,
    DISTRIBUTIONS,
    LEG_COUNT,
    SAMPLERS,
    SETTINGS,
    Codes,
    fault_name,
    leg_vocabulary,
)
from mole.envs.crawler.model import leg_geoms, load_model, observe
from mole.envs.scheduled_env import ScheduledEnv
from mole.envs.schedules.text import ScheduleSource, TaskSource, episode_schedule

__all__ = [
    "DYNAMICS",
    "ENV_ID",
    "SCHEDULES",
    "SETTINGS",
    "CrawlerLegsEnv",
    "reward",
]

ENV_ID = "mole/CrawlerLegs-v0"
SCHEDULES = leg_vocabulary()
"""The names that this environment's schedules may use."""
_GAIN = np.array([1.0, 0.0, 0.0, -1.0])  # by code: what becomes of a leg's two commands
_COLOUR_OF = np.array([1.0, 0.6, 0.0, -1.0])  # by code, as the motor factor that has this colour


class CrawlerLegsEnv(ScheduledEnv):
    """A six-legged crawler whose legs fail, within an episode or between episodes, without telling the agent.

    ## Description
    A free torso (ellipsoid, 0.64 m long, 4 kg) on six legs of two hinges: 12 motors, 6.9 kg in all. The model
    is built in code. Springs in the joints carry it while the motors are off; random actions do not tip it over
    (on its back it could not get up). Legs touch the ground, but no other leg.

    A leg may be *limp* (its motors give no torque), *down* (its joints are held, the foot pressed to the
    ground, the motors off: it drags) or *inverted* (its motors turn the wrong way). The state of the six legs
    is the *task*: it is not in the observation, and it may change at any step. A leg that goes down is pulled
    to its place within about 0.1 s.

    Legs: 1 front left, 2 middle left, 3 rear left, 4 front right, 5 middle right, 6 rear right.

    ## Action space
    `Box(-1, 1, (12,), float32)`: torque commands (±1 is ±10 N m) of hip and knee of leg 1, of leg 2, …; a
    positive hip command swings the leg forward, a positive knee command lifts the foot. Commands out of range
    are clipped before everything else, the control cost included. A wrong shape, a dtype that is not real or a
    value that is not finite raises `ValueError`.

    ## Observation space
    `Box(-1e6, 1e6, (36,), float64)`, the bounds never being reached.

    | Num   | Observation                                                     | Unit  |
    | ----- | --------------------------------------------------------------- | ----- |
    | 0-2   | x (forward), y (left), z of the torso                           | m     |
    | 3-5   | roll, pitch, yaw (yaw last turned, in [-pi, pi], 0 ahead)       | rad   |
    | 6-17  | angles of hip and knee of leg 1, of leg 2, …                    | rad   |
    | 18-20 | velocity of the torso along the world's x, y, z                 | m/s   |
    | 21-23 | angular velocity of the torso in its own frame                  | rad/s |
    | 24-35 | angular velocities of the joints, in the order of their angles  | rad/s |

    ## Rewards
    `(x_after - x_before) / dt - 0.3 |y_after - y_before| / dt - 0.5 |yaw_after| - 0.01 |a|^2`, with dt = 0.05 s
    and `a` the clipped command, before the faults. The terms in y and yaw keep a crawler whose legs differ on
    its course. The cost of control is a fifth of the half-cheetah's: at 0.05 a gait's twelve commands would cost
    about 0.3, and standing still, which earns 0, would be the best that a modest model of the dynamics can plan.
    `mole.envs.crawler.env.reward` is the same number as a pure JAX function.

    ## Starting state
    Standing at x = y = 0; joint angles and yaw uniform within `reset_noise_scale` of rest, velocities normal
    with that standard deviation.

    ## Episode end
    Never terminated. Truncated after `episode_steps`. If the simulation diverges (never seen),
    `FloatingPointError` is raised: MuJoCo alone would silently start anew.

    ## Arguments
    | Parameter           | Default  | Description                                                       |
    | ------------------- | -------- | ----------------------------------------------------------------- |
    | `tasks`             | `"legs"` | distribution of the faults of a whole episode, see below          |
    | `schedule`          | None     | faults that change within the episode; excludes `tasks`           |
    | `episode_steps`     | 1000     | steps until truncation; None for never                            |
    | `reset_noise_scale` | 0.1      | of the starting state                                             |
    | `render_mode`, …    |          | `width`, `height`, `camera_name` and the rest as any `MujocoEnv`; |
    |                     |          | failed legs are drawn red                                         |

    ## Tasks
    A vector of six codes: 0 healthy, 1 limp, 2 down, 3 inverted. Drawn at every reset from the environment's
    seeded generator: `"legs"` (the faults that training sees: healthy, one limp leg, or one of down-1,
    invert-2, down-3, invert-4, down-5, invert-6), `"unseen"` (one of invert-1, down-2, invert-3, down-4,
    invert-5, down-6), `"pairs"` (two of those that training sees one at a time, but not two legs down),
    `"all-legs"` (healthy or any single fault), or a function `rng -> codes`.

    A schedule is text (grammars: `mole.envs.schedules.text`, `mole.envs.crawler.legs`): `healthy`, `down-4`,
    `down-1+invert-3`, `fixed:0/2/0/0/0/0`, `alternate:healthy,down-1,invert-4:200`, `random:200` (drawn as
    `"legs"`), `random-unseen:200`, `random-pairs:200`, `random-all:200`; or a function `step -> codes`; or a
    list of `(codes, steps)`, repeated.

    `info`, at reset and at every step, for an evaluator's eyes only: `task` (number of the current faults in
    this episode, by first appearance), `faults` (the codes) and `fault` (their name), those that governed the
    transition just made (at reset: the one to come); `x_position`, `x_velocity`, and the terms of the reward
    `reward_forward`, `reward_drift`, `reward_heading`, `reward_ctrl`.

    ## Version history
    * v0: first version.
    """

    dynamics = DYNAMICS
    # "legs" keeps one grave fault of each leg out of training, "all-legs" none.
    TASKS = ("legs", "all-legs")
    _DISTANCE = 2.4
    _TERMS = ("forward", "drift", "heading", "ctrl")
    _REDRAWN = SAMPLERS

    def __init__(
        self,
        tasks: TaskSource = None,
        schedule: ScheduleSource = None,
        episode_steps: int | None = 1000,
        reset_noise_scale: float = 0.1,
        **kwargs: Any,
    ):
        """See the class."""
        hidden = episode_schedule(
            tasks,
            schedule,
            SCHEDULES,
            DISTRIBUTIONS,
            either="the faults of a whole episode, a schedule changes them within it",
            otherwise="codes, or schedule=... for faults that change within the episode",
        )
        # Gymnasium looks for a file with the model; there is none but the code that builds it.
        here = str(Path(_crawler_model.__file__).absolute())
        super().__init__(here, hidden, episode_steps, reset_noise_scale, **kwargs)
        self._geoms = leg_geoms(self.model)
        self._value: Codes = np.zeros(LEG_COUNT)
        self._gain = np.ones(2 * LEG_COUNT)
        self._fault = "healthy"

    def _load(self) -> mujoco.MjModel:
        return load_model()

    def _starting_state(self) -> tuple[np.ndarray, np.ndarray]:
        qpos, rng = self.init_qpos.copy(), self.np_random
        # The torso is a free body: its turn is a quaternion, here one about the vertical axis.
        yaw = rng.uniform(-self._noise, self._noise)
        qpos[3:7] = np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)
        qpos[7:] += rng.uniform(-self._noise, self._noise, size=self.model.nu)
        return qpos, self.init_qvel + self._noise * rng.standard_normal(self.model.nv)

    def _enter(self, value: Codes) -> None:
        super()._enter(value)
        self._fault = fault_name(value)
        self._gain = np.repeat(_GAIN[value.astype(int)], 2)
        held = np.repeat(value == CODES["down"], 2)
        self.data.eq_active[:] = held
        self.model.eq_active0[:] = held  # so that a simulation started from this model has the fault too

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Applies `action` for 0.05 s. See the class."""
        obs, earned, terminated, truncated, info = super().step(action)
        if not truncated and (coming := self._hidden()) is not self._value:
            # A leg that goes down is held by constraints in `data`: a simulation of the next step must find them there.
            self._enter(coming)
        return obs, earned, terminated, truncated, info

    def observe_states(
        self, qpos: Float64[np.ndarray, "*batch nq"], qvel: Float64[np.ndarray, "*batch nv"]
    ) -> Float64[np.ndarray, "*batch obs"]:
        """The observations of simulator states: roll, pitch and yaw in the place of the quaternion."""
        return observe(qpos, qvel)

    def controls(self, command: Float64[np.ndarray, "*batch act"]) -> Float64[np.ndarray, "*batch nu"]:
        """The simulator's controls for clipped commands under the faults of the next transition.

        The other half of a fault, the joints of a leg that is down, is in `data.eq_active`.
        """
        return command * self._gain

    def _describe(self) -> dict[str, Any]:
        return {"faults": self._value.copy(), "fault": self._fault}

    def _words(self) -> str:
        return f"the faults {self._fault}"

    def _earned(
        self, before: np.ndarray, command: np.ndarray, obs: Float64[np.ndarray, " obs"]
    ) -> tuple[float, ...]:
        return (
            float(obs[0] - before[0]) / DT,
            0.0 - DRIFT_COST * abs(float(obs[1] - before[1])) / DT,  # 0.0 -: no negative zeros
            0.0 - HEADING_COST * abs(float(obs[5])),
            0.0 - CTRL_COST * float(command @ command),
        )

    def render(self) -> Any:
        """Renders as the render mode says; the failed legs are red."""
        colours = fault_colours(_COLOUR_OF[self._value.astype(int)])
        self.model.geom_rgba[self._geoms] = colours[:, None]
        return super().render()
