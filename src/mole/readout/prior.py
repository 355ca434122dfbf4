"""What a task's readout is linear in: a constant, the input itself, and the last hidden layer of a shared network."""

from __future__ import annotations

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_key, expect_type, expect_whole
from mole._types import Array, Float, Key
from mole.learning.likelihoods import Gaussian
from mole.learning.models import Linear, Normalizer
from mole.readout.belief import Belief

__all__ = ["Features", "Readout", "ReadoutPrior", "broad_belief", "compress"]

_LINEAR_UP_TO = 4.0


def compress(x: Float[Array, " dx"], growing: tuple[int, ...] = ()) -> Float[Array, " dx"]:
    """The identity up to four standard deviations, logarithmic beyond, so that no wild input dominates a prediction.

    Args:
        x: normalised input ``[dx]``.
        growing: inputs that are left as they are.
    """
    beyond = jnp.maximum(jnp.abs(x) - _LINEAR_UP_TO, 0.0)
    drawn_in = jnp.clip(x, -_LINEAR_UP_TO, _LINEAR_UP_TO) + jnp.sign(x) * jnp.log1p(beyond)
    # A time or a counter leaves any range in the end. The logarithm would bend the trend that was learned of it.
    return drawn_in.at[jnp.asarray(growing)].set(x[jnp.asarray(growing)]) if growing else drawn_in


class Features(eqx.Module):
    """φ: a normalised input ``[dx]`` to ``[1 + dx + h]`` features: 1, x, and h hidden units.

    The input itself is among the features, so that a linear relation is learned exactly, whatever the network is.

    Args:
        in_size: dx.
        width: h, units of each hidden layer.
        depth: hidden layers.
        key: PRNG key; the biases are drawn too, so that the kinks of untrained hidden units are in different places.
        growing: places of inputs that grow without bound, such as a time, and are not drawn in (`compress`).

    Raises:
        TypeError: if a size is no whole number or ``key`` no PRNG key.
        ValueError: if a size is smaller than one.
    """

    layers: tuple[Linear, ...]
    scale: Float[Array, " h"]
    growing: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self, in_size: int, *, width: int = 32, depth: int = 2, key: Key, growing: tuple[int, ...] = ()
    ) -> None:
        """See the class."""
        self.growing = growing
        for name, size in (("in_size", in_size), ("width", width), ("depth", depth)):
            expect_whole("Features", name, size)
        expect_key("Features", key)
        sizes = [in_size, *[width] * depth]
        layers = []
        for place, (here, there) in enumerate(itertools.pairwise(sizes)):
            weights, bias = jax.random.split(jax.random.fold_in(key, place))
            layer = Linear(here, there, key=weights)
            layers.append(
                eqx.tree_at(lambda m: m.bias, layer, jax.random.uniform(bias, (there,), minval=-1.0))
            )
        self.layers = tuple(layers)
        self.scale = jnp.ones((width,))

    @property
    def in_size(self) -> int:
        """dx."""
        return self.layers[0].weight.shape[0]

    @property
    def width(self) -> int:
        """h."""
        return self.scale.shape[0]

    @property
    def size(self) -> int:
        """d = 1 + dx + h."""
        return 1 + self.in_size + self.width

    def hidden(self, x: Float[Array, " dx"]) -> Float[Array, " h"]:
        """The last hidden layer ``[h]``, before its scale."""
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x

    def __call__(self, x: Float[Array, " dx"]) -> Float[Array, " d"]:
        """Features ``[d]`` of one normalised input ``[dx]``."""
        x = compress(x, self.growing)
        return jnp.concatenate([jnp.ones((1,)), x, self.hidden(x) / self.scale])


class Readout(eqx.Module):
    """The model of one task: a normalised input ``[dx]`` to the expected normalised target ``[dy]``.

    Args:
        features: φ.
        coefficients: ``[d, dy]``.
    """

    features: Features
    coefficients: Float[Array, "d dy"]

    def __call__(self, x: Float[Array, " dx"]) -> Float[Array, " dy"]:
        """Expected normalised target ``[dy]``."""
        return self.features(x) @ self.coefficients


# The prior of a mixture of readouts: shared features, and one or more distributions that new tasks are drawn from.


def broad_belief(features: Features, dy: int, *, spread: float = 0.5, noise: float = 0.3) -> Belief:
    """A belief that knows only scales: coefficients of 1 and x about one, those of the hidden units much smaller.

    Args:
        features: φ, whose hidden units have a spread of about one.
        dy: outputs.
        spread: standard deviation of what all hidden units add together, in units of the noise.
        noise: expected noise, in standard deviations of the target.
    """
    variances = jnp.concatenate(
        [jnp.ones((1 + features.in_size,)), jnp.full((features.width,), spread**2 / features.width)]
    )
    # A shape above one, so that the Student-t has a variance (`Forecast.variance`).
    shape = jnp.float32(3.0)
    return Belief(
        jnp.zeros((features.size, dy)), jnp.diag(variances), shape, jnp.full((dy,), shape * noise**2)
    )


class ReadoutPrior(eqx.Module):
    """Where tasks come from.

    A new task may be drawn from any of K beliefs. By convention belief 0 is the broad one, which knows only the scales
    of the data, and belief 1, if there is one, is learned from other tasks. With both, a task of a known family is
    learned from a few pairs, and a task unlike all others can still be learned.

    Args:
        features: φ.
        beliefs: K stacked beliefs ``[K, ...]``.
        x_norm: normaliser of the inputs ``[dx]``.
        y_norm: normaliser of the targets ``[dy]``.

    Raises:
        TypeError: if an argument is of another type.
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
        cls, *, width: int = 32, depth: int = 2, x_norm: Normalizer, y_norm: Normalizer, key: Key,
        growing: tuple[int, ...] = (),
    ) -> ReadoutPrior:  # fmt: skip
        """Random hidden units and the broad belief: Bayesian linear regression with some room to bend."""
        features = Features(x_norm.mean.shape[0], width=width, depth=depth, key=key, growing=growing)
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
