"""Continuous adaptation: one gradient step after another from where the model is. It forgets what it leaves."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from mole._types import Array, Float, Int, Model
from mole.online.base import (
    REACH,
    OnlineLearner,
    Pairs,
    fresh,
    parameters,
    single_task_report,
    with_parameters,
)
from mole.online.checks import check_prior, check_range, check_reach, check_whole
from mole.online.guard import guarded_adapt
from mole.prior import MetaPrior

__all__ = ["Continuous", "ContinuousState"]


class ContinuousState(eqx.Module):
    """The last pairs, the model as it is now, and what happened to the last step."""

    recent: Pairs
    current: Model
    fault: Int[Array, ""]


class Continuous(OnlineLearner):
    """θ_{t+1} = θ_t − s β ∘ ∇L(θ_t, last ``window`` pairs), from θ_1 = θ*, never reset.

    On a plainly supervised prior this is direct online SGD.

    Args:
        prior: θ*, meta-trained or supervised.
        window: pairs of one step; the prior's k if not given. Nothing is learned before they are seen.
        step_scale: s, fraction of the inner rate.
        reach: see `OnlineLearner`.
    """

    prior: MetaPrior
    step_scale: Array
    window: int = eqx.field(static=True)

    def __init__(
        self,
        prior: MetaPrior,
        *,
        window: int | None = None,
        step_scale: float = 0.1,
        reach: float = REACH,
    ) -> None:
        """See the class."""
        check_prior("Continuous", prior)
        self.prior, self.window = prior, prior.window if window is None else window
        check_range("Continuous", "window", self.window, 1, float("inf"), "It is the pairs of one step.")
        check_range(
            "Continuous", "step_scale", step_scale, 0, float("inf"), "It is a fraction of the inner rate."
        )
        check_whole("Continuous", "window", self.window)
        check_reach("Continuous", reach)
        self.step_scale, self.reach = jnp.float32(step_scale), reach

    def init(self) -> ContinuousState:
        """θ* and no pairs."""
        return fresh(
            ContinuousState(
                Pairs.empty(self.prior, self.window), parameters(self.prior.model), jnp.zeros((), jnp.int32)
            )
        )

    def model(self, state: ContinuousState) -> Model:
        """The model as it is now."""
        return with_parameters(self.prior.model, state.current)

    def learn(
        self, state: ContinuousState, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> ContinuousState:
        """Shift the window and take one step."""
        recent = state.recent.push(x, y)
        scale = self.step_scale * (jnp.sum(recent.weight) >= self.window)
        rate, likelihood = self.prior.inner_rate, self.prior.likelihood
        adapted, fault = guarded_adapt(self.model(state), rate, likelihood, recent.x, recent.y, scale=scale)
        return ContinuousState(recent, parameters(adapted), fault)

    def report(self, before: ContinuousState, after: ContinuousState) -> dict[str, Array]:
        """One task."""
        return single_task_report(after.fault)
