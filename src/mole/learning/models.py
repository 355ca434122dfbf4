"""Networks and normalisers. Any Equinox module that maps ``[dx]`` to one raw output can take the MLP's place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._expect import expect_key, expect_whole
from mole._types import Array, Float, Key, Model

__all__ = ["MLP", "Linear", "Normalizer", "narrow_weights"]


class Linear(eqx.Module):
    """An affine map ``x W + b``.

    Args:
        in_size: features of the input.
        out_size: features of the output.
        key: PRNG key; weights are drawn from N(0, 2 / in_size) (He et al. 2015), biases are zero.
    """

    # [in, out], for the product x W: XLA on a CPU has no fast product with the weights on the left.
    weight: Float[Array, "in out"]
    bias: Float[Array, " out"]

    def __init__(self, in_size: int, out_size: int, *, key: Key) -> None:
        """See the class."""
        self.weight = jax.random.normal(key, (in_size, out_size)) * math.sqrt(2.0 / in_size)
        self.bias = jnp.zeros((out_size,))

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """Apply the map to one input ``[in]``; returns ``[out]``.

        The product is taken in the type of the weights and summed in that of the biases (see `narrow_weights`).
        """
        narrow = x.astype(self.weight.dtype)
        return jax.lax.dot(narrow, self.weight, preferred_element_type=self.bias.dtype) + self.bias


class MLP(eqx.Module):
    """A multi-layer perceptron on one input; batch it with ``jax.vmap``.

    Meta-training has a fast exact gradient for this class (`mole.learning.lowrank`), and the plain one for any other
    module.

    Args:
        in_size: features ``dx`` of one input.
        out_size: raw outputs (`Likelihood.output_size` says how many a target needs).
        width: units of each hidden layer.
        depth: hidden layers (the paper uses 3 of 512).
        activation: element-wise function between the layers, of an array ``[width]``.
        key: PRNG key for the initial weights.

    Raises:
        ValueError: if a size is smaller than one.
        TypeError: if a size is no whole number, ``activation`` no function or ``key`` no PRNG key.
    """

    layers: tuple[Linear, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        width: int = 256,
        depth: int = 2,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: Key,
    ) -> None:
        """See the class."""
        for name, size in (("in_size", in_size), ("out_size", out_size), ("width", width), ("depth", depth)):
            expect_whole("MLP", name, size, 1, f"Give the number of {name}.")
        if not callable(activation):
            raise TypeError(f"MLP got activation={activation!r}; expected a function such as jax.nn.relu.")
        expect_key("MLP", key)
        sizes = [in_size, *[width] * depth, out_size]
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(Linear(i, o, key=k) for i, o, k in zip(sizes[:-1], sizes[1:], keys, strict=True))
        self.activation = activation

    def __call__(self, x: Float[Array, " dx"]) -> Float[Array, " out"]:
        """Raw output ``[out]`` for one input ``[dx]``."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def narrow_weights(model: Model, dtype: jnp.dtype | type) -> Model:
    """The model with its weight matrices (arrays of two or more axes) in another dtype, and all else unchanged.

    A `Linear` with bfloat16 weights rounds its input to bfloat16 and sums in float32. This is about twice as fast where
    the hardware multiplies bfloat16 matrices (AVX512-BF16, AMX, GPUs), and slower elsewhere. For prediction only.

    Args:
        model: any Equinox module.
        dtype: of the matrices, e.g. ``jnp.bfloat16``.
    """

    def narrowed(leaf: Any) -> Any:
        # Biases keep their dtype: it is the one in which `Linear` sums.
        return leaf.astype(dtype) if eqx.is_inexact_array(leaf) and leaf.ndim >= 2 else leaf

    return jax.tree.map(narrowed, model)


class Normalizer(eqx.Module):
    """Shifts and scales each feature to zero mean and unit variance: ``(v − mean) / std``.

    Args:
        mean: per-feature shift ``[d]``, in the feature's unit.
        std: per-feature scale ``[d]``, in the feature's unit, positive.

    Raises:
        ValueError: if they are not two vectors of one length.
    """

    mean: Float[Array, " d"]
    std: Float[Array, " d"]

    def __check_init__(self) -> None:
        """Two vectors of one length."""
        shapes = [getattr(part, "shape", type(part).__name__) for part in (self.mean, self.std)]
        if shapes[0] != shapes[1] or not isinstance(shapes[0], tuple) or len(shapes[0]) != 1:
            raise ValueError(
                f"Normalizer got mean and std of shapes {shapes[0]} and {shapes[1]}; expected two arrays [d] of one "
                "length. Normalizer.fit(values) measures them."
            )

    @classmethod
    def identity(cls, size: int) -> Normalizer:
        """The normaliser of ``size`` features that changes nothing."""
        expect_whole("Normalizer.identity", "size", size)
        return cls(jnp.zeros((size,)), jnp.ones((size,)))

    @classmethod
    def fit(cls, values: np.ndarray, *, relative_floor: float = 1e-6) -> Normalizer:
        """The normaliser with the mean and standard deviation of ``values[n, d]``; a constant feature has the scale 1.

        Args:
            values: data ``[n, d]``, finite.
            relative_floor: a spread below this fraction of the feature's magnitude counts as constant.

        Raises:
            TypeError: if ``values`` does not hold numbers.
            ValueError: if ``values`` is empty, not two-dimensional or not finite.
        """
        try:
            values = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"Normalizer.fit got {values!r:.80}; expected an array [n, d] of numbers."
            ) from None
        if values.ndim != 2 or values.shape[0] == 0 or not np.isfinite(values).all():
            raise ValueError(
                f"Normalizer.fit got an array of shape {values.shape} (finite: {bool(np.isfinite(values).all())}); "
                "expected [n, d] finite numbers with n >= 1. Remove or impute missing rows first."
            )
        mean, std = values.mean(0), values.std(0)
        # The spread of a constant is rounding error; to divide by it would turn that into inputs of any size.
        std = np.where(std <= relative_floor * np.maximum(np.abs(mean), 1e-6), 1.0, std)
        return cls(jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))

    def __call__(self, value: Float[Array, " d"]) -> Float[Array, " d"]:
        """Normalise one vector ``[d]``."""
        return (value - self.mean) / self.std

    def inverse(self, value: Float[Array, " d"]) -> Float[Array, " d"]:
        """Undo `__call__`: back to the feature's own unit."""
        return value * self.std + self.mean
