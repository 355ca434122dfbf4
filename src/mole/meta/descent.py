"""What training descends and how: objectives on windows of time, and Adam on freshly drawn batches of them.

A program is compiled once per kind of training, not once per training: the rounds of a control training share it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Key as Keys

from mole._types import Array, Float, Key, Model, Window
from mole.inner import InnerRate, window_loss
from mole.likelihoods import Likelihood
from mole.meta.maml import meta_loss
from mole.meta.tasks import WindowData, sample_windows

__all__ = ["Descent", "Fit", "MetaObjective", "PlainObjective", "begin", "cosine", "descend"]


class Fit(NamedTuple):
    """What is trained."""

    model: Model
    rate: InnerRate


class MetaObjective(eqx.Module):
    """The loss after one inner step (`mole.meta.maml.meta_loss`)."""

    likelihood: Likelihood
    learn_rate: bool = eqx.field(static=True)
    first_order: bool = eqx.field(static=True)

    def __call__(self, fit: Fit, windows: Window) -> Float[Array, ""]:
        """The loss of windows x ``[batch, 2k, dx]``, y ``[batch, 2k, dy]``."""
        rate = fit.rate if self.learn_rate else jax.lax.stop_gradient(fit.rate)
        return meta_loss(fit.model, rate, self.likelihood, windows, first_order=self.first_order)


class PlainObjective(eqx.Module):
    """The loss without an inner step, on all pairs of the windows."""

    likelihood: Likelihood

    def __call__(self, fit: Fit, windows: Window) -> Float[Array, ""]:
        """The loss of windows x ``[batch, 2k, dx]``, y ``[batch, 2k, dy]``."""
        x, y = windows.x.reshape(-1, windows.x.shape[-1]), windows.y.reshape(-1, windows.y.shape[-1])
        return window_loss(fit.model, self.likelihood, x, y)


class Descent(NamedTuple):
    """Numbers of the optimiser that a program is compiled for."""

    batch: int
    length: int
    clip_norm: float
    rate_speed: float

    def optimiser(self) -> optax.GradientTransformation:
        """Clipping and Adam, without the learning rate."""
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), optax.scale_by_adam())


def cosine(first: float, last: float, iterations: int) -> np.ndarray:
    """The learning rate ``[iterations]``, falling from ``first`` towards ``last`` along half a cosine."""
    share = 0.5 * (1.0 + np.cos(np.pi * np.arange(iterations) / iterations))
    return (last + (first - last) * share).astype(np.float32)


def begin(descent: Descent, fit: Fit) -> Any:
    """The optimiser's state before its first step."""
    return descent.optimiser().init(eqx.filter(fit, eqx.is_inexact_array))  # pyright: ignore[reportArgumentType]


@eqx.filter_jit
def descend(
    objective: MetaObjective | PlainObjective,
    descent: Descent,
    fit: Fit,
    opt_state: Any,
    data: WindowData,
    weights: Float[Array, " groups"],
    keys: Keys[Array, " steps"],
    rates: Float[Array, " steps"],
) -> tuple[Fit, Any]:
    """One step for each of ``keys[steps]``, with the learning rates of the same steps.

    Args:
        objective: what to descend.
        descent: sizes and the optimiser's numbers.
        fit: where to start.
        opt_state: from `begin`, or of the steps before.
        data: windows of ``descent.length`` pairs.
        weights: of the groups of the data.
        keys: of the batches.
        rates: learning rate of the model's parameters; that of the inner rates is ``descent.rate_speed`` times it.
    """
    arrays, static = eqx.partition(fit, eqx.is_inexact_array)
    optimiser = descent.optimiser()

    def step(carry: tuple[Any, Any], inputs: tuple[Key, Array]) -> tuple[tuple[Any, Any], None]:
        (arrays, opt_state), (key, rate) = carry, inputs
        windows = sample_windows(data, key, descent.batch, descent.length, weights)
        gradient = jax.grad(lambda a: objective(eqx.combine(a, static), windows))(arrays)
        direction: Any
        direction, opt_state = optimiser.update(gradient, opt_state)
        moved = direction._replace(
            model=jax.tree.map(lambda d: -rate * d, direction.model),
            rate=jax.tree.map(lambda d: -(descent.rate_speed * rate) * d, direction.rate),
        )
        return (optax.apply_updates(arrays, moved), opt_state), None

    (arrays, opt_state), _ = jax.lax.scan(step, (arrays, opt_state), (keys, rates))
    return eqx.combine(arrays, static), opt_state
