"""The meta-loss over several steps: after the inner step, the adapted model is rolled along the recorded actions.

A planner asks a model for many steps ahead, and the errors of its own predictions are in the inputs of the later ones.
The one-step loss never sees that. Here a roll-out of H steps starts from every observation of the query half that has H
transitions before it ends:

    ô_{t+h+1} = apply_delta(ô_{t+h}, mean of the adapted model at features(ô_{t+h}, a_{t+h})),   ô_t = o_t
    e_h = delta(o_{t+h+1}, ô_{t+h+1}) / deviation of the targets
    loss = (1 − mix) · one-step loss + mix · Σ_h w_h mean 2 (√(1 + e_h²) − 1) / Σ_h w_h,   w_h = 1 / (1 + h)

The loss of a step is e² where e is small, the unit of the one-step loss, and grows linearly: a contact that comes one
step too late makes huge errors that would rule a squared loss. Late steps weigh less, since much of their error is that
of the steps before. The form is that of a trial on the half-cheetah (docs/training.md has its figures).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array, Float, Motion, MotionWindow, Window
from mole.learning.inner import adapt
from mole.learning.likelihoods import Categorical, Likelihood
from mole.learning.lowrank import adapted_mlp
from mole.learning.models import MLP, Normalizer
from mole.meta.maml import Fit, MetaObjective, mean_over

__all__ = ["Dynamics", "RolloutObjective", "expect_dynamics", "rolled_loss"]


@runtime_checkable
class Dynamics(Protocol):
    """How inputs and targets are made of transitions, and a state of a target; `mole.envs.DynamicsSpec` is one.

    Functions of single examples, traced by JAX. The object must be hashable.
    """

    @property
    def features(self) -> Callable[[Any, Any], Any]:
        """(obs [obs], action [act]) -> x [dx]."""
        ...

    @property
    def delta(self) -> Callable[[Any, Any], Any]:
        """(obs [obs], next_obs [obs]) -> y [dy]."""
        ...

    @property
    def apply_delta(self) -> Callable[[Any, Any], Any]:
        """(obs [obs], y [dy]) -> next_obs [obs], the inverse of `delta`."""
        ...


def expect_dynamics(
    dynamics: Dynamics | None, trajectories: Sequence[Any], likelihood: Likelihood, steps: int
) -> Dynamics:
    """The dynamics, unless nothing can be rolled along these trajectories.

    Raises:
        ValueError: if the dynamics are not known, the trajectories have no observations, or the targets are classes.
    """
    if isinstance(likelihood, Categorical):
        raise ValueError(  # noqa: TRY004  a likelihood is a value here
            f"meta_train got rollout={steps} for classes; expected targets that change a state. Use rollout=0."
        )
    if dynamics is None or not isinstance(trajectories[0], Motion):
        missing = "dynamics" if dynamics is None else "observations in the trajectories"
        raise ValueError(
            f"meta_train got rollout={steps} without {missing}; expected dynamics=DynamicsSpec and trajectories "
            "made by mole.datasets.transitions.to_motions. A plain stream has no state to roll: use rollout=0 for it."
        )
    return dynamics


def rolled_loss(
    outputs: Callable[[Float[Array, "q dx"]], Float[Array, "q out"]],
    likelihood: Likelihood,
    dynamics: Dynamics,
    norms: tuple[Normalizer, Normalizer],
    query: MotionWindow,
    steps: int,
) -> Float[Array, ""]:
    """The weighted loss of all roll-outs of ``steps`` steps within a window (second sum above).

    Args:
        outputs: the adapted model, for rows of normalised inputs.
        likelihood: gives the mean of an output.
        dynamics: of the recorded system.
        norms: of the inputs and of the targets.
        query: at least ``steps`` transitions in time. Where an episode ends within them, a roll-out goes on from the
            first observation of the next episode.
        steps: H.
    """
    x_norm, y_norm = norms
    starts = query.obs.shape[0] - steps + 1
    # Entry [h, s] of every part belongs to step h of the roll-out that began at s.
    index = jnp.arange(steps)[:, None] + jnp.arange(starts)[None, :]
    # The next observation is that of the next transition, bit for bit, unless there was a reset in between. After the
    # last transition nothing is rolled on.
    following = jnp.concatenate([query.obs[1:], query.next_obs[-1:]])
    unbroken = jnp.all(query.next_obs == following, axis=1)

    def step(obs: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        action, recorded, restart, goes_on = inputs
        x = jax.vmap(lambda o, a: x_norm(dynamics.features(o, a)))(obs, action)
        change = jax.vmap(lambda out: y_norm.inverse(likelihood.mean(out)))(outputs(x))
        predicted = jax.vmap(dynamics.apply_delta)(obs, change)
        # In the targets' units, whatever they are: the change that would lead from the truth to the prediction.
        error = jax.vmap(dynamics.delta)(recorded, predicted) / y_norm.std[None, :]
        loss = jnp.mean(2.0 * (jnp.sqrt(1.0 + jnp.square(error)) - 1.0))
        return jnp.where(goes_on[:, None], predicted, restart), loss

    parts = (query.actions, query.next_obs, following, unbroken)
    _, losses = jax.lax.scan(step, query.obs[:starts], tuple(part[index] for part in parts))
    weights = 1.0 / (1.0 + jnp.arange(steps))
    return jnp.sum(losses * weights) / jnp.sum(weights)


class RolloutObjective(eqx.Module):
    """The loss after one inner step, over one step and over ``steps`` of them; see the head of this file.

    An MLP is adapted in the low-rank form at every step of a roll-out (`mole.learning.lowrank.adapted_mlp`): its
    adapted weights are never built. Any other module is adapted by `mole.learning.inner.adapt`.
    """

    inner: MetaObjective
    x_norm: Normalizer
    y_norm: Normalizer
    dynamics: Dynamics = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    mix: float = eqx.field(static=True)

    def __call__(self, fit: Fit, windows: MotionWindow) -> Float[Array, ""]:
        """The loss of windows of 2k transitions, every part ``[batch, 2k, d]``, x and y normalised."""
        likelihood, first_order = self.inner.likelihood, self.inner.first_order
        rate = fit.rate if self.inner.learn_rate else jax.lax.stop_gradient(fit.rate)
        k, is_mlp = windows.x.shape[1] // 2, type(fit.model) is MLP
        given, norms = (fit.model, rate, likelihood), (self.x_norm, self.y_norm)

        def one(*parts: Array) -> Array:
            support, query = Window(parts[0][:k], parts[1][:k]), MotionWindow(*(part[k:] for part in parts))
            if is_mlp:
                outputs = adapted_mlp(*given, support, first_order=first_order)
            else:
                outputs = jax.vmap(adapt(*given, support.x, support.y, first_order=first_order))
            first = jnp.mean(jax.vmap(likelihood.loss)(outputs(query.x), query.y))
            rolled = rolled_loss(outputs, likelihood, self.dynamics, norms, query, self.steps)
            return (1.0 - self.mix) * first + self.mix * rolled

        return mean_over(windows, one, at_once=is_mlp)
