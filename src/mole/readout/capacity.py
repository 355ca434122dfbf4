"""Room in a full mixture of readouts: which task goes, or which two become one, when another has been found."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array, Bool, Float, Int
from mole.readout.belief import Belief
from mole.readout.prior import ReadoutPrior
from mole.readout.slots import ReadoutState

__all__ = ["closest", "distance", "merged", "merged_tasks"]


def distance(one: Belief, two: Belief, origin_one: Belief, origin_two: Belief) -> Float[Array, ""]:
    """How differently two tasks predict on their own data, as far as their beliefs remember it.

    A belief with the prior precision Λ₀ that has seen the inputs Z has the precision Λ = Λ₀ + ZᵀZ. If the coefficients
    of two tasks differ by Δ, their predictions on both tasks' inputs differ by the sum of squares
    Δᵀ(Λ₁ − Λ₀₁ + Λ₂ − Λ₀₂)Δ. The distance is this sum divided by the number of pairs, in units of the noise's variance,
    and averaged over outputs. Below one, predictions do not distinguish the tasks. Two tasks that have seen nothing are
    at distance zero.

    Args:
        one: belief of a task, without leading axes.
        two: belief of another task.
        origin_one: the prior's belief that the first task began from.
        origin_two: that of the second.
    """
    seen = _information(one, origin_one) + _information(two, origin_two)
    apart = one.mean - two.mean
    pairs = 2.0 * (one.shape + two.shape - origin_one.shape - origin_two.shape)
    noise = (one.rate + two.rate) / (one.shape + two.shape)
    squared = jnp.maximum(jnp.einsum("iy,ij,jy->y", apart, seen, apart), 0.0)
    return jnp.mean(squared / noise) / jnp.maximum(pairs, 1.0)


def merged(one: Belief, two: Belief, origin_two: Belief) -> Belief:
    """The belief of one task that has seen the pairs of both.

    By Bayes' rule natural parameters add, and the prior that the second task began from is subtracted once. Without
    drift the result is exactly the belief of a task that has seen the pairs of both, in any order.
    """
    precision_one, precision_two, origin = (_inverse(b.cov) for b in (one, two, origin_two))
    precision = precision_one + precision_two - origin
    cov = _inverse(precision)
    # Relative to the first task's mean: terms that nearly cancel are small then, and lose few digits.
    ours, theirs = two.mean - one.mean, origin_two.mean - one.mean
    moved = cov @ (precision_two @ ours - origin @ theirs)
    squares = [
        jnp.einsum("iy,ij,jy->y", by, matrix, by)
        for by, matrix in ((ours, precision_two), (theirs, origin), (moved, precision))
    ]
    misfit = 0.5 * (squares[0] - squares[1] - squares[2])
    return Belief(
        mean=one.mean + moved,
        cov=cov,
        shape=jnp.maximum(one.shape + two.shape - origin_two.shape, one.shape),
        rate=jnp.maximum(one.rate + two.rate - origin_two.rate + misfit, one.rate),
    )


def closest(
    prior: ReadoutPrior, state: ReadoutState
) -> tuple[Int[Array, ""], Int[Array, ""], Float[Array, ""]]:
    """Slots of the two known tasks at the least `distance`, the more used one first, and that distance.

    The leading slot is left out: it holds the candidate that needs the room. Each task is compared at its most probable
    rate of drift.
    """
    slots = state.probability.shape[0]
    places = jnp.arange(slots)
    usual = jnp.argmax(state.rate_scores, axis=-1)
    own = jax.tree.map(lambda a: a[places, usual], state.beliefs)
    origin = jax.tree.map(lambda a: a[state.kind], prior.beliefs)

    def row(belief: Belief, start: Belief) -> Array:
        return jax.vmap(lambda other, begun: distance(belief, other, start, begun))(own, origin)

    distances = jax.lax.map(lambda pair: row(*pair), (own, origin))
    known = (state.task >= 0) & (places != state.lead)
    told = known[:, None] & known[None] & (places[:, None] != places[None])
    # Beliefs that are nearly singular may give no finite distance: such tasks are not merged.
    distances = jnp.where(told & jnp.isfinite(distances), distances, jnp.inf)
    first, second = jnp.divmod(jnp.argmin(distances), slots)
    swap = state.led[second] > state.led[first]
    least = distances[first, second]
    return jnp.where(swap, second, first), jnp.where(swap, first, second), least


def merged_tasks(
    prior: ReadoutPrior, state: ReadoutState, needed: Bool[Array, ""]
) -> tuple[ReadoutState, Int[Array, ""], Bool[Array, ""]]:
    """Merge the two closest tasks, if room is needed and they predict alike.

    Returns:
        The state, the slot that is free now, and whether two tasks were merged.
    """

    def joined(state: ReadoutState) -> tuple[ReadoutState, Array, Array]:
        first, second, far = closest(prior, state)
        one, two = (jax.tree.map(lambda a, s=slot: a[s], state.beliefs) for slot in (first, second))
        begun = jax.tree.map(lambda a: a[state.kind[second]], prior.beliefs)
        both = jax.vmap(merged, in_axes=(0, 0, None))(one, two, begun)
        # After drift a difference of precisions need not be positive definite: then nothing is merged.
        sound = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(both)]))
        near = (far < 1.0) & sound & jnp.all(jnp.diagonal(both.cov, axis1=-2, axis2=-1) > 0)
        together = eqx.tree_at(
            lambda s: (s.beliefs, s.led, s.last_led, s.probability),
            state,
            (
                jax.tree.map(lambda stack, new: stack.at[first].set(new), state.beliefs, both),
                state.led.at[first].add(state.led[second]).at[second].set(0.0),
                state.last_led.at[first].max(state.last_led[second]),
                state.probability.at[first].add(state.probability[second]).at[second].set(0.0),
            ),
        )
        kept = jax.tree.map(lambda a, b: jnp.where(near, a, b), together, state)
        return kept, second, near

    nothing = (jnp.zeros((), state.lead.dtype), jnp.zeros((), bool))
    return jax.lax.cond(needed, joined, lambda same: (same, *nothing), state)


def _information(belief: Belief, origin: Belief) -> Float[Array, "d d"]:
    """ZᵀZ of what the belief remembers."""
    return _inverse(belief.cov) - _inverse(origin.cov)


def _inverse(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Inverse of a symmetric positive definite matrix, exactly symmetric."""
    factor = jax.scipy.linalg.cho_factor(0.5 * (matrix + matrix.T), lower=True)
    inverse = jax.scipy.linalg.cho_solve(factor, jnp.eye(matrix.shape[0]))
    return 0.5 * (inverse + inverse.T)
