"""A schedule on a parameter of any Gymnasium environment: any world that changes, in one line.

    env = switching(gymnasium.make("Hopper-v5"), set_gravity, "alternate:9.81,3.7:200")

Schedules are those of `mole.envs.schedules.text` (`alternate`, `drift`, `uniform`, `fixed`, a function, a list), with
one named value, `original`: what the environment came with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import error
from gymnasium.utils import RecordConstructorArgs

from mole._expect import expect_choice, expect_type, expect_whole
from mole.datasets.steps import five_of, two_of
from mole.envs.schedules.schedule import Schedule, TaskNumbers, Timeline, Value
from mole.envs.schedules.text import Vocabulary, as_schedule
from mole.envs.wrappers.knobs import FunctionKnob, Knob
from mole.envs.wrappers.parameters import Parameter, parameter_by_name

__all__ = ["ParameterTraining", "SwitchingWrapper", "parameter_training", "switching", "switching_by_name"]

Env = gymnasium.Env[Any, Any]
Setter = Parameter | Callable[[Any, Any], Any]
_STREAM = 0x6D6F6C65  # "mole": keeps the schedule's draws apart from everything else made from the same seed


class SwitchingWrapper(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Puts a schedule on one parameter of an environment. The agent is not told.

    The value of step t holds for the transition from step t to the next, and is set again at every reset; `close`
    puts the original back. With `through_resets`, a reset without a seed does not begin the schedule anew: its
    clock goes on, so that short episodes see later values too. The schedule's draws have a generator of their own,
    seeded by ``reset(seed=…)``: the starting states are those of the environment without the wrapper.

    `info`, for an evaluator's eyes only: ``task``, the number of the value that governed the transition (at reset:
    the one to come), by first appearance in the episode, and -1 throughout if the schedule drifts; and
    ``parameters[name]``, the value itself. Around an environment that has tasks of its own (or another of these
    wrappers), the task is the pair of both, numbered alike.
    """

    def __init__(self, env: Env, setter: Setter, schedule: Any, *, through_resets: bool = False):
        """Binds `setter` to `env`; nothing is changed before the first reset.

        Args:
            env: any environment.
            setter: one of `PARAMETERS`, or a function ``(unwrapped env, value) -> None``, whose changes
                `close` cannot undo.
            schedule: whatever `as_schedule` takes.
            through_resets: only a reset with a seed (or the first) begins the schedule anew.

        Raises:
            ValueError: if the environment has no such parameter, cannot take the schedule's values, or the
                parameter is switched already.
            TypeError: if `env` is no environment, `setter` no setter or `schedule` no schedule.
        """
        expect_type("switching", "env", env, gymnasium.Env, "gymnasium.make gives one.")
        expect_choice("switching", "through_resets", through_resets, (True, False))
        RecordConstructorArgs.__init__(
            self, _disable_deepcopy=True, setter=setter, schedule=schedule, through_resets=through_resets
        )
        gymnasium.Wrapper.__init__(self, env)
        if isinstance(setter, Parameter):
            self.parameter, self._knob = setter.name, setter.bind(env)
        elif callable(setter):
            self.parameter = str(getattr(setter, "__name__", type(setter).__name__))
            self._knob = FunctionKnob(env, setter)
        else:
            raise TypeError(
                f"got a setter of type {type(setter).__name__}; expected one such as set_gravity or a function "
                "(env, value) -> None. For a name use switching_by_name(env, 'gravity', schedule)."
            )
        self._refuse_a_second(env)
        self.schedule: Schedule = as_schedule(schedule, _vocabulary(self._knob))
        self.through_resets = through_resets
        self._rng = np.random.default_rng()
        self._timeline: Timeline | None = None
        self._numbers = TaskNumbers()
        self._value: Value = None
        self._step = 0

    def _refuse_a_second(self, env: Env) -> None:
        while isinstance(env, gymnasium.Wrapper):
            if isinstance(env, SwitchingWrapper) and env.parameter == self.parameter:
                raise ValueError(
                    f"{self.parameter} of this environment is switched already; expected each parameter once. "
                    "Put both changes in one schedule."
                )
            env = env.env

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Begins an episode, with the schedule's first value unless it goes `through_resets`."""
        if seed is not None:
            self._rng = np.random.default_rng([_STREAM, seed])
        if seed is not None or self._timeline is None or not self.through_resets:
            self._timeline = self.schedule.timeline(int(self._rng.integers(2**63)))
            self._numbers = TaskNumbers(self.schedule.drifts)
            self._step = 0
        # Twice: the starting state may depend on the value, and an environment may set its own at reset.
        self._turn(self._timeline.at(self._step))
        obs, info = two_of(self.env, self.env.reset(seed=seed, options=options))
        self._turn(self._value)
        return self._knob.begin(obs), self._informed(info, self.upcoming_task())

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step under the value that the schedule has for it."""
        task = self.upcoming_task()
        value = self._started().at(self._step)
        if value is not self._value:  # a timeline returns one object until the value changes
            self._turn(value)
        result = self.env.step(self._knob.command(action))
        obs, reward, terminated, truncated, info = five_of(self.env, result)
        self._step += 1
        return self._knob.observe(obs), reward, terminated, truncated, self._informed(info, task)

    def upcoming_task(self) -> int:
        """Number of the hidden task that will govern the next transition; -1 for none. For an evaluator only."""
        value = self._started().at(self._step)
        if not self.env.has_wrapper_attr("upcoming_task"):
            return self._numbers.number(value)
        # An environment with tasks of its own: the task is the pair, so that either change is a new one.
        inner = self.env.get_wrapper_attr("upcoming_task")()
        return -1 if inner < 0 else self._numbers.number((inner, *np.ravel(value)))

    def close(self) -> None:
        """Puts the original value back and closes the environment."""
        self._knob.restore()
        self._timeline = None
        super().close()

    def _turn(self, value: Value) -> None:
        self._value = value
        self._knob.set(value)

    def _informed(self, info: dict[str, Any], task: int) -> dict[str, Any]:
        value = self._value.copy() if isinstance(self._value, np.ndarray) else self._value
        return {**info, "task": task, "parameters": {**info.get("parameters", {}), self.parameter: value}}

    def _started(self) -> Timeline:
        if self._timeline is None:
            raise error.ResetNeeded("the episode has not begun; call reset() first.")
        return self._timeline


def _vocabulary(knob: Knob) -> Vocabulary:
    values = {} if knob.original is None else {"original": knob.original}
    return Vocabulary(values=values, check=knob.check, between=knob.between)


def switching(
    env: Env,
    setter: Setter,
    schedule: str | Schedule | Callable[[int], Any] | Sequence[tuple[Any, int]],
    *,
    through_resets: bool = False,
) -> SwitchingWrapper:
    """`env` with a parameter that follows a schedule: ``switching(env, set_gravity, "alternate:9.81,3.7:200")``.

    Args, errors and what the wrapper does: see `SwitchingWrapper`.
    """
    return SwitchingWrapper(env, setter, schedule, through_resets=through_resets)


def switching_by_name(
    env: Env, parameter: str, schedule: Any, *, through_resets: bool = False
) -> SwitchingWrapper:
    """`switching` by a name of `mole.envs.wrappers.parameters.PARAMETERS`: gravity, mass, friction, damping, gain, ….

    Raises:
        ValueError: for an unknown name, with the nearest known one; and whatever `SwitchingWrapper` raises.
    """
    return SwitchingWrapper(env, parameter_by_name(parameter), schedule, through_resets=through_resets)


@dataclass(frozen=True)
class ParameterTraining:
    """Training on a parameter drawn uniformly from [low, high].

    Attributes:
        parameter: its name.
        low: least value.
        high: greatest value.
    """

    parameter: str
    low: float
    high: float

    def schedule(self, phase: str, switch_every: int) -> str:
        """The schedule of a phase of training.

        Args:
            phase: "explore" (one value per episode) or "control" (it changes within the episode).
            switch_every: steps between changes in the control phase.

        Raises:
            ValueError: for another phase.
        """
        expect_whole("ParameterTraining", "switch_every", switch_every, 1, "It is a number of steps.")
        draw = f"uniform:{self.low!r},{self.high!r}"
        if phase == "explore":
            return draw
        if phase == "control":
            return f"{draw}:{switch_every}"
        raise ValueError(f"unknown phase {phase!r} of training; expected 'explore' or 'control'.")

    def wrap(self, env: Env, phase: str, switch_every: int) -> SwitchingWrapper:
        """`env` as it is in a phase of training; arguments and errors as `schedule` and `switching_by_name`."""
        return switching_by_name(env, self.parameter, self.schedule(phase, switch_every))


def parameter_training(parameter: str, low: float, high: float) -> ParameterTraining:
    """How to train for a parameter that may be anything in [low, high].

    Raises:
        ValueError: for an unknown parameter, or bounds that are not finite and in order.
    """
    parameter_by_name(parameter)
    numbers = all(
        isinstance(end, int | float | np.number) and not isinstance(end, bool) for end in (low, high)
    )
    if not (numbers and np.isfinite([low, high]).all() and low < high):
        raise ValueError(
            f"got the range [{low}, {high}] for {parameter}; expected two finite numbers, the lower first."
        )
    return ParameterTraining(parameter, float(low), float(high))
