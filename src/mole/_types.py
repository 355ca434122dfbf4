"""Array aliases and the one vocabulary of axes.

Axes used in every annotation of the package:

* ``k``      points in one window of time (the prior's ``window``);
* ``dx``     features of an input, ``dy`` outputs (targets) of a model;
* ``obs``    entries of an observation, ``act`` entries of an action;
* ``tasks``  slots of a mixture (``max_tasks``), ``batch`` windows in one meta-batch;
* ``time``   steps of a stream or an episode, ``horizon`` steps of a plan, ``samples`` candidate plans.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

__all__ = [
    "Array",
    "Bool",
    "Float",
    "Int",
    "Key",
    "Model",
    "Motion",
    "MotionWindow",
    "PRNGKeyArray",
    "Pairs",
    "Trajectory",
    "Window",
]

Key = PRNGKeyArray
Model = Any
"""Any Equinox module (or other callable pytree) that maps one input ``[dx]`` to one raw output."""


class Window(NamedTuple):
    """Consecutive pairs of a stream, oldest first. A leading ``batch`` axis is allowed on all fields."""

    x: Float[Array, "*batch k dx"]
    y: Float[Array, "*batch k dy"]


class Trajectory(NamedTuple):
    """One unbroken segment of a stream: windows are only ever cut from inside of one trajectory."""

    x: Float[Array | np.ndarray, "time dx"]
    y: Float[Array | np.ndarray, "time dy"]


class Motion(NamedTuple):
    """A trajectory of a system under control, with the transitions that its pairs were made of.

    A model can be rolled along it: ``x`` alone does not say which of its entries are the state that ``y`` changes, nor
    how the state is encoded.
    """

    x: Float[Array | np.ndarray, "time dx"]
    y: Float[Array | np.ndarray, "time dy"]
    obs: Float[Array | np.ndarray, "time obs"]
    actions: Float[Array | np.ndarray, "time act"]
    next_obs: Float[Array | np.ndarray, "time obs"]


class MotionWindow(NamedTuple):
    """A window of a `Motion`, oldest transition first. A leading ``batch`` axis is allowed on all fields."""

    x: Float[Array, "*batch k dx"]
    y: Float[Array, "*batch k dy"]
    obs: Float[Array, "*batch k obs"]
    actions: Float[Array, "*batch k act"]
    next_obs: Float[Array, "*batch k obs"]


class Pairs(NamedTuple):
    """The last pairs of a stream, oldest first; ``weight`` is 0 where nothing has been stored yet.

    Attributes:
        x: normalised inputs ``[n, dx]``.
        y: normalised targets ``[n, dy]``.
        weight: 1 for a stored pair, else 0, ``[n]``.
    """

    x: Float[Array, "*tasks n dx"]
    y: Float[Array, "*tasks n dy"]
    weight: Float[Array, "*tasks n"]

    @classmethod
    def empty(cls, dx: int, dy: int, n: int, *leading: int) -> Pairs:
        """Room for ``n`` pairs (for each of ``leading`` tasks)."""
        return cls(jnp.zeros((*leading, n, dx)), jnp.zeros((*leading, n, dy)), jnp.zeros((*leading, n)))

    def push(self, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Pairs:
        """Forget the oldest pair, append the newest."""
        return Pairs(
            jnp.concatenate([self.x[1:], x[None]]),
            jnp.concatenate([self.y[1:], y[None]]),
            jnp.concatenate([self.weight[1:], jnp.ones((1,))]),
        )

    def last(self, n: int) -> Pairs:
        """The newest ``n`` pairs."""
        return Pairs(*(field[-n:] for field in self))
