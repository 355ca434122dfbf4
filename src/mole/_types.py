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

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

__all__ = ["Array", "Bool", "Float", "Int", "Key", "Model", "PRNGKeyArray", "Trajectory", "Window"]

Key = PRNGKeyArray
Model = Any
"""Any Equinox module (or other callable pytree) that maps one input ``[dx]`` to one raw output."""


class Window(NamedTuple):
    """Consecutive pairs of a stream, oldest first. A leading ``batch`` axis is allowed on all fields."""

    x: Float[Array, "*batch k dx"]
    y: Float[Array, "*batch k dy"]


class Trajectory(NamedTuple):
    """One unbroken stretch of a stream: windows are only ever cut from inside of one trajectory."""

    x: Float[Array | np.ndarray, "time dx"]
    y: Float[Array | np.ndarray, "time dy"]
