"""What can be changed in any environment while it runs: gravity, mass, friction, delays, …

Each parameter works on MuJoCo environments, by editing the model, and where it has a meaning there on Gymnasium's
classic control, by attributes. A *factor* multiplies the environment's original value.

| Setter                  | Name                | Value                | MuJoCo                    | Elsewhere        |
| ----------------------- | ------------------- | -------------------- | ------------------------- | ---------------- |
| `set_gravity`           | `gravity`           | m/s², downward       | `opt.gravity`             | `g` or `gravity` |
| `set_mass`              | `mass`              | factor > 0           | all masses and inertias   | all masses       |
| `set_friction`          | `friction`          | factor ≥ 0           | of all contacts           |                  |
| `set_damping`           | `damping`           | factor ≥ 0           | of all joints and tendons |                  |
| `set_gain`              | `gain`              | factor, or one each  | force of each actuator    | times the action |
| `set_observation_delay` | `observation-delay` | whole steps          | any environment           | the same         |
| `set_action_delay`      | `action-delay`      | whole steps          | any with a Box of actions | the same         |
| `set_attribute("l")`    | `l`                 | as it is             | any number of the unwrapped environment      ||
"""

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np

from mole._expect import did_you_mean, expect_type
from mole.envs.schedules.schedule import Value, real_numbers
from mole.envs.wrappers.channels import ActionDelay, CommandGain, ObservationDelay, factors
from mole.envs.wrappers.knobs import Attributes, Knob, find, numeric_attributes, one_number

__all__ = [
    "PARAMETERS",
    "Parameter",
    "parameter_by_name",
    "set_action_delay",
    "set_attribute",
    "set_damping",
    "set_friction",
    "set_gain",
    "set_gravity",
    "set_mass",
    "set_observation_delay",
]

Env = gymnasium.Env[Any, Any]


@dataclass(frozen=True)
class Parameter:
    """Something that can be changed in an environment. Calling it, ``set_gravity(env, 3.7)``, changes it for good.

    Attributes:
        name: in ``info["parameters"]`` and on a command line.
        unit: of its values, in words.
        bind: makes the `Knob` of one environment; raises ValueError where the environment has no such thing.
    """

    name: str
    unit: str
    bind: Callable[[Env], Knob]

    def __call__(self, env: Env, value: Any) -> None:
        """Sets the parameter now and leaves it; a factor is of the value at this moment.

        Raises:
            ValueError: if the environment has no such parameter or cannot take the value.
            TypeError: for a delay, which acts on every step: use `switching`.
        """
        expect_type(self.name, "env", env, gymnasium.Env, "gymnasium.make gives one.")
        knob = self.bind(env)
        if not knob.lasting:
            raise TypeError(
                f"{self.name} of {type(env.unwrapped).__name__} cannot be set once and for all, since it acts on every "
                "action or observation. Use switching(env, setter, 'fixed:VALUE')."
            )
        knob.set(knob.check(value))


def set_attribute(path: str, *, relative: bool = False) -> Parameter:
    """A parameter that is a number, or an array of numbers, held by an attribute of the unwrapped environment.

    What the environment derived from it when it was made stays as it was.

    Args:
        path: the attribute's name, dotted if it is further inside (``"model.opt.wind"``).
        relative: the value is a factor of the original.

    Returns:
        The parameter; binding it raises ValueError where there is no such attribute, or it is no number.
    """

    if not isinstance(path, str) or not path:
        raise TypeError(
            f"set_attribute got path={path!r}; expected an attribute's name, such as 'model.wind'."
        )

    def bind(env: Env) -> Knob:
        place = find(env.unwrapped, path)
        shape = np.shape(getattr(*place))

        def check(value: Any) -> Value:
            if relative or not shape:
                return one_number(value, path)
            array = real_numbers(value)
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"got {value!r} for {path}; expected finite numbers of shape {shape}.")
            array.flags.writeable = False
            return array

        return Attributes([place], check, relative=relative)

    return Parameter(path, "factor" if relative else "as the attribute", bind)


# Where MuJoCo's model is: in Gymnasium's environments; in dm_control's, which shimmy keeps in `_env`; in robosuite's.
_MODELS = ("model", "physics.model", "_env.physics.model", "env.physics.model", "sim.model")


def _model(env: Env) -> Any | None:
    for path in _MODELS:
        found: Any = env.unwrapped
        for name in path.split("."):
            found = getattr(found, name, None)
        # dm_control's and robosuite's own classes hold MuJoCo's.
        for held in (found, getattr(found, "ptr", None), getattr(found, "_model", None)):
            if isinstance(held, mujoco.MjModel):
                return held
    return None


def _lacks(env: Env, what: str, why: str) -> ValueError:
    inner = env.unwrapped
    numbers = ", ".join(numeric_attributes(inner)) or "(none)"
    return ValueError(
        f"{type(inner).__name__} has no {what} to set: {why}. Use another parameter, set_attribute(NAME) with "
        f"one of its numbers ({numbers}), or a function (env, value) of your own."
    )


