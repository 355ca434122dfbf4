"""`mole/HalfCheetahTerrain-v0`: a half-cheetah on ground that rises and falls, which the agent is not told."""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np
from jaxtyping import Float

from mole._expect import expect_number, expect_whole
from mole.envs.cheetah.ground import COLUMN, DISTRIBUTIONS, SCHEDULES, Ground
from mole.envs.cheetah.model import DYNAMICS, FIELD_COLUMNS, FIELD_HEIGHT, FIELD_ROWS, CheetahEnv, load_model
from mole.envs.schedules.schedule import Schedule
from mole.envs.schedules.text import ScheduleSource, TaskSource, episode_schedule

__all__ = ["DYNAMICS", "ENV_ID", "SCHEDULES", "SETTINGS", "HalfCheetahTerrainEnv"]

ENV_ID = "mole/HalfCheetahTerrain-v0"
SETTINGS = {
    "flat": "flat",
    "basin": "basin",
    "hill": "hill",
    "gentle": "gentle",
    "steep": "steep",
    "course": "course",
    "alternate": "alternate:.2,-.2:60",
    "random": "random:60",
}
"""Tests: name -> schedule, in columns of 0.1 m."""

_RUN_UP = 20
_FRICTION = 1.0  # of the ground; the class says why
_REACH = 5.0  # metres from the middle of the field at which the field is moved on
_STRIDE = 10  # columns that the field is moved by, or a multiple: 1 m, the period of the floor's pattern
_TORSO = 0.7  # metres from the torso to the ground at HalfCheetah's start
_COLUMNS_PER_STEP = 0.5  # of the training's `switch_every`: 1 m/s for 0.05 s is half a column of 0.1 m


