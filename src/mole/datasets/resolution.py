"""What of a recorded observation a model of changes can hold: resolution in float32, and jumps at the end of a range.

Models compute in float32. An observation keeps float64 until its changes are known: at 5,000,000 float32 has steps of
0.5, in which most changes of a position in metres vanish. An observation is its float32 number and its `rounding`, and
what a change loses is linear in what its two ends lose (`lost_change`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mole._types import Array

__all__ = ["COARSE", "TURNS", "ULP", "jumps", "lossy", "lost_change", "narrowed", "rounding", "unrounded"]

COARSE = 1 / 16
"""Share of the typical change of an entry (root mean square) that rounding to float32 may take.

In the worlds of this package and in Gymnasium's it takes less than 1/30,000, so their data stay float32."""

TURNS = (2 * np.pi, 360.0)
"""Full turns, by which angles jump."""
ULP = 2.0**-24
"""Largest relative error of a float32 number."""


def rounding(obs: np.ndarray) -> np.ndarray:
    """What float32 takes from an observation ``[..., obs]``, itself in float32; zeros if it was float32."""
    return (obs - obs.astype(np.float32)).astype(np.float32)


def lossy(parts: Sequence[np.ndarray]) -> np.ndarray:
    """``[obs]`` bool: whether float32 takes more than `COARSE` of the changes of an entry.

    Args:
        parts: consecutive observations ``[time + 1, obs]`` of each part.
    """
    changes = np.concatenate([np.diff(part.astype(np.float64), axis=0) for part in parts])
    lost = np.concatenate([np.diff(rounding(part).astype(np.float64), axis=0) for part in parts])
    return np.abs(lost).max(axis=0) > COARSE * np.sqrt(np.mean(np.square(changes), axis=0))


def narrowed(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Consecutive observations as they are kept: float32, unless its resolution takes the changes of an entry."""
    keeps = any(part.dtype == np.float64 for part in parts) and lossy(parts).any()
    return [part.astype(np.float64 if keeps else np.float32) for part in parts]


def lost_change(delta: Callable[[Any, Any], Array], ends: tuple[Any, Any], lost: tuple[Any, Any]) -> Array:
    """What float32 took from the change ``delta(obs, next_obs)`` ``[dy]``, to be added to it.

    In first order, which is exact for differences: 5,000,000.1 - 5,000,000 is their difference in float32, 0, and the
    difference of what they lost, 0.1.

    Args:
        delta: as in a `mole.envs.DynamicsSpec`.
        ends: obs and next_obs ``[obs]``, float32.
        lost: what `rounding` says of them ``[obs]``.
    """
    return jax.jvp(delta, ends, lost)[1]


def unrounded(
    delta: Callable[[Any, Any], Array], y: np.ndarray, ends: tuple[Any, Any], lost: tuple[Any, Any]
) -> np.ndarray:
    """Changes ``[n, dy]`` with what float64 had more put back where it is much; the others stay what they were.

    Args:
        delta: as in a `mole.envs.DynamicsSpec`.
        y: changes between the ends, in float32.
        ends, lost: as of `lost_change`, of all of them ``[n, obs]``.
    """
    if not (lost[0].any() or lost[1].any()):
        return y
    more = jax.device_get(jax.jit(jax.vmap(lambda two, gone: lost_change(delta, two, gone)))(ends, lost))
    typical = np.sqrt(np.mean(np.square(y + more), axis=0))
    return np.where((np.abs(more).max(axis=0) > COARSE * typical)[None], y + more, y)


def jumps(parts: Sequence[np.ndarray]) -> dict[int, float]:
    """Entries that wrap around, such as an angle at ±π → how far they jump: 2π, 360 or their whole range.

    The entry moves towards one end of its range, is then at the other end, and moves on in the same direction. Entries
    that only take a few values are flags, and those that often change by much are no angles.

    Args:
        parts: consecutive observations ``[time + 1, obs]`` of each part.
    """
    found = {}
    values = np.concatenate(parts).astype(np.float64)
    changes = [np.diff(part.astype(np.float64), axis=0) for part in parts]
    for entry in range(values.shape[1]):
        low, high = values[:, entry].min(), values[:, entry].max()
        every = np.concatenate([change[:, entry] for change in changes])
        usual = float(np.quantile(np.abs(every), 0.9)) if every.size else 0.0
        whole = high - low
        # Three in a row: towards the end, the jump, and on.
        rows = [change[:, entry] for change in changes if len(change) > 2]
        before, jump, after = (
            np.concatenate([r[i : len(r) - 2 + i] for r in rows] or [every[:0]]) for i in range(3)
        )
        large = np.abs(jump) >= max(whole - 3 * usual, whole / 2)
        onward = (np.sign(before) == -np.sign(jump)) & (np.sign(after) == -np.sign(jump))
        wraps = large & onward & (before != 0)
        if len(np.unique(values[:, entry])) > 10 and 8 * usual < whole and 2 * wraps.sum() > large.sum():
            near = (turn for turn in TURNS if turn - 3 * usual <= whole <= turn * (1 + 1e-6))
            found[entry] = next(near, float(whole))
    return found
