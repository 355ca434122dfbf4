"""What a learned model and the spec of an environment say of an observation.

An agent plans with `LearnedDynamics`; a record holds what `measured` reads from the observation that followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from mole._types import Array, Float, Model
from mole.online.base import Prior

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = ["LearnedDynamics", "Measured", "measured"]


class LearnedDynamics(eqx.Module):
    """A model of changes as a map (observation, action) → next observation, for a planner.

    Args:
        model: maps a normalised input to a raw output.
        prior: gives the normalisers and the likelihood.
        spec: turns observations into inputs, and changes into observations.
    """

    model: Model
    prior: Prior
    spec: DynamicsSpec = eqx.field(static=True)

    def __call__(self, obs: Float[Array, " obs"], action: Float[Array, " act"]) -> Float[Array, " obs"]:
        """The expected next observation ``[obs]``."""
        output = self.model(self.prior.x_norm(self.spec.features(obs, action)))
        change = self.prior.y_norm.inverse(self.prior.likelihood.mean(output))
        return self.spec.apply_delta(obs, change)


class Measured(NamedTuple):
    """What an evaluator wants to know of an observation; NaN where it has no meaning."""

    position: Float[Array, ""]
    upright: Float[Array, ""]


def measured(spec: DynamicsSpec, obs: Float[Array, " obs"]) -> Measured:
    """What the environment's spec says of an observation ``[obs]``."""
    # NaN, not None: a compiled function returns arrays only.
    functions = (spec.position, spec.posture)
    return Measured(*(jnp.full((), jnp.nan) if f is None else f(obs) for f in functions))
