"""No adaptation: the prior as it is, standard model-based control."""

from __future__ import annotations

import jax.numpy as jnp

from mole._types import Array, Float, Int, Model
from mole.online.base import OnlineLearner, single_task_report
from mole.online.checks import check_prior
from mole.prior import MetaPrior

__all__ = ["Static"]


class Static(OnlineLearner):
    """Predicts with the prior's model and never learns.

    Args:
        prior: θ*, usually the supervised one.
    """

    prior: MetaPrior

    def __check_init__(self) -> None:
        """A prior it must be."""
        check_prior("Static", self.prior)

    def init(self) -> Int[Array, ""]:
        """Steps seen: a state has at least one array."""
        return jnp.zeros((), jnp.int32)

    def model(self, state: Int[Array, ""]) -> Model:
        """θ*."""
        return self.prior.model

    def learn(self, state: Int[Array, ""], x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Int[Array, ""]:
        """Count the step."""
        return state + 1

    def report(self, before: Int[Array, ""], after: Int[Array, ""]) -> dict[str, Array]:
        """One task."""
        return single_task_report()
