"""What keeps bad data and numerical accidents out of a learner: faults of a pair, and steps that are cut or refused.

A learner judges every pair before it learns. A pair that cannot be learned is refused, and the state stays unchanged,
bit for bit; a pair that is only suspicious is learned and flagged. Every gradient step is checked too: its length is
bounded by the loss, and a step that is not finite is not taken. Results on healthy data are the same bits as without.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Bool, Float, Int, Model, Pairs
from mole.learning.inner import InnerRate, weighted_mean
from mole.learning.likelihoods import Likelihood

__all__ = [
    "REFUSED",
    "STILL",
    "Fault",
    "code",
    "count_faults",
    "entry_fault",
    "guarded_adapt",
    "pair_fault",
    "sequence_fault",
    "union",
    "unmoved",
]

STILL = 32
"""Consecutive pairs with the same number after which it is flagged, in learners that keep no pairs."""
_STABLE = 4.0
"""Largest first-order reduction of a step that stays stable when it is repeated, as a multiple of the loss."""
_WILD = 100.0
"""Loss that no step may lead to: predictions that are off by ten standard deviations of the training data. The limit is
so wide because a step may be too long for a short window of honest data as well."""


class Fault(enum.IntFlag):
    """What was wrong with a pair or with the step on it, as bits of ``Info.fault``; 0 is a healthy pair.

    Attributes:
        NOT_FINITE: a NaN or an infinity; the pair was refused.
        OUT_OF_REACH: a number too far from what the prior was trained on; the pair was refused.
        REPEATED: the pair is the one before, in every number: a stuck or duplicated sample.
        STILL: the target, or an input away from its mean, has not moved over all pairs that the learner keeps.
        STEP_CUT: the gradient step was longer than the loss can bear, and was shortened.
        STEP_REFUSED: the gradient was not finite, and no step was taken.
        DRAWN_IN: an input so far out that it was learned, but drawn in (`mole.readout` does so).
    """

    NOT_FINITE = 1
    OUT_OF_REACH = 2
    REPEATED = 4
    STILL = 8
    STEP_CUT = 16
    STEP_REFUSED = 32
    DRAWN_IN = 64


REFUSED = Fault.NOT_FINITE | Fault.OUT_OF_REACH
"""Faults for which a pair is not learned."""


def count_faults(codes: Iterable[int] | np.ndarray) -> dict[str, int]:
    """Number of pairs with each fault, by the fault's name in lower case; faults that did not happen are left out.

    Args:
        codes: ``Info.fault`` of some pairs, ``[n]``.
    """
    found = np.asarray(codes, np.int64)
    counts = {str(fault.name).lower(): int(np.sum(found & fault.value != 0)) for fault in Fault}
    return {name: count for name, count in counts.items() if count}


def union(*codes: Int[Array, "*any"]) -> Int[Array, ""]:
    """All faults of several codes (or of all entries of one) in one code."""
    flat = jnp.concatenate([jnp.ravel(code) for code in codes])
    return jax.lax.reduce(flat, jnp.int32(0), jax.lax.bitwise_or, (0,))


def code(happened: Bool[Array, ""], fault: Fault) -> Int[Array, ""]:
    """The bit of a fault if it happened, else 0."""
    return jnp.where(happened, jnp.int32(fault.value), jnp.int32(0))


def entry_fault(x: Float[Array, " dx"], y: Float[Array, " dy"], reach: float) -> Int[Array, ""]:
    """What is wrong with a normalised pair by itself.

    Args:
        x: input.
        y: target.
        reach: standard deviations of the training data beyond which a number is out of reach.
    """
    # A comparison with NaN is false, so `isfinite` alone finds it.
    largest = jnp.maximum(jnp.max(jnp.abs(x), initial=0.0), jnp.max(jnp.abs(y), initial=0.0))
    finite = jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(y))
    return jnp.where(finite, code(largest > reach, Fault.OUT_OF_REACH), jnp.int32(Fault.NOT_FINITE.value))


def sequence_fault(recent: Pairs, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Int[Array, ""]:
    """What is suspicious about a normalised pair after those before it; an honest stream may look the same.

    Args:
        recent: the last pairs, without this one.
        x: input.
        y: target.
    """
    repeated = jnp.all(x == recent.x[-1]) & jnp.all(y == recent.y[-1]) & (recent.weight[-1] > 0)
    whole = jnp.all(recent.weight > 0) & (recent.weight.shape[0] > 1)
    # Inputs that were constant in training (padding, unused columns) are at their mean, zero: no fault.
    still_x = jnp.any(jnp.all(recent.x == x[None], axis=0) & (x != 0.0))
    still_y = jnp.any(jnp.all(recent.y == y[None], axis=0))
    return code(repeated, Fault.REPEATED) | code(whole & (still_x | still_y), Fault.STILL)


def unmoved(still: Int[Array, " n"], last: Float[Array, " n"], pair: Float[Array, " n"]) -> Int[Array, " n"]:
    """For how many pairs each number has been the same, up to `STILL`."""
    return jnp.where(pair == last, jnp.minimum(still + 1, STILL), 0)


def pair_fault(
    x: Float[Array, " dx"], y: Float[Array, " dy"], still: Int[Array, " dx+dy"], reach: float
) -> Int[Array, ""]:
    """What is suspicious about a normalised pair that was learned, for a learner that keeps no pairs.

    Args:
        x: input.
        y: target.
        still: `unmoved`, with this pair.
        reach: standard deviations beyond which an input is flagged.
    """
    # As in `sequence_fault`; a target counts wherever it is.
    telling = jnp.concatenate([x, jnp.ones_like(y)]) != 0.0
    return (
        code(jnp.all(still > 0), Fault.REPEATED)
        | code(jnp.any((still >= STILL) & telling), Fault.STILL)
        | code(jnp.max(jnp.abs(x)) > reach, Fault.DRAWN_IN)
    )


def guarded_adapt(
    model: Model,
    rate: InnerRate,
    likelihood: Likelihood,
    x: Float[Array, "k dx"],
    y: Float[Array, "k dy"],
    *,
    weights: Float[Array, " k"] | None = None,
    scale: Float[Array, ""] | float = 1.0,
) -> tuple[Model, Int[Array, ""]]:
    """`mole.learning.inner.adapt`, with a bound on the length of the step.

    To first order the step s β ∘ g reduces the loss L by p = s gᵀ(β ∘ g). Let L₀ be the least value of the loss. If the
    loss is quadratic and the step stays stable when it is repeated (s β below 2 / largest curvature), then
    p ≤ 4 (L − L₀). A step with a larger p is shortened to p = L − L₀, a Polyak step (Polyak 1987, section 5.3), if it
    would lead to a loss above 100. That loss is estimated as (p / 2(L − L₀) − 1)² (L − L₀), which is exact where one
    pair dominates the gradient: a distant pair makes the curvature, and an unchecked step, as large as the square of
    its distance.

    Args:
        model: θ.
        rate: β.
        likelihood: gives the loss L and L₀.
        x: inputs ``[k, dx]``, normalised.
        y: targets ``[k, dy]``, normalised.
        weights: weight of each pair ``[k]`` in the mean, see `mole.learning.inner.window_loss`.
        scale: s; exactly zero leaves the parameters bit-identical.

    Returns:
        The adapted model, and `Fault.STEP_CUT`, `Fault.STEP_REFUSED` (the model is unchanged) or 0.
    """

    def loss_of(theta: Model) -> Array:
        losses = jax.vmap(lambda a, b: likelihood.loss(theta(a), b))(x, y)
        return jnp.mean(losses) if weights is None else weighted_mean(losses, weights)

    # Loss and gradient in one pass: the check must not cost a second one.
    loss, gradient = eqx.filter_value_and_grad(loss_of)(model)
    scale = jnp.asarray(scale)
    direction = rate.scaled(gradient)
    products = jax.tree.map(lambda g, d: jnp.sum(g.astype(jnp.float32) * d), gradient, direction)
    gain = scale * sum(jax.tree.leaves(products), jnp.zeros(()))
    room = loss - likelihood.least_loss
    refused = (scale != 0) & ~(jnp.isfinite(gain) & jnp.isfinite(loss))
    too_far = jnp.square(0.5 * gain / jnp.maximum(room, 1e-30) - 1.0) * room > _WILD
    cut = (gain > _STABLE * room) & too_far & ~refused
    taken = jnp.where(cut, scale * jnp.maximum(room, 0.0) / jnp.where(cut, gain, 1.0), scale)
    moved = eqx.apply_updates(model, jax.tree.map(lambda d: -taken.astype(d.dtype) * d, direction))
    stays = (scale == 0) | refused
    # A selection and not a step of zero: adding zero loses the sign of -0.0 and flushes subnormal numbers.
    adapted = jax.tree.map(
        lambda old, new: jnp.where(stays, old, new) if eqx.is_inexact_array(old) else old, model, moved
    )
    return adapted, code(cut, Fault.STEP_CUT) | code(refused, Fault.STEP_REFUSED)
