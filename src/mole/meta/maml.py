"""Meta-learning θ* and its inner rates on windows of time (MAML, Finn et al. 2017; MOLe, section 4.1).

    min over θ, β of   E over windows   L(θ − β ∘ ∇L(θ, D_tr), D_val)

D_tr are the first k and D_val the last k pairs of a window. There are two exact ways to the same number:
`adapted_loss` adapts any Equinox module; `adapted_loss_mlp` never builds the adapted weights of an MLP
(`mole.learning.lowrank`). `descend` minimises the mean of either, or the plain loss of supervised training, by Adam on
freshly drawn batches of windows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Key as Keys

from mole._expect import expect_type
from mole._types import Array, Float, Key, Model, MotionWindow, Window
from mole.learning.inner import InnerRate, adapt, window_loss
from mole.learning.likelihoods import Likelihood
from mole.learning.lowrank import adapted_outputs_mlp
from mole.learning.models import MLP
from mole.meta.devices import divided
from mole.meta.tasks import WindowData, sample_windows

__all__ = [
    "Descent",
    "Fit",
    "MetaObjective",
    "PlainObjective",
    "adapted_loss",
    "adapted_loss_mlp",
    "begin",
    "cosine",
    "descend",
    "evaluate",
    "judge",
    "mean_over",
    "meta_loss",
]


def adapted_loss(
    model: Model,
    rate: InnerRate,
    likelihood: Likelihood,
    support: Window,
    query: Window,
    *,
    first_order: bool = False,
) -> Float[Array, ""]:
    """L(θ − β ∘ ∇L(θ, support), query) of one window, for any Equinox module.

    Args:
        model: θ.
        rate: β.
        likelihood: gives L.
        support: pairs to adapt on, x ``[k, dx]``, y ``[k, dy]``, normalised.
        query: pairs to be judged on, any number.
        first_order: drop the second derivatives (FOMAML).
    """
    expect_type("adapted_loss", "support", support, Window)
    expect_type("adapted_loss", "query", query, Window)
    adapted = adapt(model, rate, likelihood, support.x, support.y, first_order=first_order)
    return window_loss(adapted, likelihood, query.x, query.y)


def adapted_loss_mlp(
    model: MLP,
    rate: InnerRate,
    likelihood: Likelihood,
    support: Window,
    query: Window,
    *,
    first_order: bool = False,
) -> Float[Array, ""]:
    """`adapted_loss` of an MLP by the fast path; equal to it up to rounding, gradients included."""
    outputs = adapted_outputs_mlp(model, rate, likelihood, support, query.x, first_order=first_order)
    return jnp.mean(jax.vmap(likelihood.loss)(outputs, query.y))


def meta_loss(
    model: Model,
    rate: InnerRate,
    likelihood: Likelihood,
    windows: Window,
    *,
    first_order: bool = False,
    fast: bool | None = None,
) -> Float[Array, ""]:
    """Mean adapted loss over a batch of windows: the objective of meta-training.

    Args:
        model: θ.
        rate: β.
        likelihood: gives L.
        windows: x ``[batch, 2k, dx]``, y ``[batch, 2k, dy]``, normalised; the first half is the support.
        first_order: drop the second derivatives.
        fast: True takes the fast path (MLP only), False the plain one; None takes the fast one for an MLP.

    Raises:
        ValueError: if a window has an odd number of pairs.
        TypeError: if an argument is of another type, or ``fast`` is True for a module that is not exactly
            `mole.learning.models.MLP`.
    """
    expect_type("meta_loss", "windows", windows, Window)
    expect_type("meta_loss", "rate", rate, InnerRate, "mole.ScalarRate(0.1) is one.")
    expect_type("meta_loss", "likelihood", likelihood, Likelihood, "mole.Gaussian() is one.")
    length = windows.x.shape[1]
    if length % 2:
        raise ValueError(f"meta_loss got windows of {length} pairs; expected an even number 2k.")
    # A subclass may compute something else than the fast path, which reads the layers alone.
    is_mlp = type(model) is MLP
    if fast and not is_mlp:
        raise TypeError(
            f"fast=True got a {type(model).__name__}; expected mole.learning.models.MLP. Leave fast=None."
        )
    k = length // 2
    one = adapted_loss_mlp if (is_mlp and fast is not False) else adapted_loss

    def window_objective(x: Array, y: Array) -> Array:
        support, query = Window(x[:k], y[:k]), Window(x[k:], y[k:])
        return one(model, rate, likelihood, support, query, first_order=first_order)

    return mean_over(windows, window_objective, at_once=one is adapted_loss_mlp)


def mean_over(
    windows: Window | MotionWindow, one: Callable[..., Float[Array, ""]], *, at_once: bool
) -> Float[Array, ""]:
    """The mean of ``one(*parts of a window)`` over a batch of windows.

    Args:
        windows: every part with a leading ``batch`` axis.
        one: the loss of one window.
        at_once: by `jax.vmap`, for a loss that builds no adapted weights; else one window after another.
    """
    if at_once:
        return jnp.mean(jax.vmap(one)(*windows))

    # One window after another: the adapted weights of a single window stay in the cache, those of a whole batch do not.
    # Checkpointed, since the backward pass would otherwise keep the intermediate values of all windows.
    checkpointed = eqx.filter_checkpoint(one)
    total, _ = jax.lax.scan(lambda s, parts: (s + checkpointed(*parts), None), jnp.zeros(()), tuple(windows))
    return total / windows.x.shape[0]


class Fit(NamedTuple):
    """What is trained: the network θ and the inner rates β."""

    model: Model
    rate: InnerRate


class MetaObjective(eqx.Module):
    """The loss after one inner step (`mole.meta.maml.meta_loss`)."""

    likelihood: Likelihood
    learn_rate: bool = eqx.field(static=True)
    first_order: bool = eqx.field(static=True)

    def __call__(self, fit: Fit, windows: Window) -> Float[Array, ""]:
        """The loss of windows x ``[batch, 2k, dx]``, y ``[batch, 2k, dy]``."""
        # Stopped, not left out: the gradient has the same structure either way, and its part for β is zero.
        rate = fit.rate if self.learn_rate else jax.lax.stop_gradient(fit.rate)
        return meta_loss(fit.model, rate, self.likelihood, windows, first_order=self.first_order)


class PlainObjective(eqx.Module):
    """The loss without an inner step, on all pairs of the windows."""

    likelihood: Likelihood

    def __call__(self, fit: Fit, windows: Window) -> Float[Array, ""]:
        """The loss of windows x ``[batch, 2k, dx]``, y ``[batch, 2k, dy]``."""
        # Windows here are only a way to draw the same pairs as meta-training does.
        x, y = windows.x.reshape(-1, windows.x.shape[-1]), windows.y.reshape(-1, windows.y.shape[-1])
        return window_loss(fit.model, self.likelihood, x, y)


class Descent(NamedTuple):
    """Numbers of the optimiser that are compiled into a program.

    They are few on purpose: the rounds of a control training differ in other numbers only, and share one program.

    Attributes:
        batch: windows in one gradient step.
        length: pairs in a window (2k).
        clip_norm: largest global norm of a gradient.
        rate_speed: learning rate of the inner rates, as a multiple of that of the model's parameters.
        devices: that share the windows of a step; the default device alone if None.
    """

    batch: int
    length: int
    clip_norm: float
    rate_speed: float
    devices: int | None = None

    def optimiser(self) -> optax.GradientTransformation:
        """Clipping and Adam, without the learning rate."""
        # Clipped first: a single huge gradient would stay in the averages of Adam for a thousand steps.
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), optax.scale_by_adam())


def cosine(first: float, last: float, iterations: int) -> np.ndarray:
    """The learning rate ``[iterations]``, falling from ``first`` towards ``last`` along half a cosine."""
    # In float64 and ahead of time, so that a training that goes on has the same rates to the last bit.
    share = 0.5 * (1.0 + np.cos(np.pi * np.arange(iterations) / iterations))
    return (last + (first - last) * share).astype(np.float32)


def begin(descent: Descent, fit: Fit) -> Any:
    """The optimiser's state before its first step."""
    return descent.optimiser().init(eqx.filter(fit, eqx.is_inexact_array))  # pyright: ignore[reportArgumentType]


