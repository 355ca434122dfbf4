"""A mixture of readouts that learns pairs of which some targets are missing.

All outputs see the same features, so that a belief needs one covariance for all of them, as long as each pair has every
target. With gaps each output has seen pairs of its own. Here each has a covariance and a shape of its own too, and the
update is exact: a task's belief about one output is that of a task which saw the pairs with this output alone, with the
responsibilities of the mixture. The likelihood of a pair is that of the targets it has. It costs memory and time by the
number of outputs, so that a mixture changes over at the first gap (`with_gaps`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array, Bool, Float, Int
from mole.online.guard import Fault, code
from mole.readout.belief import Belief, Forecast, Outlook, absorb, bounded, drifted, log_density
from mole.readout.mixture import ReadoutMixture, ReadoutState
from mole.readout.order import Notice
from mole.readout.prior import Readout

__all__ = ["GappedReadoutMixture", "apart", "with_gaps"]


def apart(belief: Belief) -> Belief:
    """A belief with an axis of outputs: as many beliefs of one output each, which share nothing."""
    dy = belief.rate.shape[-1]
    return Belief(
        mean=jnp.swapaxes(belief.mean, -1, -2)[..., None],
        cov=jnp.repeat(belief.cov[..., None, :, :], dy, axis=-3),
        shape=jnp.repeat(belief.shape[..., None], dy, axis=-1),
        rate=belief.rate[..., None],
    )


class GappedReadoutMixture(ReadoutMixture):
    """`ReadoutMixture` for targets with gaps: NaN where one is missing, at least one there.

    Arguments as of `ReadoutMixture`. A target far off is limited by itself (Huber's weights), since outputs are learned
    one by one.

    Raises:
        ValueError: for classes, or ``at_capacity="merge"``.
    """

    there: Array | None = eqx.field(init=False)  # which targets the pair has that is learned now

    def __post_init__(self) -> None:
        """See the class."""
        super().__post_init__()
        self.there = None
        if self.classes or self.at_capacity == "merge":
            raise ValueError(
                f"GappedReadoutMixture got classes={self.classes}, at_capacity={self.at_capacity!r}; expected a "
                "regression that evicts or refuses: tasks are merged by all outputs together, and a label has no gaps."
            )

    @property
    def _beginnings(self) -> Belief:
        return apart(self.prior.beliefs)

    def _outlook(self, expected: Forecast) -> Outlook:
        variance = expected.scale2 * (expected.shape / (expected.shape - 1.0))[..., None]
        return Outlook(expected.mean[..., 0], variance[..., 0])

    def init(self, kinds: Sequence[float] | None = None) -> ReadoutState:
        """As of `ReadoutMixture`."""
        state = super().init(kinds)
        return eqx.tree_at(lambda s: s.beliefs, state, apart(state.beliefs))

    def model_in(self, state: ReadoutState, slot: Int[Array, ""] | int) -> Readout:
        """The model of the task in a slot, averaged over its rates of drift."""
        weights = jax.nn.softmax(state.rate_scores[slot])
        return Readout(
            self.prior.features, jnp.einsum("f,fyd->dy", weights, state.beliefs.mean[slot][..., 0])
        )

    def refusal(self, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Int[Array, ""]:
        """A target may be missing, but not all of them."""
        missing = jnp.isnan(y)
        finite = jnp.all(jnp.isfinite(self.prior.features(x))) & jnp.all(jnp.isfinite(y) | missing)
        far = code(jnp.max(jnp.where(missing, 0.0, jnp.abs(y))) > self.reach, Fault.OUT_OF_REACH)
        return jnp.where(finite & ~jnp.all(missing), far, jnp.int32(Fault.NOT_FINITE.value))

    def advance(
        self, valid: Bool[Array, ""], state: ReadoutState, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> tuple[Array, ReadoutState]:
        """As of `ReadoutMixture`, with the weights of the missing outputs zero in likelihood and loss."""
        there = jnp.isfinite(y)
        known = eqx.tree_at(
            lambda one: (one.outputs, one.there),
            self,
            (self.outputs * there, there),
            is_leaf=lambda leaf: leaf is None,
        )
        z = jnp.where(valid, self.prior.features(x), 0.0)
        return known._learn(state, z, jnp.where(valid & there, y, 0.0), jnp.concatenate([x, y]), valid)

    def _fit(self, expected: Forecast, y: Array) -> Array:
        return log_density(expected, y[:, None], self.tail)[..., 0] @ self.outputs

    def _absorbed(
        self, beliefs: Belief, expected: Forecast, y: Array, weight: Array, back: Belief, notice: Notice
    ) -> Belief:
        both = jnp.broadcast_to(weight[:, None, None], expected.doubt.shape)
        told = both if self.there is None else both * self.there[None, None]
        if self.pair_weight is not None:
            both, told = both * jnp.minimum(self.pair_weight, 1.0), told * self.pair_weight
        beliefs = absorb(beliefs, expected, y[:, None], told)
        # Time passes for an output without a target too.
        return bounded(drifted(beliefs, back, self.drift[None, :, None] * both))


def with_gaps(learner: ReadoutMixture, state: ReadoutState) -> tuple[GappedReadoutMixture, ReadoutState]:
    """The same mixture, which from now on takes pairs with gaps: nothing is approximated, nothing changes.

    Raises:
        ValueError: as `GappedReadoutMixture`.
    """
    given = {field.name: getattr(learner, field.name) for field in dataclasses.fields(learner) if field.init}
    return GappedReadoutMixture(**given), eqx.tree_at(lambda s: s.beliefs, state, apart(state.beliefs))
