"""How improbable a target is: the probability of one at least as improbable, under what was predicted.

For a density f, the tail of a target y is P(f(Y) ≤ f(y)). If the targets are as predicted it is uniform, also where f
has several peaks: a target between what two tasks expect is improbable, though it is in the middle of both.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Mapping
from typing import Any

import jax
import numpy as np
from scipy.special import gammaln, stdtr

from mole.estimators.step import Engine
from mole.learning.compiled import Layout, Structure, unpack
from mole.readout import ReadoutMixture
from mole.readout.posterior import components

__all__ = ["chance_slopes", "label_score", "mixture_tail", "target_score"]

_LEAST = 1e-9  # of a weight: a term below it changes no tail that is told
_NORMAL = 1e6  # degrees of freedom from which a Student-t is a normal distribution
_STEPS = np.linspace(
    -8.0, 8.0, 33
)  # scales at which a term is looked at, to find where the density crosses a level


def mixture_tail(
    y: float, weights: np.ndarray, mean: np.ndarray, scale: np.ndarray, freedom: np.ndarray
) -> float:
    """P(f(Y) ≤ f(y)) under a mixture of Student-t distributions.

    Args:
        y: the target.
        weights: of the terms ``[k]``, which sum to one.
        mean: locations ``[k]``.
        scale: positive ``[k]``.
        freedom: degrees of freedom ``[k]``.
    """
    kept = weights > _LEAST
    weights, mean, scale, freedom = (part[kept] for part in (weights, mean, scale, freedom))
    weights, half = weights / weights.sum(), 0.5 * freedom
    constant = (
        np.log(weights) + gammaln(half + 0.5) - gammaln(half) - 0.5 * np.log(np.pi * freedom) - np.log(scale)
    )

    def log_density(t: np.ndarray) -> np.ndarray:
        far = ((t[:, None] - mean) / scale) ** 2
        terms = constant - (half + 0.5) * np.log1p(far / freedom)
        most = terms.max(axis=1)
        return most + np.log(np.exp(terms - most[:, None]).sum(axis=1))

    def below(t: np.ndarray) -> np.ndarray:
        return stdtr(freedom, (t[:, None] - mean) / scale) @ weights

    def above(t: np.ndarray) -> np.ndarray:
        return stdtr(freedom, (mean - t[:, None]) / scale) @ weights

    level = log_density(np.array([y]))[0]
    # Outside of all locations the density falls on both sides: there is one end of {f > level} on each.
    first, last, reach = mean.min(), mean.max(), scale.max()
    while max(log_density(np.array([first - reach, last + reach]))) > level:
        reach *= 2.0
    ends = np.array([first - reach, last + reach])
    grid = np.unique(np.concatenate([(mean[:, None] + scale[:, None] * _STEPS).ravel(), ends]))
    grid = grid[(grid >= ends[0]) & (grid <= ends[1])]
    over = log_density(grid) > level
    crossing = np.flatnonzero(over[1:] != over[:-1])
    if not len(crossing):  # y is at the only peak
        return 1.0
    low, high, rising = grid[crossing], grid[crossing + 1], over[crossing + 1]
    for _ in range(30):
        middle = 0.5 * (low + high)
        inside = log_density(middle) > level
        low, high = np.where(inside == rising, low, middle), np.where(inside == rising, middle, high)
    # Left of the first end, right of the last, and what is between two peaks.
    gaps = below(high[2::2]) - below(high[1:-1:2])
    return float(below(high[:1])[0] + above(high[-1:])[0] + np.sum(np.maximum(gaps, 0.0)))


def target_score(engine: Engine, x: np.ndarray, y: np.ndarray) -> float:
    """1 − the tail of a target ``[dy]`` as it is learned, NaN where an output is missing, at an input ``[dx]``.

    Of several outputs the least tail p counts, as the least of so many: the score is (1 − p)^dy (Šidák).
    """
    weights, mean, scale, freedom = (np.asarray(part, float) for part in engine.ask(_components, x))
    freedom = np.minimum(freedom, _NORMAL)
    there = np.flatnonzero(np.isfinite(y))
    tails = [mixture_tail(y[j], weights, mean[:, j], scale[:, j], freedom[:, j]) for j in there]
    return math.exp(len(tails) * math.log1p(-min(min(tails), 1.0 - 1e-16))) if tails else 0.0


def label_score(chances: Mapping[Any, float], label: Hashable) -> float:
    """Probability of the labels that are more probable than this one; 1 for a label that has not come before."""
    own = chances.get(label)
    return 1.0 if own is None else math.fsum(chance for chance in chances.values() if chance > own)


def chance_slopes(
    means: np.ndarray, chances: np.ndarray, place: int, sharpness: float, least: float
) -> np.ndarray:
    """Derivatives of one label's probability by the expected indicators ``[n, classes]``.

    With p_l = c_l^s / Σ c_j^s they are s p_l (δ_lj − p_j) / c_j, and zero where c_j is clipped.

    Args:
        means: expected indicators ``[n, classes]``.
        chances: probabilities ``[n, at least classes]``.
        place: of the label.
        sharpness: s.
        least: to which indicators are clipped.
    """
    own, classes = chances[:, place, None], means.shape[1]
    free = (means > least) & (means < 1.0)
    slopes = sharpness * own * ((np.arange(classes) == place) - chances[:, :classes])
    return slopes * free / np.clip(means, least, 1.0)


@functools.cache
def _components(structure: Structure, fixed: Layout, moving: Layout) -> Any:
    @jax.jit
    def program(learner: Any, state: Any, x: Any) -> Any:
        whole, now = structure.join(unpack(fixed, learner)), unpack(moving, state)
        if isinstance(whole, ReadoutMixture):
            return components(whole, now, x)
        # A network gives a mean and a standard deviation: a normal distribution.
        found = whole.predict(now, x)
        one = jax.numpy.ones((1,))
        return one, found.mean[None], found.scale[None], jax.numpy.full_like(found.mean[None], _NORMAL)

    return program
