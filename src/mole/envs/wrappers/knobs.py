"""Knobs: parameters bound to one environment, by which they are changed and put back.

`mole.envs.wrappers.parameters` makes them; those that act on actions and observations are in
`mole.envs.wrappers.channels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np

from mole._expect import did_you_mean
from mole.envs.schedules.schedule import Value, real_numbers

__all__ = ["Attributes", "FunctionKnob", "Knob", "find", "numeric_attributes", "one_number"]


class Knob:
    """One parameter of one environment. This base class changes nothing: it passes values and data through."""

    original: Value | None = None
    """The environment's own value, in the units of the parameter; None where it is not known."""
    lasting = True
    """Whether `set` alone changes the environment, so that actions and observations need not pass through the knob."""

    def check(self, value: Any) -> Value:
        """The canonical form of `value`. Raises ValueError for what the parameter cannot be."""
        return value

    def set(self, value: Value) -> None:
        """Puts `value`, which `check` has returned, in force from now on."""
        raise NotImplementedError

    def restore(self) -> None:
        """Undoes every `set`."""
        if self.original is not None:
            self.set(self.original)

    def begin(self, obs: Any) -> Any:
        """The first observation of an episode as the agent sees it."""
        return obs

    def command(self, action: Any) -> Any:
        """The action that the environment gets when the agent chooses `action`."""
        return action

    def observe(self, obs: Any) -> Any:
        """A later observation as the agent sees it."""
        return obs

    def between(self, rng: np.random.Generator, low: Value, high: Value) -> Value:
        """A uniform draw between two values."""
        return rng.uniform(low, high)


def one_number(value: Any, what: str, low: float = -math.inf, *, above: bool = False) -> float:
    """`value` as one finite number of at least `low` (more than it, if `above`).

    Raises:
        ValueError: naming `what`, if it is anything else.
    """
    try:
        numbers = real_numbers(value).reshape(-1)
    except ValueError:
        numbers = np.array([])
    bound = "" if low == -math.inf else f" {'above' if above else 'of at least'} {low:g}"
    if (
        numbers.size != 1
        or not math.isfinite(numbers[0])
        or numbers[0] < low
        or (above and numbers[0] <= low)
    ):
        raise ValueError(f"got {value!r} for {what}; expected one finite number{bound}.")
    return float(numbers[0])


def find(root: Any, path: str) -> tuple[Any, str]:
    """The object that holds the last name of a dotted `path`, and that name.

    Raises:
        ValueError: if there is no such attribute, with the nearest one and all that are numbers.
    """
    *way, last = path.split(".")
    holder = root
    for name in way:
        if not hasattr(holder, name):
            raise ValueError(
                f"{type(root).__name__} has no attribute {path!r}: {type(holder).__name__} has no {name!r}."
            )
        holder = getattr(holder, name)
    if not hasattr(holder, last):
        raise ValueError(
            f"{type(holder).__name__} has no attribute {last!r}: "
            f"{did_you_mean(last, numeric_attributes(holder))}"
        )
    return holder, last


def numeric_attributes(holder: Any) -> list[str]:
    """Names of the public attributes of an object that hold numbers."""
    names = set(vars(holder)) if hasattr(holder, "__dict__") else set(dir(holder))
    return sorted(n for n in names if not n.startswith("_") and _is_number(getattr(holder, n, None)))


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiu"
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


class Attributes(Knob):
    """Numbers held by attributes: set as they are, or all multiplied by one factor of their originals.

    Arrays are written in place, because a simulator's fields cannot be replaced.
    """

    def __init__(
        self,
        places: Sequence[tuple[Any, str]],
        check: Callable[[Any], Value],
        *,
        relative: bool,
        then: Callable[[], None] | None = None,
    ):
        """Remembers the originals.

        Args:
            places: (object, name of its attribute) pairs; one, if the value is absolute.
            check: the canonical form of a value; raises ValueError for what it cannot be.
            relative: the value is a factor of the original.
            then: called after each change, for what is derived from the attributes.
        """
        self._check = check
        self._relative, self._then = relative, then
        # Third: whether the object holds the value itself, or its class does (see `restore`).
        self._places = [
            (holder, name, name in getattr(holder, "__dict__", {name: None}), deepcopy(getattr(holder, name)))
            for holder, name in places
        ]
        # The original of the first place is the one to return to; further places are factors of their own originals.
        own = self._places[0][-1]
        for holder, name, _, original in self._places:
            if not _is_number(original):
                raise ValueError(
                    f"attribute {name!r} of {type(holder).__name__} is {original!r}; expected a number "
                    f"or an array of numbers. Those are: {', '.join(numeric_attributes(holder)) or '(none)'}."
                )
        self.original = 1.0 if relative else (own.copy() if isinstance(own, np.ndarray) else float(own))

    def check(self, value: Any) -> Value:
        """The check that was given."""
        return self._check(value)

    def set(self, value: Value) -> None:
        """Writes the attributes."""
        for holder, name, _, original in self._places:
            new = original * value if self._relative else value
            # In place: a field of a MuJoCo model is a view of C memory.
            if isinstance(original, np.ndarray):
                getattr(holder, name)[...] = new
            else:
                setattr(holder, name, new)
        if self._then is not None:
            self._then()

    def restore(self) -> None:
        """Puts back the originals themselves."""
        # A value that only the class had is removed, or the object would keep one of its own.
        for holder, name, own, original in self._places:
            if isinstance(original, np.ndarray):
                getattr(holder, name)[...] = original
            elif own:
                setattr(holder, name, original)
            elif name in vars(holder):
                delattr(holder, name)
        if self._then is not None:
            self._then()


class FunctionKnob(Knob):
    """A user's function ``(unwrapped environment, value) -> None``. Its original is not known."""

    def __init__(self, env: gymnasium.Env[Any, Any], fn: Callable[[Any, Any], Any]):
        """Binds `fn` to what is inside all wrappers of `env`."""
        self._env, self._fn = env.unwrapped, fn

    def check(self, value: Any) -> Value:
        """One number becomes a float, several a read-only vector; anything else is left to the function."""
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            return value
        if array.size == 1:
            return float(array.reshape(()))
        fixed = np.array(array, dtype=np.float64)
        fixed.flags.writeable = False
        return fixed

    def set(self, value: Value) -> None:
        """Calls the function."""
        self._fn(self._env, value)