@eqx.filter_jit
def descend(
    objective: Callable[[Fit, Any], Float[Array, ""]],
    descent: Descent,
    fit: Fit,
    opt_state: Any,
    data: WindowData,
    weights: Float[Array, " groups"],
    keys: Keys[Array, " steps"],
    rates: Float[Array, " steps"],
) -> tuple[Fit, Any]:
    """One gradient step for each of ``keys[steps]``, with the learning rates of the same steps.

    Args:
        objective: what to descend, of a fit and windows: `MetaObjective`, `PlainObjective` or
            `mole.meta.rollout.RolloutObjective`.
        descent: sizes and the optimiser's numbers.
        fit: where to start.
        opt_state: from `begin`, or of the steps before.
        data: windows of ``descent.length`` pairs.
        weights: of the groups of the data.
        keys: of the batches.
        rates: learning rate of the model's parameters; that of the inner rates is ``descent.rate_speed`` times it.

    Returns:
        The fit and the optimiser's state after the last step.
    """
    # Activations and sizes are no arrays: only what has a gradient goes through the scan.
    arrays, static = eqx.partition(fit, eqx.is_inexact_array)
    optimiser = descent.optimiser()

    def step(carry: tuple[Any, Any], inputs: tuple[Key, Array]) -> tuple[tuple[Any, Any], None]:
        (arrays, opt_state), (key, rate) = carry, inputs
        windows = sample_windows(data, key, descent.batch, descent.length, weights)
        windows = divided(windows, descent.devices)
        gradient = jax.grad(lambda a: objective(eqx.combine(a, static), windows))(arrays)
        direction: Any
        direction, opt_state = optimiser.update(gradient, opt_state)
        # The optimiser has no learning rate of its own: it would be compiled into the program.
        moved = direction._replace(
            model=jax.tree.map(lambda d: -rate * d, direction.model),
            rate=jax.tree.map(lambda d: -(descent.rate_speed * rate) * d, direction.rate),
        )
        return (optax.apply_updates(arrays, moved), opt_state), None

    (arrays, opt_state), _ = jax.lax.scan(step, (arrays, opt_state), (keys, rates))
    return eqx.combine(arrays, static), opt_state


