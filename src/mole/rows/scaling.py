"""Scales of inputs and targets from the first pairs of a stream, robust to wild values among them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mole.learning.models import Normalizer
from mole.rows.columns import float32_scale

__all__ = ["TO_STD", "Units", "class_normalizer", "padded_size", "robust_normalizer"]

_WILD = 6.0  # robust deviations beyond which a value is drawn in
TO_STD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
_SELDOM = (
    0.4  # share of values at the median from which the median distance says little: at a half it is zero
)
_LINEAR = 4.0  # scales up to which an input is not drawn in
_FURTHEST = 1e4  # the same bound for a column that seldom moves, in usual moves


class Units(NamedTuple):
    """Offset and factor of every entry, in float64: what is learned is ``(value - offset) * factor``.

    Float32 has seven digits: of 10⁹ ± 1 it keeps the 10⁹. Ordinary values have offset 0 and factor 1, and are learned
    as they are.

    Attributes:
        offset: ``d`` numbers.
        factor: ``d`` numbers, powers of two.
    """

    offset: tuple[float, ...]
    factor: tuple[float, ...]

    @classmethod
    def of(cls, values: np.ndarray) -> Units:
        """Those in which float32 keeps the digits of values ``[n, d]`` float64, finite or NaN where one is missing."""
        there = [column[~np.isnan(column)] for column in values.T]
        found = [
            float32_scale(column, column.min(), column.max(), logs=False)
            if len(column)
            else (0.0, 1.0, False)
            for column in there
        ]
        return cls(tuple(offset for offset, *_ in found), tuple(factor for _, factor, _ in found))

    @classmethod
    def from_json(cls, data: Any) -> Units:
        """The inverse of ``list(units)``.

        Raises:
            ValueError: for anything else.
        """
        offset, factor = (tuple(map(float, part)) for part in data)
        if (
            len(offset) != len(factor)
            or not np.isfinite((*offset, *factor)).all()
            or min(factor, default=1.0) <= 0
        ):
            raise ValueError(f"got the units {data!r:.80}; expected finite offsets and positive factors")
        return cls(offset, factor)

    @property
    def plain(self) -> bool:
        """Whether the values are learned as they are."""
        return not any(self.offset) and all(factor == 1.0 for factor in self.factor)

    def encode(self, values: Any) -> np.ndarray:
        """Values ``[..., d]`` in their own unit as what is learned, in float64."""
        return (np.asarray(values, float) - self.offset) * self.factor

    def decode(self, values: Any) -> list[float]:
        """Learned numbers ``[d]`` in the values' own unit."""
        return [v / f + o for v, o, f in zip(values, self.offset, self.factor, strict=True)]

    def learned_widths(self, values: Any) -> list[float]:
        """The inverse of `widths`."""
        return [v * f for v, f in zip(values, self.factor, strict=True)]

    def widths(self, values: Any) -> list[float]:
        """Differences of learned numbers ``[d]``, such as standard deviations, in the values' own unit."""
        return [v / f for v, f in zip(values, self.factor, strict=True)]


def robust_normalizer(values: np.ndarray, size: int | None = None) -> Normalizer:
    """Mean and standard deviation per column, after values beyond six robust deviations were clipped there.

    The robust deviation is 1.4826 times the median distance from the median. It counts as zero if two fifths of a
    column's values are the median itself, such as those that were filled in. Then the bound is 10⁴ times the median of
    the distances that are not zero; and in a column of more than two values nearly all of these distances are within
    four scales, up to which inputs are linear (`mole.readout.prior.compress`): a sensor that was dead for most of the
    rows has, where it lives, ordinary values.

    Args:
        values: ``[n, d]``, finite or NaN where one is missing.
        size: columns of the result, at least d; d if None. Columns beyond d have mean 0 and scale 1.

    Returns:
        Mean and scale, each ``[size]`` float32; the scale of a constant column is 1.
    """
    # In double: squares of the largest numbers of float32 are beyond float32.
    values = np.asarray(values, np.float64)
    if size is None and np.isnan(values).any():
        there = [column[~np.isnan(column)] for column in values.T]
        each = [robust_normalizer(column[:, None] if len(column) else np.zeros((1, 1))) for column in there]
        return Normalizer(
            *(jnp.concatenate([getattr(one, name) for one in each]) for name in ("mean", "std"))
        )
    middle = np.median(values, axis=0)
    spread = TO_STD * np.median(np.abs(values - middle), axis=0)
    spread = np.where(np.mean(values == middle, axis=0) > _SELDOM, 0.0, spread)
    # A 0/1 column with few ones moves seldom: a bound of zero would make it constant.
    move, most = _usual_moves(np.abs(values - middle))
    reach = np.where(spread > 0, _WILD * spread, _FURTHEST * move)
    tame = np.clip(values, middle - reach, middle + reach)
    mean, std = tame.mean(axis=0), tame.std(axis=0)
    std = np.where(spread > 0, std, np.maximum(std, most / _LINEAR))
    # Variation below the rounding of float32 is no signal, and must not be scaled up to one.
    std = np.where(std <= 1e-6 * np.maximum(np.abs(mean), 1e-6), 1.0, std)
    extra = (values.shape[1] if size is None else size) - values.shape[1]
    mean, std = np.pad(mean, (0, extra)), np.pad(std, (0, extra), constant_values=1.0)
    return Normalizer(jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))


def _usual_moves(away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per column ``[d]``, of those distances ``[n, d]`` that are not zero, the median and the 99th percentile.

    Both are zero if all distances are; the second also if all others are alike, as in a column of zeros and ones.
    """
    median, most = np.zeros(away.shape[1]), np.zeros(away.shape[1])
    for place, column in enumerate(away.T):
        moved = column[column > 0]
        if len(moved):
            median[place] = np.median(moved)
            if moved.min() < moved.max():
                # Among few distances one wild one would be the percentile.
                most[place] = np.quantile(np.minimum(moved, _WILD * TO_STD * median[place]), 0.99)
    return median, most


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
