"""Windows of time: the tasks that a prior is meta-trained on.

A task is a window of 2k consecutive pairs (k to adapt on, k to be judged on), cut from inside of one trajectory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Float, Int, Key, Trajectory, Window

__all__ = ["WindowData", "gather_windows", "sample_windows", "split_trajectories", "window_data"]

_LEAST, _STEP = 1 << 15, 1 << 20


class WindowData(NamedTuple):
    """Trajectories laid end to end, with every place where a window may start.

    Attributes:
        x: inputs ``[n, dx]``, zero-padded (to a power of two at first) so that growing data seldom recompiles.
        y: targets ``[n, dy]``, padded likewise.
        starts: first index of each valid window, padded.
        bounds: ``[groups + 1]`` places in ``starts`` that separate groups of trajectories (e.g. random, on-policy).
    """

    x: Float[Array, "n dx"]
    y: Float[Array, "n dy"]
    starts: Int[Array, " starts"]
    bounds: Int[Array, " groups_1"]


def _padded(values: np.ndarray) -> np.ndarray:
    power = max(_LEAST, 1 << (len(values) - 1).bit_length())
    extra = -len(values) % min(power, _STEP)
    return np.concatenate([values, np.zeros((extra, *values.shape[1:]), values.dtype)])


def window_data(groups: Sequence[Sequence[Trajectory]], length: int) -> WindowData:
    """Prepare groups of (normalised) trajectories for windows of ``length`` consecutive pairs.

    Args:
        groups: one or more groups of trajectories; sampling weighs the groups.
        length: pairs in a window (2k).

    Raises:
        ValueError: if x and y of a trajectory differ in length, or a group has no trajectory of ``length`` pairs.
    """
    xs, ys, starts, bounds, offset = [], [], [], [0], 0
    for number, group in enumerate(groups):
        for x, y in group:
            if len(x) != len(y):
                raise ValueError(
                    f"trajectory got {len(x)} inputs and {len(y)} targets; expected as many of each."
                )
            xs.append(np.asarray(x, np.float32))
            ys.append(np.asarray(y, np.float32))
            starts.append(np.arange(offset, offset + max(0, len(x) - length + 1), dtype=np.int32))
            offset += len(x)
        bounds.append(sum(map(len, starts)))
        if bounds[-1] == bounds[-2]:
            longest = max((len(x) for x, _ in group), default=0)
            raise ValueError(
                f"group {number} got {len(group)} trajectories, the longest of {longest} pairs; expected at least one "
                f"of 2k = {length} consecutive pairs. Record longer trajectories or use a smaller window."
            )
    return WindowData(
        jnp.asarray(_padded(np.concatenate(xs))),
        jnp.asarray(_padded(np.concatenate(ys))),
        jnp.asarray(_padded(np.concatenate(starts))),
        jnp.asarray(bounds, jnp.int32),
    )


def gather_windows(data: WindowData, starts: Int[Array, " batch"], length: int) -> Window:
    """The windows of ``length`` pairs that begin at ``starts``: ``[batch, length, dx]`` and ``[batch, length, dy]``."""
    index = starts[:, None] + jnp.arange(length)[None, :]
    return Window(data.x[index], data.y[index])


def sample_windows(
    data: WindowData, key: Key, batch: int, length: int, group_weights: Float[Array, " groups"]
) -> Window:
    """Draw ``batch`` windows: first a group by its weight, then a start uniformly within the group.

    Args:
        data: from `window_data` with the same ``length``.
        key: PRNG key.
        batch: number of windows.
        length: pairs in each (2k).
        group_weights: unnormalised, non-negative weight of each group.
    """
    key_group, key_start = jax.random.split(key)
    group = jax.random.categorical(key_group, jnp.log(group_weights), shape=(batch,))
    low, high = data.bounds[group], data.bounds[group + 1]
    place = low + jnp.floor(jax.random.uniform(key_start, (batch,)) * (high - low)).astype(jnp.int32)
    return gather_windows(data, data.starts[jnp.minimum(place, high - 1)], length)


def split_trajectories(
    trajectories: Sequence[Trajectory], fraction: float, seed: int
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Split whole trajectories into (training, held out), so that no held-out window overlaps a training one.

    A single trajectory is cut in time: its end is held out.

    Args:
        trajectories: at least one.
        fraction: held-out share in (0, 1); at least one trajectory is held out and at least one is left.
        seed: of the random choice.

    Raises:
        ValueError: if there are no trajectories.
    """
    if not trajectories:
        raise ValueError("meta-training got no trajectories; expected at least one. Record data first.")
    if len(trajectories) == 1:
        x, y = trajectories[0]
        cut = len(x) - max(1, round(fraction * len(x)))
        return [Trajectory(x[:cut], y[:cut])], [Trajectory(x[cut:], y[cut:])]
    order = np.random.default_rng(seed).permutation(len(trajectories))
    count = min(max(1, round(fraction * len(trajectories))), len(trajectories) - 1)
    held = set(order[:count].tolist())
    train = [t for i, t in enumerate(trajectories) if i not in held]
    return train, [trajectories[i] for i in sorted(held)]