def _held(env: Env, names: Sequence[str], what: str) -> list[tuple[Any, str]]:
    """Those of `names` that are attributes of the unwrapped environment."""
    places = [(env.unwrapped, name) for name in names if hasattr(env.unwrapped, name)]
    if not places:
        raise _lacks(env, what, f"it is no MuJoCo environment and has no attribute {' or '.join(names)}")
    return places


def _factor(what: str, *, above: bool = False) -> Callable[[Any], Value]:
    return lambda value: one_number(value, f"a factor of {what}", 0.0, above=above)


def _gravity(env: Env) -> Knob:
    model = _model(env)
    if model is None:
        # Pendulum and Acrobot call it g, CartPole and MountainCar gravity.
        places = _held(env, ("g", "gravity"), "gravity")[:1]
        return Attributes(places, lambda value: one_number(value, "gravity"), relative=False)
    return _WorldGravity(model)


class _WorldGravity(Knob):
    """Gravity of a MuJoCo model along its own direction; straight down where it had none."""

    def __init__(self, model: Any):
        self._model, self._vector = model, model.opt.gravity.copy()
        self.original = float(np.linalg.norm(self._vector))
        self._direction = self._vector / self.original if self.original else np.array([0.0, 0.0, -1.0])

    def check(self, value: Any) -> Value:
        return one_number(value, "gravity, in m/s² downward")

    def set(self, value: Value) -> None:
        self._model.opt.gravity[:] = self._direction * value

    def restore(self) -> None:
        self._model.opt.gravity[:] = self._vector


def _mass(env: Env) -> Knob:
    model, check = _model(env), _factor("mass", above=True)
    if model is None:
        # Everything that is proportional to the masses, also what CartPole computes from them once.
        names = ("m", "masscart", "masspole", "total_mass", "polemass_length")
        names += ("LINK_MASS_1", "LINK_MASS_2", "LINK_MOI")
        return Attributes(_held(env, names, "mass"), check, relative=True)
    # mj_setConst moves the data that it is given to the rest position: not the environment's own.
    scratch = mujoco.MjData(model)
    fields = [(model, "body_mass"), (model, "body_inertia")]  # both: the bodies get denser, not larger
    return Attributes(fields, check, relative=True, then=lambda: mujoco.mj_setConst(model, scratch))


def _friction(env: Env) -> Knob:
    model = _model(env)
    if model is None:
        raise _lacks(env, "friction", "it is no MuJoCo environment")
    if not (model.geom_contype.any() or model.geom_conaffinity.any() or model.npair):
        raise _lacks(env, "friction", "nothing in it touches anything")
    fields = [(model, "geom_friction"), (model, "pair_friction")]
    return Attributes(fields, _factor("friction"), relative=True)


def _damping(env: Env) -> Knob:
    model = _model(env)
    if model is None:
        raise _lacks(env, "damping", "it is no MuJoCo environment")
    names = ("dof_damping", "dof_dampingpoly", "tendon_damping", "tendon_dampingpoly")
    fields = [(model, name) for name in names if hasattr(model, name)]  # the polynomials came with MuJoCo 4
    if not any(getattr(*field).any() for field in fields):
        raise _lacks(env, "damping", "the damping of all its joints is 0, and so is every multiple of it")
    return Attributes(fields, _factor("damping"), relative=True)


def _gain(env: Env) -> Knob:
    model = _model(env)
    return CommandGain(env) if model is None or not model.nu else _ActuatorGain(model)


class _ActuatorGain(Knob):
    """Scales the force of the actuators of a MuJoCo model, within their force limits."""

    original = 1.0

    def __init__(self, model: Any):
        self._model = model
        self._gain, self._bias = model.actuator_gainprm.copy(), model.actuator_biasprm.copy()

    def check(self, value: Any) -> Value:
        return factors(value, (self._model.nu,))

    def set(self, value: Value) -> None:
        scale = np.broadcast_to(value, (self._model.nu,))[:, None]
        self._model.actuator_gainprm[:] = self._gain * scale
        self._model.actuator_biasprm[:] = self._bias * scale  # a servo's: force = gain · control + bias


set_gravity = Parameter("gravity", "m/s² downward", _gravity)
set_mass = Parameter("mass", "factor of all masses", _mass)
set_friction = Parameter("friction", "factor of all contact friction", _friction)
set_damping = Parameter("damping", "factor of all joint damping", _damping)
set_gain = Parameter("gain", "factor of the actuators' force: one for all, or one for each", _gain)
set_observation_delay = Parameter("observation-delay", "whole steps", lambda env: ObservationDelay())
set_action_delay = Parameter("action-delay", "whole steps", ActionDelay)

PARAMETERS: Mapping[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        set_gravity,
        set_mass,
        set_friction,
        set_damping,
        set_gain,
        set_observation_delay,
        set_action_delay,
    )
}
"""The parameters by name."""


def parameter_by_name(name: str) -> Parameter:
    """The parameter called `name`.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    expect_type("parameter_by_name", "name", name, str, f"One of {', '.join(PARAMETERS)}.")
    if name not in PARAMETERS:
        raise ValueError(f"unknown parameter {name!r}: {did_you_mean(name, PARAMETERS)}")
    return PARAMETERS[name]
