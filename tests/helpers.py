"""Small models, priors and streams that several test files share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Key, Trajectory, Window
from mole.learning.inner import InnerRate, LayerRate, Rank1Rate, ScalarRate
from mole.learning.likelihoods import Gaussian, Likelihood
from mole.learning.models import MLP, Normalizer
from mole.learning.prior import MetaPrior

RATES = ("scalar", "layer", "rank1")

T = TypeVar("T")


def tiny_mlp(
    key: Key,
    dx: int = 3,
    dy: int = 2,
    *,
    width: int = 8,
    depth: int = 2,
    activation: Callable[[Array], Array] = jnp.tanh,
    likelihood: Likelihood | None = None,
) -> MLP:
    """A small MLP with as many outputs as the likelihood needs for ``dy`` targets; smooth unless asked otherwise."""
    out = (Gaussian() if likelihood is None else likelihood).output_size(dy)
    return MLP(dx, out, width=width, depth=depth, activation=activation, key=key)


def make_rate(kind: str, model: object, value: float = 0.1) -> InnerRate:
    """An inner rate of one of the `RATES`."""
    if kind == "scalar":
        return ScalarRate(value)
    return {"layer": LayerRate, "rank1": Rank1Rate}[kind](model, value)


def uneven_rate(kind: str, model: object, key: Key, value: float = 0.1) -> InnerRate:
    """An inner rate whose entries all differ, so that a mixed-up row or layer changes the result."""
    leaves, structure = jax.tree.flatten(make_rate(kind, model, value))
    keys = jax.random.split(key, len(leaves))
    noisy = [
        leaf + 0.5 * jax.random.normal(k, leaf.shape, leaf.dtype)
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


def tiny_prior(
    key: Key,
    dx: int = 3,
    dy: int = 2,
    *,
    width: int = 8,
    depth: int = 2,
    window: int = 4,
    rate: str = "scalar",
    rate_value: float = 0.1,
    likelihood: Likelihood | None = None,
    residual_scale: float = 0.5,
    normalised: bool = False,
) -> MetaPrior:
    """A prior with random weights; ``normalised`` gives it normalisers that are not the identity."""
    likelihood = Gaussian() if likelihood is None else likelihood
    model = tiny_mlp(key, dx, dy, width=width, depth=depth, likelihood=likelihood)
    x_norm, y_norm = Normalizer.identity(dx), Normalizer.identity(dy)
    if normalised:
        x_norm = Normalizer(jnp.linspace(-1.0, 1.0, dx), jnp.linspace(0.5, 2.0, dx))
        y_norm = Normalizer(jnp.linspace(2.0, 3.0, dy), jnp.linspace(0.1, 5.0, dy))
    return MetaPrior(
        model,
        inner_rate=make_rate(rate, model, rate_value),
        window=window,
        x_norm=x_norm,
        y_norm=y_norm,
        likelihood=likelihood,
        residual_scale=residual_scale,
    )


def random_pairs(key: Key, n: int, dx: int = 3, dy: int = 2, *, classes: bool = False) -> Window:
    """``n`` random pairs; targets are one-hot vectors if they are ``classes``."""
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x, (n, dx))
    if classes:
        return Window(x, jax.nn.one_hot(jax.random.randint(key_y, (n,), 0, dy), dy))
    return Window(x, jax.random.normal(key_y, (n, dy)))


def linear_tasks(
    rng: np.random.Generator, n: int, length: int, *, dx: int = 2, dy: int = 1, noise: float = 0.0
) -> list[Trajectory]:
    """``n`` trajectories, each a linear regression with its own slopes: solvable after adaptation only."""
    trajectories = []
    for _ in range(n):
        slopes = rng.normal(size=(dx, dy))
        x = rng.normal(size=(length, dx))
        trajectories.append(Trajectory(x, x @ slopes + noise * rng.normal(size=(length, dy))))
    return trajectories


def as_double(tree: T) -> T:
    """The tree with its real arrays in float64; call it inside of ``jax.enable_x64(True)``."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if eqx.is_inexact_array(a) else a, tree)


def largest_difference(one: object, other: object) -> float:
    """Largest absolute difference between the arrays of two trees of the same structure."""
    one, other = (eqx.filter(tree, eqx.is_inexact_array) for tree in (one, other))
    differences = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b), initial=0.0)), one, other)
    return max(jax.tree.leaves(differences))


def bits(tree: object) -> list[bytes]:
    """The bytes of every array of a tree: equal only if bit-identical, signs of zeros and NaNs included."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]
