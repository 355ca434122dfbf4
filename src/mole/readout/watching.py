"""What a mixture of readouts says about the pair that it has just seen: refused, repeated, standing still, drawn in."""

from __future__ import annotations

import jax.numpy as jnp

from mole._types import Array, Bool, Float, Int
from mole.online.guard import Fault, code

__all__ = ["STILL", "pair_fault", "unmoved"]

STILL = 32
"""Pairs for which a number must be the same to be flagged."""


def unmoved(still: Int[Array, " n"], last: Float[Array, " n"], pair: Float[Array, " n"]) -> Int[Array, " n"]:
    """For how many pairs each number has been the same, up to `STILL`."""
    return jnp.where(pair == last, jnp.minimum(still + 1, STILL), 0)


def pair_fault(
    x: Float[Array, " dx"],
    y: Float[Array, " dy"],
    still: Int[Array, " dx+dy"],
    *,
    finite: Bool[Array, ""],
    valid: Bool[Array, ""],
    reach: float,
) -> Int[Array, ""]:
    """Bits of `mole.online.Fault` for a normalised pair.

    Args:
        x: input.
        y: target.
        still: `unmoved`, with this pair.
        finite: whether all is finite.
        valid: whether the pair is learned.
        reach: standard deviations beyond which an input is flagged.
    """
    # What was constant in training is at its mean; padding and unused inputs are no fault.
    telling = jnp.concatenate([x, jnp.ones_like(y)]) != 0.0
    seen = (
        code(jnp.all(still > 0), Fault.REPEATED)
        | code(jnp.any((still >= STILL) & telling), Fault.STILL)
        | code(jnp.max(jnp.abs(x)) > reach, Fault.DRAWN_IN)
    )
    refused = jnp.where(finite, jnp.int32(Fault.OUT_OF_REACH.value), jnp.int32(Fault.NOT_FINITE.value))
    return jnp.where(valid, seen, refused)