class HalfCheetahTerrainEnv(CheetahEnv):
    """A half-cheetah on hilly ground that it cannot see.

    ## Description
    The planar half-cheetah of Gymnasium's `HalfCheetah-v5` on a height field instead of a floor: columns of
    0.1 m, each with a slope (metres up per metre forward), without end in both directions. 500 columns at a
    time are in the simulator; when the cheetah is 5 m from their middle they are moved on, which changes
    neither the motion nor what is observed. The slope under the torso is the *task*: it is not in the
    observation, and it changes with place, not with time.

    The ground's friction is 1.0, not HalfCheetah's 0.4: with the simulator itself as its model, a planner runs
    up a slope of 0.3 at 3.6 to 4 m/s on its feet, and with 0.4 at 2.2 m/s on its back. Slopes of 0.4 it climbs
    at anything between 0.5 and 3.5 m/s, so no test is steeper than 0.3.

    ## Action space
    `Box(-1, 1, (6,), float32)`: commands of the back thigh, shin and foot and the front thigh, shin and foot
    motors, clipped and checked as in `mole/HalfCheetahMotors-v0`.

    ## Observation space
    `Box(-1e6, 1e6, (18,), float64)`, the same as `mole/HalfCheetahMotors-v0`'s but for z.

    | Num   | Observation                                                           | Unit  |
    | ----- | --------------------------------------------------------------------- | ----- |
    | 0     | x, metres forward                                                     | m     |
    | 1     | z, height above the ground under the torso, 0 at the starting height  | m     |
    | 2     | pitch (unwrapped; 0 level, not along the ground)                      | rad   |
    | 3-8   | angles of the back thigh, shin, foot and the front thigh, shin, foot  | rad   |
    | 9, 10 | velocities of x and (absolute) z                                      | m/s   |
    | 11    | angular velocity of pitch                                             | rad/s |
    | 12-17 | angular velocities of the six joints, in the same order               | rad/s |

    ## Rewards
    `(x_after - x_before) / dt - 0.05 * |a|^2`, with dt = 0.05 s and `a` the clipped command.

    ## Starting state
    As `HalfCheetah-v5`, turned to stand along the slope under it and lifted, if need be, out of the ground.

    ## Episode end
    Never terminated. Truncated after `episode_steps`. If the simulation diverges or leaves the field,
    `FloatingPointError` is raised.

    ## Arguments
    | Parameter           | Default    | Description                                                        |
    | ------------------- | ---------- | ------------------------------------------------------------------ |
    | `tasks`             | `"slopes"` | distribution of the slope of a whole episode, see below            |
    | `schedule`          | None       | slopes that change within the episode; excludes `tasks`            |
    | `episode_steps`     | 1000       | steps until truncation; None for never                             |
    | `run_up`            | None       | level columns before the first slope; None: 20 (2 m) with          |
    |                     |            | `schedule`, 0 with `tasks`                                         |
    | `friction`          | 1.0        | of the ground                                                      |
    | `reset_noise_scale` | 0.1        | of the starting state                                              |
    | `render_mode`, …    |            | `width`, `height`, `camera_name` and the rest as any `MujocoEnv`   |

    ## Tasks
    Drawn at every reset from the environment's seeded generator: `"slopes"` (level once in eight, else uniform
    within 0.2 up or down), `"any-slopes"` (within 0.4), `"flat"`, or a function `rng -> slope`.

    A schedule counts **columns**, not steps, along x from the end of the run-up; behind the start the same
    slopes come in a mirror (the slope at -x is the one at x). Text (grammar: `mole.envs.schedules.text`):
    `fixed:.15`, `alternate:.2,-.2:30` (3 m each), `random:30` (a new draw of "slopes" every 30 columns),
    `random-any:30`; a function `column -> slope`; a list of `(slope, columns)`, repeated; or a course, which
    begins anew when it ends:

    | Course   | Slopes                                                                               |
    | -------- | ------------------------------------------------------------------------------------ |
    | `flat`   | level                                                                                |
    | `basin`  | 15 m down at 0.18, 15 m up                                                           |
    | `hill`   | 15 m up at 0.2, 15 m down                                                            |
    | `gentle` | six rises of 3 m, 1 m high together (slope 1/18), then 6 m level                     |
    | `steep`  | six rises of 3 m, 5.4 m high together (slope 0.3), then 6 m level                    |
    | `course` | 8 m each of 0.2, -0.2, level, 0.3, -0.2, 0.2, level, 0.3: every slope returns        |

    The slopes of `basin`, `hill` and `gentle` are those of the half-cheetah of Nagabandi et al. 2018 (GrBAL),
    but these go on without end. Their `steep` is 4 m high, a slope of 0.22 and hardly beyond our training; ours
    is outside.

    `info`, at reset and at every step, for an evaluator's eyes only: `task` (number of the slope under the
    torso in this episode, by first appearance; level ground is a task as any other) and `slope`, both those
    where the transition just made began (at reset: the one to come); `x_position`, `x_velocity`,
    `reward_forward`, `reward_ctrl`.

    ## Version history
    * v0: first version.
    """

    TASKS = tuple(DISTRIBUTIONS)
    _REDRAWN: ClassVar[Mapping[str, str]] = {"slopes": "random", "any-slopes": "random-any"}

    def __init__(
        self,
        tasks: TaskSource = None,
        schedule: ScheduleSource = None,
        episode_steps: int | None = 1000,
        run_up: int | None = None,
        friction: float = _FRICTION,
        reset_noise_scale: float = 0.1,
        **kwargs: Any,
    ):
        """See the class."""
        hidden = episode_schedule(
            tasks,
            schedule,
            SCHEDULES,
            DISTRIBUTIONS,
            either="the slope of a whole episode, a schedule changes it from place to place",
            otherwise="slope, or schedule=... for slopes that change from place to place",
        )
        if run_up is None:
            run_up = 0 if schedule is None else _RUN_UP
        owner = type(self).__name__
        expect_whole(owner, "run_up", run_up, 0, f"It is a number of columns of {COLUMN} m.")
        remedy = f"It is the ground's; the default is {_FRICTION}."
        expect_number(owner, "friction", friction, above=0.0, below=math.inf, remedy=remedy)
        self.run_up = run_up
        self._friction = float(friction)
        super().__init__(hidden, episode_steps, reset_noise_scale, **kwargs)
        self._ground = Ground(Schedule.constant(0.0).timeline(0), 0)
        self._place_field(0)

    @classmethod
    def training_settings(cls, phase: str, tasks: str | None, switch_every: int) -> dict[str, Any]:
        """Constructor settings for a phase of training.

        Args:
            phase: "explore" (one slope for a whole episode) or "control" (slopes that change with place).
            tasks: one of `TASKS`; the first if None.
            switch_every: steps between changes in the control phase, at a pace of 1 m/s.

        Raises:
            ValueError: for an unknown phase or distribution.
        """
        expect_whole(cls.__name__, "switch_every", switch_every, 1, "It is a number of steps.")
        # The ground changes with place, and training counts steps.
        columns = max(1, round(_COLUMNS_PER_STEP * switch_every))
        settings = super().training_settings(phase, tasks, columns)
        return {**settings, "run_up": 0} if "schedule" in settings else settings

    def _load(self) -> mujoco.MjModel:
        return load_model(column=COLUMN, friction=self._friction)

    def _place(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        self._ground = Ground(self._timeline, self.run_up)
        self._place_field(0)
        angle = math.atan(self._ground.slope(float(qpos[0])))
        qpos = qpos.copy()
        # On a slope the torso is as far from the ground, along the ground's normal, as HalfCheetah's is at its start.
        qpos[1] += self._level(qpos[0]) + _TORSO / math.cos(angle) - _TORSO
        qpos[2] -= angle
        self.set_state(qpos, qvel)
        self._lift()

    def _lift(self) -> None:
        """Raises the body until nothing of it is in the ground."""
        data = self.data
        while data.ncon and (depth := -float(data.contact.dist.min())) > 0.0:
            # More than the depth: it is measured along the slope's normal, and the body is moved straight up.
            data.qpos[1] += 1.1 * depth + 1e-4
            mujoco.mj_forward(self.model, data)

    def _place_field(self, middle: int) -> None:
        """Makes column `middle` the middle of the simulator's height field.

        MuJoCo's height fields are finite, so that the field follows the cheetah and x starts anew at its middle.
        """
        heights = self._ground.heights(middle - FIELD_COLUMNS // 2, FIELD_COLUMNS + 1)
        # Heights of a field are not negative: the lowest point is 0, and the cheetah's z moves with it.
        self._middle, self._bottom = middle, float(heights.min())
        row = ((heights - self._bottom) / FIELD_HEIGHT).astype(np.float32)
        self.model.hfield_data[:] = np.tile(row, FIELD_ROWS)
        # The simulator has the heights in float32: z must be above that ground, not above the exact one.
        self._field = FIELD_HEIGHT * row.astype(np.float64)
        self._drawn = False  # OpenGL has a copy of the field: `render` uploads it again

    def _prepare(self) -> None:
        data = self.data
        if abs(data.qpos[0]) <= _REACH:
            return
        columns = _STRIDE * round(data.qpos[0] / (_STRIDE * COLUMN))
        if abs(columns) >= FIELD_COLUMNS // 2:
            self._fail("the cheetah jumped off the field")
        bottom = self._bottom
        self._place_field(self._middle + columns)
        data.qpos[0] -= columns * COLUMN
        data.qpos[1] += bottom - self._bottom

    def _level(self, x: Any) -> Any:
        """Height of the ground at the simulator's `x`; NaN off the field."""
        edges = COLUMN * (np.arange(FIELD_COLUMNS + 1) - FIELD_COLUMNS // 2)
        return np.interp(x, edges, self._field, left=np.nan, right=np.nan)

    def _hidden(self) -> float:
        return self._ground.slope(self._middle * COLUMN + float(self.data.qpos[0]))

    def _describe(self) -> dict[str, Any]:
        return {"slope": self._value}

    def _words(self) -> str:
        return f"a slope of {self._value}"

    def controls(self, command: Float[np.ndarray, "*batch act"]) -> Float[np.ndarray, "*batch nu"]:
        """The simulator's controls for clipped commands: the commands."""
        return command

    def observe_states(
        self, qpos: Float[np.ndarray, "*batch nq"], qvel: Float[np.ndarray, "*batch nv"]
    ) -> Float[np.ndarray, "*batch obs"]:
        """What the agent would observe in these states of the simulator; z is NaN off the field."""
        obs = np.concatenate([qpos, qvel], axis=-1)
        obs[..., 0] += self._middle * COLUMN
        obs[..., 1] -= self._level(qpos[..., 0])
        return obs

    def render(self) -> Any:
        """Renders as the render mode says."""
        viewer: Any = self.mujoco_renderer.viewer
        if viewer is not None and not self._drawn:
            viewer.make_context_current()
            mujoco.mjr_uploadHField(self.model, viewer.con, 0)
        self._drawn = True
        return super().render()
