"""k-shot adaptation: at every step from θ* anew (GrBAL, Nagabandi et al. 2018). It cannot accumulate what it learns."""

from __future__ import annotations

import equinox as eqx
import jax
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
from mole.online.guard import guarded_adapt, union
from mole.prior import MetaPrior

__all__ = ["KShot", "KShotState"]


class KShotState(eqx.Module):
    """The last pairs, θ* adapted on them, and what happened to the steps."""

    recent: Pairs
    adapted: Model
    fault: Int[Array, ""]


class KShot(OnlineLearner):
    """θ_t = θ* after ``steps`` inner steps on the last ``window`` pairs; nothing is adapted before they are seen.

    Args:
        prior: the meta-trained θ*.
        window: pairs to adapt on; the prior's k if not given.
        steps: inner steps.
        step_scale: fraction of the inner rate.
        reach: see `OnlineLearner`.
    """

    prior: MetaPrior
    step_scale: Array
    window: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __init__(
        self,
        prior: MetaPrior,
        *,
        window: int | None = None,
        steps: int = 1,
        step_scale: float = 1.0,
        reach: float = REACH,
    ) -> None:
        """See the class."""
        check_prior("KShot", prior)
        self.prior, self.window, self.steps = prior, prior.window if window is None else window, steps
        check_range("KShot", "window", self.window, 1, float("inf"), "It is the pairs to adapt on.")
        check_range("KShot", "steps", steps, 1, 1000, "It is the number of inner steps.")
        check_range("KShot", "step_scale", step_scale, 0, float("inf"), "It is a fraction of the inner rate.")
        check_whole("KShot", "window", self.window)
        check_whole("KShot", "steps", steps)
        check_reach("KShot", reach)
        self.step_scale, self.reach = jnp.float32(step_scale), reach

    def init(self) -> KShotState:
        """θ* and no pairs."""
        return fresh(
            KShotState(
                Pairs.empty(self.prior, self.window), parameters(self.prior.model), jnp.zeros((), jnp.int32)
            )
        )

    def model(self, state: KShotState) -> Model:
        """θ* adapted on the last pairs."""
        return with_parameters(self.prior.model, state.adapted)

    def learn(self, state: KShotState, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> KShotState:
        """Shift the window and adapt from θ* anew."""
        recent = state.recent.push(x, y)
        scale = self.step_scale * (jnp.sum(recent.weight) >= self.window)

        def step(arrays: Model, _: None) -> tuple[Model, Array]:
            model = with_parameters(self.prior.model, arrays)
            rate, likelihood = self.prior.inner_rate, self.prior.likelihood
            moved, fault = guarded_adapt(model, rate, likelihood, recent.x, recent.y, scale=scale)
            return parameters(moved), fault

        adapted, faults = jax.lax.scan(step, parameters(self.prior.model), None, length=self.steps)
        return KShotState(recent, adapted, union(faults))

    def report(self, before: KShotState, after: KShotState) -> dict[str, Array]:
        """One task."""
        return single_task_report(after.fault)