@eqx.filter_jit
def judge(objective: Callable[[Fit, Any], Float[Array, ""]], fit: Fit, windows: Any) -> Float[Array, ""]:
    """An objective's value on windows, compiled."""
    return objective(fit, windows)


@eqx.filter_jit
def evaluate(
    fit: Fit, likelihood: Likelihood, windows: Window | MotionWindow, adapts: bool
) -> tuple[Array, Array, Array]:
    """Query loss of θ, query loss after adaptation (if it adapts), and the root-mean-square residual per dimension."""
    k = windows.x.shape[1] // 2

    def one(window: Window | MotionWindow) -> tuple[Array, Array, Array]:
        # The residual is that of the adapted model, as the mixture judges with adapted models.
        x, y = window.x, window.y
        adapted = adapt(fit.model, fit.rate, likelihood, x[:k], y[:k]) if adapts else fit.model
        squared = jnp.square(jax.vmap(lambda a, b: b - likelihood.mean(adapted(a)))(x[k:], y[k:]))
        losses = [window_loss(m, likelihood, x[k:], y[k:]) for m in (fit.model, adapted)]
        return losses[0], losses[1], jnp.mean(squared, axis=0)

    # One window after another: a vmap would hold the adapted weights of all windows in memory.
    before, after, squared = jax.lax.map(one, windows)
    return jnp.mean(before), jnp.mean(after), jnp.sqrt(jnp.mean(squared, axis=0))
