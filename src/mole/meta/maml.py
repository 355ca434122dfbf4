"""Meta-learning θ* and its inner rates on windows of time (MAML, Finn et al. 2017; MOLe, section 4.1).

    min over θ, β of   E over windows   L(θ − β ∘ ∇L(θ, D_tr), D_val)

D_tr the first k and D_val the last k pairs of a window. Two exact ways to the same number: `adapted_loss` adapts any
Equinox module; `adapted_loss_mlp` never builds the adapted weights of an MLP (`mole.lowrank`).
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_type
from mole._types import Array, Float, Model, Window
from mole.inner import InnerRate, adapt, window_loss
from mole.likelihoods import Likelihood
from mole.lowrank import adapted_outputs_mlp
from mole.models import MLP

__all__ = ["adapted_loss", "adapted_loss_mlp", "meta_loss"]


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
        fast: True takes the fast path (MLP only), False the plain one; None the fast one where there is one.

    Raises:
        ValueError: if a window has an odd number of pairs.
        TypeError: if the fast path is asked for a module that is not `mole.models.MLP`.
    """
    expect_type("meta_loss", "windows", windows, Window)
    expect_type("meta_loss", "rate", rate, InnerRate, "mole.ScalarRate(0.1) is one.")
    expect_type("meta_loss", "likelihood", likelihood, Likelihood, "mole.Gaussian() is one.")
    length = windows.x.shape[1]
    if length % 2:
        raise ValueError(f"meta_loss got windows of {length} pairs; expected an even number 2k.")
    is_mlp = type(model) is MLP
    if fast and not is_mlp:
        raise TypeError(f"fast=True got a {type(model).__name__}; expected mole.models.MLP. Leave fast=None.")
    k = length // 2
    one = adapted_loss_mlp if (is_mlp and fast is not False) else adapted_loss

    def window_objective(x: Array, y: Array) -> Array:
        support, query = Window(x[:k], y[:k]), Window(x[k:], y[k:])
        return one(model, rate, likelihood, support, query, first_order=first_order)

    if one is adapted_loss_mlp:
        return jnp.mean(jax.vmap(window_objective)(windows.x, windows.y))

    # One window after another: adapted weights of a single window stay in cache, a vmap would stream all of them.
    checkpointed = eqx.filter_checkpoint(window_objective)
    total, _ = jax.lax.scan(
        lambda s, xy: (s + checkpointed(*xy), None), jnp.zeros(()), (windows.x, windows.y)
    )
    return total / windows.x.shape[0]
