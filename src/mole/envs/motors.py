"""Hidden motor faults: one factor per actuator, by which the commanded action is multiplied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from mole.envs.schedule import Sampler
from mole.envs.schedule_text import Vocabulary

__all__ = [
    "SAMPLERS",
    "Factors",
    "check_command",
    "check_factors",
    "few_signs",
    "magnitudes",
    "motor_distributions",
    "motor_vocabulary",
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
    return {name: lambda rng, draw=draw: draw(rng, n) for name, draw in _DRAWS.items()}


def check_factors(value: Any, n: int) -> Factors:
    """`value` as a read-only float64 vector of `n` finite factors.

    Raises:
        ValueError: if it is anything else.
    """
    try:
        factors = np.array(value, dtype=np.float64) + 0.0  # + 0.0: no negative zeros
    except (TypeError, ValueError):
        raise ValueError(f"got motor factors {value!r}; expected {n} numbers, one per motor.") from None
    if factors.shape != (n,):
        raise ValueError(
            f"got motor factors of shape {factors.shape}; expected {(n,)}, one number per motor."
        )
    if not np.isfinite(factors).all():
        raise ValueError(f"got motor factors {factors}; expected finite numbers.")
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


def check_command(action: Any, n: int) -> Float64[np.ndarray, " act"]:
    """The command of `n` motors as float64, clipped to [-1, 1].

    Raises:
        ValueError: for another shape, a dtype that is not real, or entries that are not finite.
    """
    array = np.asarray(action)
    if array.shape != (n,):
        raise ValueError(f"got an action of shape {array.shape}; expected {(n,)}: one number per motor.")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"got an action of dtype {array.dtype}; expected real numbers, such as float32.")
    command = array.astype(np.float64)
    if not np.isfinite(command).all():
        raise ValueError(
            f"got the action {array}; expected finite numbers. Check the policy or planner for NaN."
        )
    return np.clip(command, -1.0, 1.0)
