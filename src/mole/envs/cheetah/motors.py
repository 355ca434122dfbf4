"""`mole/HalfCheetahMotors-v0`: a half-cheetah whose motors fail, and hidden faults of motors in general.

A fault is one factor per motor, by which the commanded action is multiplied. The distributions and the vocabulary are
for any number of motors.
"""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float, Float64

from mole.envs.cheetah.model import (
    DYNAMICS,
    LIMBS,
    CheetahEnv,
    apply_delta,
    delta,
    fault_colours,
    features,
    load_model,
    position,
    posture,
    reward,
)
from mole.envs.schedules.schedule import Sampler, real_numbers
from mole.envs.schedules.text import ScheduleSource, TaskSource, Vocabulary, episode_schedule

__all__ = [
    "DYNAMICS",
    "ENV_ID",
    "SAMPLERS",
    "SCHEDULES",
    "SETTINGS",
    "Factors",
    "HalfCheetahMotorsEnv",
    "apply_delta",
    "check_factors",
    "delta",
    "features",
    "few_signs",
    "magnitudes",
    "motor_distributions",
    "motor_vocabulary",
    "position",
    "posture",
    "reward",
    "signs",
]

Factors = Float64[np.ndarray, " act"]


def signs(rng: np.random.Generator, n: int) -> Factors:
    """Any of the ``2**n`` sign vectors, all equally likely."""
    return rng.choice(np.array([-1.0, 1.0]), size=n)


def few_signs(rng: np.random.Generator, n: int) -> Factors:
    """At most one motor is negative: the ``n + 1`` vectors are equally likely."""
    factors = np.ones(n)
    which = rng.integers(n + 1)
    if which < n:
        factors[which] = -1.0
    return factors


def magnitudes(rng: np.random.Generator, n: int) -> Factors:
    """Each factor uniform on [0.05, 2), independently."""
    return rng.uniform(0.05, 2.0, size=n)


_DRAWS: Mapping[str, Callable[[np.random.Generator, int], Factors]] = {
    "signs": signs,
    "few-signs": few_signs,
    "magnitudes": magnitudes,
}
SAMPLERS = {"signs": "random", "few-signs": "random-few-signs", "magnitudes": "random-magnitudes"}
"""The word by which a schedule draws from each distribution."""


def motor_distributions(n: int) -> dict[str, Sampler]:
    """Distributions of a whole episode's factors of `n` motors, by name, the first the default."""
    # draw=draw keeps the function of each name; without it all would call the last one.
    return {name: lambda rng, draw=draw: draw(rng, n) for name, draw in _DRAWS.items()}


def check_factors(value: Any, n: int) -> Factors:
    """`value` as a read-only float64 vector of `n` finite factors.

    Raises:
        ValueError: if it is anything else.
    """
    try:
        factors = real_numbers(value)
    except ValueError:
        raise ValueError(f"got motor factors {value!r}; expected {n} numbers, one per motor.") from None
    if factors.shape != (n,):
        raise ValueError(
            f"got motor factors of shape {factors.shape}; expected {(n,)}, one number per motor."
        )
    if not np.isfinite(factors).all():
        raise ValueError(f"got motor factors {factors}; expected finite numbers.")
    # A schedule hands out the same array at every step: nobody may change it on the way.
    factors.flags.writeable = False
    return factors


def motor_vocabulary(n: int, named: Mapping[str, Any]) -> Vocabulary:
    """Words of the schedules of a machine with `n` motors.

    Values: ``identity``, ``negative`` and those in `named`. Samplers: ``random`` (sign vectors),
    ``random-few-signs`` and ``random-magnitudes``.
    """
    return Vocabulary(
        values={"identity": np.ones(n), "negative": -np.ones(n), **named},
        samplers={SAMPLERS[name]: draw for name, draw in motor_distributions(n).items()},
        check=lambda value: check_factors(value, n),
    )


ENV_ID = "mole/HalfCheetahMotors-v0"
# A turns half of the motors round, and B = -A the other half: no motor is right in both.
_A = np.array([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])
_WEAK = np.array([0.2, 1.0, 1.0, 0.2, 1.0, 1.0])  # both thighs, which drive the gait
SCHEDULES = motor_vocabulary(
    len(LIMBS), {"A": _A, "B": -_A, "magnitudes": np.array([0.05, 0.1, 3.0, 3.0, 0.05, 2.0]), "weak": _WEAK}
)
"""The names that this environment's schedules may use."""
SETTINGS = {
    "negative": "negative",
    "alternate": "alternate:A,B:100",
    "random-100": "random:100",
    "random-300": "random:300",
    "random-500": "random:500",
    "magnitudes": "magnitudes",
    "random-magnitudes": "random-magnitudes:300",
    "drift": "drift:identity,weak:1000",
}
"""The paper's tests, and motors that weaken slowly and recover (ours): name -> schedule."""


class HalfCheetahMotorsEnv(CheetahEnv):
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
    hidden factors. `mole.envs.cheetah.motors.reward` is the same number as a pure JAX function.

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

    A schedule is text (grammar: `mole.envs.schedules.text`): `identity`, `negative` (all -1), `magnitudes`
    (fixed 0.05/0.1/3/3/0.05/2), `fixed:1/1/-1/-1/-1/1`, `alternate:A,B:100` (A = 1/1/-1/-1/-1/1, B = -A; two
    values or more), `random:300` (a new sign vector every 300 steps), `random-magnitudes:100`,
    `drift:identity,weak:1000` (the thighs' motors go down to 0.2 over 1,000 steps and up again over the next); or a
    function `step -> factors`; or a list of `(factors, steps)`, repeated.

    `info`, at reset and at every step, for an evaluator's eyes only: `task` (number of the current factors in
    this episode, by first appearance; -1 if they drift) and `factors`, both those that governed the transition just
    made (at reset: the one to come); `x_position`, `x_velocity`, `reward_forward`, `reward_ctrl`.

    ## Version history
    * v0: first version.
    """

    TASKS = tuple(SAMPLERS)
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
            motor_distributions(len(LIMBS)),
            either="the factors of a whole episode, a schedule changes them within it",
            otherwise="factors, or schedule=... for factors that change within the episode",
        )
        super().__init__(hidden, episode_steps, reset_noise_scale, **kwargs)
        self._limb_geoms = [self.model.geom(name).id for name in LIMBS]
        self._value: Factors = np.ones(len(LIMBS))

    def _load(self) -> mujoco.MjModel:
        return load_model()

    def _describe(self) -> dict[str, Any]:
        return {"factors": self._value.copy()}

    def _words(self) -> str:
        return f"motor factors {self._value}"

    def controls(self, command: Float[np.ndarray, "*batch act"]) -> Float[np.ndarray, "*batch nu"]:
        """The simulator's controls for clipped commands, under the factors of the next transition.

        For a planner that has the simulator itself as its model, never for a learner.
        """
        return command * self._hidden()

    def observe_states(
        self, qpos: Float[np.ndarray, "*batch nq"], qvel: Float[np.ndarray, "*batch nv"]
    ) -> Float[np.ndarray, "*batch obs"]:
        """What the agent would observe in these states of the simulator."""
        return np.concatenate([qpos, qvel], axis=-1)

    def render(self) -> Any:
        """Renders as the render mode says; limbs whose motor factor is not 1 are red."""
        self.model.geom_rgba[self._limb_geoms] = fault_colours(self._value)
        return super().render()
