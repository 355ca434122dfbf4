"""What every machine of this package does: it starts, obeys commands under a hidden value, and is drawn.

A new machine is a subclass of `ScheduledEnv`, its MuJoCo model and its `DynamicsSpec`.
"""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import error, spaces
from gymnasium.envs.mujoco import MujocoEnv
from jaxtyping import Float

from mole._expect import expect_number, expect_whole
from mole.envs.schedules.schedule import Schedule, TaskNumbers, Timeline
from mole.envs.schedules.text import training_distribution
from mole.envs.simulation import opengl_ready
from mole.envs.spec import DynamicsSpec, check_action

__all__ = ["ScheduledEnv"]

_BAD_STATE = mujoco.mjtWarning.mjWARN_BADQPOS.value  # the first of MuJoCo's warnings about bad numbers
_LIMIT = 1e6  # of an observation; never reached, but Gymnasium's checker warns about infinite bounds


class ScheduledEnv(MujocoEnv):
    """A machine in MuJoCo in which one hidden value at a time holds, numbered by first appearance.

    Abstract: a subclass says what the machine is (`_load`, `_starting_state`), what it is paid for (`_TERMS`,
    `_earned`), what is hidden (`_describe`, `_words`; `_place`, `_prepare`, `_hidden` and `_enter` where the value
    does more than follow the schedule by step) and how commands and states are seen (`controls`,
    `observe_states`).
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 20,
    }
    dynamics: DynamicsSpec
    TASKS: tuple[str, ...]
    """Training distributions, the default first."""

    _DISTANCE: ClassVar[float]  # of a window's camera, in metres
    _TERMS: ClassVar[tuple[str, ...]]  # of the reward, by name; the first is the velocity forward
    _REMEDY: ClassVar[str] = "Call reset()."  # after a simulation that failed
    _REDRAWN: ClassVar[Mapping[str, str]]  # the schedules' word for new draws from a distribution of `TASKS`

    def __init__(
        self,
        model_path: str,
        schedule: Schedule,
        episode_steps: int | None,
        reset_noise_scale: float,
        **kwargs: Any,
    ):
        """Loads the model.

        Args:
            model_path: a file that exists, since Gymnasium looks for it; the model itself comes from `_load`.
            schedule: of the hidden value.
            episode_steps: steps until truncation, None for never.
            reset_noise_scale: of the starting state.
            **kwargs: for `MujocoEnv`.

        Raises:
            ValueError: if a number is out of range.
            TypeError: if it is no number.
        """
        owner = type(self).__name__
        if episode_steps is not None:
            expect_whole(owner, "episode_steps", episode_steps, 1, "None is no limit.")
        remedy = "It scales the noise of the starting state."
        expect_number(owner, "reset_noise_scale", reset_noise_scale, low=0.0, below=np.inf, remedy=remedy)
        self.schedule = schedule
        self.episode_steps = episode_steps
        self._noise = reset_noise_scale
        # Gymnasium takes a name or an id of a camera, not both.
        if kwargs.get("camera_id") is None:
            kwargs.setdefault("camera_name", "track")
        tracking = {"type": mujoco.mjtCamera.mjCAMERA_TRACKING.value, "trackbodyid": 1}
        kwargs.setdefault("default_camera_config", {**tracking, "distance": self._DISTANCE})
        super().__init__(
            model_path,
            frame_skip=5,  # of 0.01 s: `spec.DT`
            observation_space=spaces.Box(-_LIMIT, _LIMIT, (self.dynamics.obs_dim,), np.float64),
            **kwargs,
        )
        self._step = 0
        self._running = False
        self._timeline: Timeline = schedule.timeline(0)
        self._numbers = TaskNumbers()
        self._value: Any = None
        self._task = 0

    @classmethod
    def training_settings(cls, phase: str, tasks: str | None, switch_every: int) -> dict[str, Any]:
        """Constructor settings for a phase of training.

        Args:
            phase: "explore" (one hidden value for a whole episode) or "control" (it changes within the episode).
            tasks: one of `TASKS`; the first if None.
            switch_every: steps between changes in the control phase.

        Raises:
            ValueError: for an unknown phase or distribution, or a number of steps below 1.
            TypeError: if the number of steps is no whole number.
        """
        expect_whole(cls.__name__, "switch_every", switch_every, 1, "It is a number of steps.")
        tasks = training_distribution(phase, tasks, cls.TASKS)
        if phase == "explore" or tasks not in cls._REDRAWN:
            return {"tasks": tasks}
        return {"schedule": f"{cls._REDRAWN[tasks]}:{switch_every}"}

    @abstractmethod
    def _load(self) -> mujoco.MjModel:
        """The compiled model."""

    @abstractmethod
    def _starting_state(self) -> tuple[np.ndarray, np.ndarray]:
        """`qpos` and `qvel` of a start, drawn from the environment's generator."""

    @abstractmethod
    def _earned(
        self, before: np.ndarray, command: np.ndarray, obs: Float[np.ndarray, " obs"]
    ) -> tuple[float, ...]:
        """The terms of the reward of a step from `qpos` `before` to now, in the order of `_TERMS`."""

    @abstractmethod
    def _describe(self) -> dict[str, Any]:
        """The governing hidden value for `info`."""

    @abstractmethod
    def _words(self) -> str:
        """The governing hidden value in words, for an error."""

    @abstractmethod
    def controls(self, command: Float[np.ndarray, "*batch act"]) -> Float[np.ndarray, "*batch nu"]:
        """The simulator's controls for clipped commands, for the next transition. For an evaluator only."""

    @abstractmethod
    def observe_states(
        self, qpos: Float[np.ndarray, "*batch nq"], qvel: Float[np.ndarray, "*batch nv"]
    ) -> Float[np.ndarray, "*batch obs"]:
        """What the agent would observe in these states of the simulator."""

    def _place(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Starts an episode in this state; its timeline has been drawn."""
        self.set_state(qpos, qvel)

    def _prepare(self) -> None:
        """Called before every step."""

    def _hidden(self) -> Any:
        """The hidden value that will govern the next transition."""
        return self._timeline.at(self._step)

    def _enter(self, value: Any) -> None:
        """Puts `value` in force."""
        self._value = value
        self._task = self._numbers.number(value)

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = self._load()
        # MuJoCo draws pictures into a buffer of the model's size: it must be as large as they are.
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, self.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, self.height)
        return model, mujoco.MjData(model)

    def _set_action_space(self) -> Any:
        # Not the actuators' range: the half-cheetahs' are unlimited.
        self.action_space = spaces.Box(-1.0, 1.0, (self.dynamics.act_dim,), np.float32)
        return self.action_space

    def reset_model(self) -> np.ndarray:
        """Draws the starting state, then what is hidden in this episode; returns the observation ``[obs]``."""
        # In this order, so that the start of a seed is the same under every schedule.
        qpos, qvel = self._starting_state()
        self._timeline = self.schedule.timeline(int(self.np_random.integers(2**63)))
        self._numbers = TaskNumbers(self.schedule.drifts)
        self._step = 0
        # If a start fails, the environment stays stopped and says so at the next step.
        self._running = False
        self._place(qpos, qvel)
        self._running = True
        self._enter(self._hidden())
        return self._observe()

    def _observe(self) -> np.ndarray:
        return self.observe_states(self.data.qpos, self.data.qvel)

    def _get_reset_info(self) -> dict[str, Any]:
        return self._info(float(self._observe()[0]), (0.0,) * len(self._TERMS))

    def _info(self, x: float, terms: tuple[float, ...]) -> dict[str, Any]:
        return {
            "task": self._task,
            **self._describe(),
            "x_position": x,
            "x_velocity": terms[0],
            **{f"reward_{name}": term for name, term in zip(self._TERMS, terms, strict=True)},
        }

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Applies `action` for 0.05 s. See the class."""
        command = np.clip(check_action(action, self.dynamics.act_dim), -1.0, 1.0)
        self._check_running()
        self._prepare()
        value = self._hidden()
        if value is not self._value:  # a timeline returns one object until the value changes
            self._enter(value)
        data = self.data
        before = data.qpos.copy()
        data.ctrl[:] = self.controls(command)
        mujoco.mj_step(self.model, data, nstep=self.frame_skip)
        # MuJoCo raises nothing: it starts anew or drops the controls, and counts a warning. A reset clears the counts.
        if data.warning.number[_BAD_STATE:].any():
            self._fail("the simulation became unstable")
        self._step += 1
        obs = self._observe()
        terms = self._earned(before, command, obs)
        truncated = self.episode_steps is not None and self._step >= self.episode_steps
        if self.render_mode == "human":
            self.render()
        return obs, sum(terms), False, truncated, self._info(float(obs[0]), terms)

    def _fail(self, what: str) -> None:
        self._running = False
        raise FloatingPointError(
            f"{what} at step {self._step} with {self._words()}; expected a finite state. {self._REMEDY}"
        )

    def render(self) -> Any:
        """Renders as the render mode says."""
        if self.mujoco_renderer.viewer is not None:  # it has its OpenGL context already
            return super().render()
        with opengl_ready(self.render_mode):
            return super().render()

    def upcoming_task(self) -> int:
        """Number of the hidden task that will govern the next transition. For an evaluator only."""
        self._check_running()
        return self._numbers.number(self._hidden())

    def _check_running(self) -> None:
        if not self._running:
            raise error.ResetNeeded("the episode has not begun or has failed; call reset() first.")
