"""Outputs of an MLP after one inner step, without building the adapted weights.

After one step the adapted layer is W − (r cᵀ) ∘ (Hᵀ Δ), with H the k support activations, Δ the k output gradients and
r cᵀ the inner rates. A query row h therefore gives h W − ((h ∘ r) Hᵀ)(Δ ∘ c): products with k columns instead of a new
matrix, and all windows of a meta-batch share the one large product with W. Exact for every `InnerRate`, differentiable.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mole._types import Array, Float, Model, Window
from mole.learning.inner import InnerRate, adapt, weighted_mean
from mole.learning.likelihoods import Likelihood
from mole.learning.models import MLP

__all__ = ["adapted_mlp", "adapted_outputs", "adapted_outputs_mlp"]


def adapted_outputs(
    model: Model,
    rate: InnerRate,
    likelihood: Likelihood,
    support: Window,
    query_x: Float[Array, "q dx"],
) -> Float[Array, "q out"]:
    """Raw outputs ``[q, out]`` of the adapted model: the fast way for an MLP, by `adapt` for any other module."""
    if type(model) is MLP:
        return adapted_outputs_mlp(model, rate, likelihood, support, query_x)
    return jax.vmap(adapt(model, rate, likelihood, support.x, support.y))(query_x)


def adapted_outputs_mlp(
    model: MLP,
    rate: InnerRate,
    likelihood: Likelihood,
    support: Window,
    query_x: Float[Array, "q dx"],
    *,
    weights: Float[Array, " k"] | None = None,
    first_order: bool = False,
) -> Float[Array, "q out"]:
    """Raw outputs ``[q, out]`` of the MLP after one inner step on the support window, without building that MLP.

    Args:
        model: θ.
        rate: β.
        likelihood: gives the support loss.
        support: pairs to adapt on, x ``[k, dx]``, y ``[k, dy]``, normalised.
        query_x: inputs ``[q, dx]``, normalised.
        weights: weight of each support pair in the mean loss, see `window_loss`.
        first_order: treat the inner gradient as a constant when differentiating.
    """
    return adapted_mlp(model, rate, likelihood, support, weights=weights, first_order=first_order)(query_x)


def adapted_mlp(
    model: MLP,
    rate: InnerRate,
    likelihood: Likelihood,
    support: Window,
    *,
    weights: Float[Array, " k"] | None = None,
    first_order: bool = False,
) -> Callable[[Float[Array, "q dx"]], Float[Array, "q out"]]:
    """The adapted MLP as a function of inputs ``[q, dx]``, for inputs that are not all known at once.

    Arguments as in `adapted_outputs_mlp`. The support's gradients are computed once, however often it is called.
    """
    inputs, deltas = _support_gradients(model, likelihood, support, weights)
    # Both are stopped: the inner gradient Hᵀ Δ depends on θ through either.
    if first_order:
        inputs, deltas = jax.lax.stop_gradient((inputs, deltas))
    factors = rate.factors(model)

    def outputs(query_x: Float[Array, "q dx"]) -> Float[Array, "q out"]:
        h = query_x
        for number, layer in enumerate(model.layers):
            # The factors are in the order of `jax.tree.leaves`: weight and bias of each layer in turn.
            (row, column), (bias_row, bias_column) = factors[2 * number], factors[2 * number + 1]
            delta = deltas[number]
            # Only these two thin products differ from window to window; the large one, h W, is shared by a meta-batch.
            change = ((h * _as_row(row)) @ inputs[number].T) @ (delta * _as_row(column))
            bias_change = jnp.sum(delta, axis=0) * (bias_row * bias_column)
            h = jax.vmap(layer)(h) - change - bias_change[None, :]
            if number + 1 < len(model.layers):
                h = model.activation(h)
        return h

    return outputs


def _as_row(factor: Array) -> Array:
    return factor[None, :] if factor.ndim else factor


def _support_gradients(
    model: MLP, likelihood: Likelihood, support: Window, weights: Array | None
) -> tuple[list[Array], list[Array]]:
    """Per layer, its k inputs H and the gradients Δ of the mean loss in its k outputs."""
    # Gradients in the outputs of the layers, by hand: `jax.grad` would build those of the weights, which are avoided.
    inputs, pullbacks, h = [], [], support.x
    for layer in model.layers[:-1]:
        inputs.append(h)
        h, pullback = jax.vjp(model.activation, jax.vmap(layer)(h))
        pullbacks.append(pullback)
    inputs.append(h)
    output = jax.vmap(model.layers[-1])(h)

    def loss(out: Array) -> Array:
        losses = jax.vmap(likelihood.loss)(out, support.y)
        return jnp.mean(losses) if weights is None else weighted_mean(losses, weights)

    deltas = [jax.grad(loss)(output)]
    for layer, pullback in zip(reversed(model.layers[1:]), reversed(pullbacks), strict=True):
        (delta,) = pullback(deltas[0] @ layer.weight.T)
        deltas.insert(0, delta)
    return inputs, deltas
