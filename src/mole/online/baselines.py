"""What the mixture is compared with: k-shot adaptation, continuous adaptation, and none.

Each has one part of what MOLe does and fails where the other is needed: k-shot cannot accumulate what it learns,
continuous adaptation forgets what it leaves, and without adaptation nothing is learned online.
"""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_number, expect_type, expect_whole
from mole._types import Array, Float, Int, Model, Pairs
from mole.learning.prior import MetaPrior
from mole.online.base import (
    OnlineLearner,
    as_float32,
    expect_reach,
    fresh,
    parameters,
    single_task_report,
    with_parameters,
)
from mole.online.guard import guarded_adapt, union

__all__ = ["Continuous", "ContinuousState", "KShot", "KShotState", "Static"]

_GIVES_ONE = "mole.meta_train and mole.load_prior give one."
_OF_THE_RATE = "It is a fraction of the inner rate."


class KShotState(eqx.Module):
    """The last pairs, θ* adapted on them, and the faults of the steps (bits of `mole.online.Fault`)."""

    recent: Pairs
    adapted: Model
    fault: Int[Array, ""]


class KShot(OnlineLearner):
    """θ_t = θ* after ``steps`` inner steps on the last ``window`` pairs; nothing is adapted before they are seen.

    GrBAL (Nagabandi et al. 2018): at every step from θ* anew.

    Args:
        prior: the meta-trained θ*.
        window: pairs to adapt on; the prior's k if not given.
        steps: inner steps.
        step_scale: fraction of the inner rate.
        reach: see `OnlineLearner`.

    Raises:
        TypeError: if a setting is of another type.
        ValueError: if a setting is out of range, with what is expected.
    """

    prior: MetaPrior
    _: dataclasses.KW_ONLY
    window: int | None = eqx.field(static=True, default=None)
    steps: int = eqx.field(static=True, default=1)
    step_scale: Array = eqx.field(converter=as_float32, default=1.0)

    def __post_init__(self) -> None:
        """Check the settings."""
        expect_type("KShot", "prior", self.prior, MetaPrior, _GIVES_ONE)
        self.window = self.prior.window if self.window is None else self.window
        expect_whole("KShot", "window", self.window, 1, "It is the pairs to adapt on.")
        expect_whole("KShot", "steps", self.steps, 1, "It is the number of inner steps.", most=1000)
        expect_number("KShot", "step_scale", self.step_scale, low=0.0, remedy=_OF_THE_RATE)
        expect_reach("KShot", self.reach)

    @property
    def k(self) -> int:
        """Pairs of one step: ``window``, or the prior's."""
        return self.window or self.prior.window

    def init(self) -> KShotState:
        """θ* and no pairs."""
        pairs = Pairs.empty(self.prior.input_size, self.prior.target_size, self.k)
        return fresh(KShotState(pairs, parameters(self.prior.model), jnp.zeros((), jnp.int32)))

    def model(self, state: KShotState) -> Model:
        """θ* adapted on the last pairs."""
        return with_parameters(self.prior.model, state.adapted)

    def learn(self, state: KShotState, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> KShotState:
        """Shift the window and adapt from θ* anew."""
        recent = state.recent.push(x, y)
        # Zero until the window is full: `guarded_adapt` then returns θ* bit for bit.
        scale = self.step_scale * (jnp.sum(recent.weight) >= self.k)

        def step(arrays: Model, _: None) -> tuple[Model, Array]:
            model = with_parameters(self.prior.model, arrays)
            rate, likelihood = self.prior.inner_rate, self.prior.likelihood
            moved, fault = guarded_adapt(model, rate, likelihood, recent.x, recent.y, scale=scale)
            return parameters(moved), fault

        adapted, faults = jax.lax.scan(step, parameters(self.prior.model), None, length=self.steps)
        return KShotState(recent, adapted, union(faults))

    def report(self, after: KShotState) -> dict[str, Array]:
        """One task."""
        return single_task_report(after.fault)


class ContinuousState(eqx.Module):
    """The last pairs, the present model, and the fault of the last step (bits of `mole.online.Fault`)."""

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

    Raises:
        TypeError: if a setting is of another type.
        ValueError: if a setting is out of range, with what is expected.
    """

    prior: MetaPrior
    _: dataclasses.KW_ONLY
    window: int | None = eqx.field(static=True, default=None)
    step_scale: Array = eqx.field(converter=as_float32, default=0.1)

    def __post_init__(self) -> None:
        """Check the settings."""
        expect_type("Continuous", "prior", self.prior, MetaPrior, _GIVES_ONE)
        self.window = self.prior.window if self.window is None else self.window
        expect_whole("Continuous", "window", self.window, 1, "It is the pairs of one step.")
        expect_number("Continuous", "step_scale", self.step_scale, low=0.0, remedy=_OF_THE_RATE)
        expect_reach("Continuous", self.reach)

    @property
    def k(self) -> int:
        """Pairs of one step: ``window``, or the prior's."""
        return self.window or self.prior.window

    def init(self) -> ContinuousState:
        """θ* and no pairs."""
        pairs = Pairs.empty(self.prior.input_size, self.prior.target_size, self.k)
        return fresh(ContinuousState(pairs, parameters(self.prior.model), jnp.zeros((), jnp.int32)))

    def model(self, state: ContinuousState) -> Model:
        """The model as it is now."""
        return with_parameters(self.prior.model, state.current)

    def learn(
        self, state: ContinuousState, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> ContinuousState:
        """Shift the window and take one step."""
        recent = state.recent.push(x, y)
        # As in `KShot`: no step before the window is full.
        scale = self.step_scale * (jnp.sum(recent.weight) >= self.k)
        rate, likelihood = self.prior.inner_rate, self.prior.likelihood
        adapted, fault = guarded_adapt(self.model(state), rate, likelihood, recent.x, recent.y, scale=scale)
        return ContinuousState(recent, parameters(adapted), fault)

    def report(self, after: ContinuousState) -> dict[str, Array]:
        """One task."""
        return single_task_report(after.fault)


class Static(OnlineLearner):
    """Predicts with the prior's model and never learns: standard model-based control.

    Args:
        prior: θ*, usually the supervised one.

    Raises:
        TypeError: if it is no `mole.MetaPrior`.
    """

    prior: MetaPrior

    def __check_init__(self) -> None:
        """Check the type of the prior."""
        expect_type("Static", "prior", self.prior, MetaPrior, _GIVES_ONE)

    def init(self) -> Int[Array, ""]:
        """Steps seen: a state has at least one array."""
        return jnp.zeros((), jnp.int32)

    def model(self, state: Int[Array, ""]) -> Model:
        """θ*."""
        return self.prior.model

    def learn(self, state: Int[Array, ""], x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Int[Array, ""]:
        """Count the step."""
        return state + 1

    def report(self, after: Int[Array, ""]) -> dict[str, Array]:
        """One task."""
        return single_task_report()
