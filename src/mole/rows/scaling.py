"""Scales of inputs and targets from the first pairs of a stream, robust to wild values among them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from mole.learning.models import Normalizer

__all__ = ["class_normalizer", "padded_size", "robust_normalizer"]

_WILD = 6.0  # robust deviations beyond which a value is drawn in
_TO_STD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
_FURTHEST = 1e4  # the same bound for a column that seldom moves, in usual moves


def robust_normalizer(values: np.ndarray, size: int | None = None) -> Normalizer:
    """Mean and standard deviation per column, after values beyond six robust deviations were clipped there.

    The robust deviation is 1.4826 times the median distance from the median. If more than half of a column's values are
    equal it is zero. Then the bound is 10⁴ times the median of the distances that are not zero.

    Args:
        values: ``[n, d]``, finite.
        size: columns of the result, at least d; d if None. Columns beyond d have mean 0 and scale 1.

    Returns:
        Mean and scale, each ``[size]`` float32; the scale of a constant column is 1.
    """
    # In double: squares of the largest numbers of float32 are beyond float32.
    values = np.asarray(values, np.float64)
    middle = np.median(values, axis=0)
    spread = _TO_STD * np.median(np.abs(values - middle), axis=0)
    # A 0/1 column with few ones moves seldom: a bound of zero would make it constant.
    reach = np.where(spread > 0, _WILD * spread, _FURTHEST * _usual_move(np.abs(values - middle)))
    tame = np.clip(values, middle - reach, middle + reach)
    mean, std = tame.mean(axis=0), tame.std(axis=0)
    # Variation below the rounding of float32 is no signal, and must not be scaled up to one.
    std = np.where(std <= 1e-6 * np.maximum(np.abs(mean), 1e-6), 1.0, std)
    extra = (values.shape[1] if size is None else size) - values.shape[1]
    mean, std = np.pad(mean, (0, extra)), np.pad(std, (0, extra), constant_values=1.0)
    return Normalizer(jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))


def _usual_move(away: np.ndarray) -> np.ndarray:
    """Median per column ``[d]`` of those distances ``[n, d]`` that are not zero; zero if all are."""
    moved = [column[column > 0] for column in away.T]
    return np.asarray([np.median(column) if len(column) else 0.0 for column in moved])


def class_normalizer(targets: np.ndarray) -> Normalizer:
    """Mean and one common scale of the indicators ``[n, classes]``: a rare class is no louder than a frequent one."""
    # The deviation of a single indicator, as the root of the mean variance p(1 - p). At first all rows may have one
    # label, and the scale must not be zero then.
    mean = np.asarray(targets, np.float64).mean(axis=0)
    scale = max(float(np.sqrt(np.mean(mean * (1.0 - mean)))), 0.05)
    return Normalizer(jnp.asarray(mean, jnp.float32), jnp.full(mean.shape, scale, jnp.float32))


def padded_size(size: int) -> int:
    """The next size for which programs are compiled, so that one more column seldom compiles them anew."""
    step = 4 if size <= 16 else 16
    return -(-size // step) * step
