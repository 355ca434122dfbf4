"""The prior of a mixture of readouts: shared features, and one or more distributions that new tasks are drawn from."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_type
from mole._types import Array, Float, Key
from mole.likelihoods import Gaussian
from mole.models import Normalizer
from mole.readout.belief import Belief
from mole.readout.features import Features

__all__ = ["ReadoutPrior", "broad_belief"]


def broad_belief(features: Features, dy: int, *, spread: float = 0.5, noise: float = 0.3) -> Belief:
    """A prior that knows nothing but the scale of things: any linear map, and a moderate part of the hidden units.

    Args:
        features: φ, whose hidden units have a spread of about one.
        dy: outputs.
        spread: standard deviation of what all hidden units add together, in units of the noise.
        noise: expected noise, in standard deviations of the target.
    """
    variances = jnp.concatenate(
        [jnp.ones((1 + features.in_size,)), jnp.full((features.width,), spread**2 / features.width)]
    )
    shape = jnp.float32(3.0)
    return Belief(
        jnp.zeros((features.size, dy)), jnp.diag(variances), shape, jnp.full((dy,), shape * noise**2)
    )


class ReadoutPrior(eqx.Module):
    """Where tasks come from.

    A new task may be drawn from any of K beliefs: by convention 0 is the broad one, that trusts only the scales of the
    data, and 1, if there, the one learned from other tasks. Both being there, a family of tasks that is known is
    recognised after a few points, and one never seen before is learned all the same.

    Args:
        features: φ.
        beliefs: K stacked beliefs ``[K, ...]``.
        x_norm: normaliser of the inputs ``[dx]``.
        y_norm: normaliser of the targets ``[dy]``.

    Raises:
        ValueError: if sizes do not fit each other.
    """

    features: Features
    beliefs: Belief
    x_norm: Normalizer
    y_norm: Normalizer

    def __init__(
        self, features: Features, beliefs: Belief, *, x_norm: Normalizer, y_norm: Normalizer
    ) -> None:
        """See the class."""
        for name, part, kind in (
            ("features", features, Features), ("beliefs", beliefs, Belief), ("x_norm", x_norm, Normalizer),
            ("y_norm", y_norm, Normalizer),
        ):  # fmt: skip
            expect_type(
                "ReadoutPrior", name, part, kind, "ReadoutPrior.untrained makes one from two normalisers."
            )
        dy = y_norm.mean.shape[0]
        expected = (beliefs.shape.shape[0], features.size, dy)
        if beliefs.mean.shape != expected or x_norm.mean.shape != (features.in_size,):
            raise ValueError(
                f"ReadoutPrior got beliefs about coefficients {beliefs.mean.shape} and inputs {x_norm.mean.shape}; "
                f"expected {expected} and ({features.in_size},), as the features and targets have."
            )
        self.features, self.beliefs, self.x_norm, self.y_norm = features, beliefs, x_norm, y_norm

    @classmethod
    def untrained(
        cls, *, width: int = 32, depth: int = 2, x_norm: Normalizer, y_norm: Normalizer, key: Key
    ) -> ReadoutPrior:
        """Random hidden units and the broad belief: Bayesian linear regression with some room to bend."""
        features = Features(x_norm.mean.shape[0], width=width, depth=depth, key=key)
        broad = broad_belief(features, y_norm.mean.shape[0])
        return cls(features, jax.tree.map(lambda a: a[None], broad), x_norm=x_norm, y_norm=y_norm)

    @property
    def input_size(self) -> int:
        """Features ``dx`` of one input."""
        return self.x_norm.mean.shape[0]

    @property
    def target_size(self) -> int:
        """Entries ``dy`` of one target."""
        return self.y_norm.mean.shape[0]

    @property
    def likelihood(self) -> Gaussian:
        """Meaning of a readout's output: the expected target, so that an agent can plan with one."""
        return Gaussian()

    @property
    def kinds(self) -> int:
        """K."""
        return self.beliefs.shape.shape[0]

    def features_of(self, x: Float[Array, " dx"]) -> Float[Array, " d"]:
        """Features ``[d]`` of one input ``[dx]`` in its natural unit."""
        return self.features(self.x_norm(x))
