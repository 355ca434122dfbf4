"""What a task's readout is linear in: a constant, the input itself, and the last hidden layer of a shared network."""

from __future__ import annotations

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_key, expect_whole
from mole._types import Array, Float, Key
from mole.models import Linear

__all__ = ["Features", "Readout", "compress"]

_LINEAR_UP_TO = 4.0


def compress(x: Float[Array, " dx"]) -> Float[Array, " dx"]:
    """The identity up to four standard deviations and logarithmic beyond: one wild input must not rule a prediction."""
    beyond = jnp.maximum(jnp.abs(x) - _LINEAR_UP_TO, 0.0)
    return jnp.clip(x, -_LINEAR_UP_TO, _LINEAR_UP_TO) + jnp.sign(x) * jnp.log1p(beyond)


class Features(eqx.Module):
    """φ: a normalised input ``[dx]`` to ``[1 + dx + h]`` features: 1, x, and h hidden units.

    With the input among the features, a linear relation is learned exactly and at once, whatever the network knows.

    Args:
        in_size: dx.
        width: h, units of each hidden layer.
        depth: hidden layers.
        key: PRNG key; the biases are drawn too, so that untrained hidden units differ in where they bend.
    """

    layers: tuple[Linear, ...]
    scale: Float[Array, " h"]

    def __init__(self, in_size: int, *, width: int = 32, depth: int = 2, key: Key) -> None:
        """See the class."""
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
        """The last hidden layer, before its scale."""
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x

    def __call__(self, x: Float[Array, " dx"]) -> Float[Array, " d"]:
        """Features ``[d]`` of one normalised input ``[dx]``."""
        x = compress(x)
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
