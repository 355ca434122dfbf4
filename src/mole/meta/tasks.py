"""Windows of time, on which a prior is meta-trained, and the recorded data that they are cut from.

A window has 2k consecutive pairs of one trajectory: k to adapt on, and k to judge the adapted model on. Most hidden
tasks last longer than a window, so windows need no labels of tasks (MOLe, section 4.1). The data are trajectories, or
groups of trajectories, each with a share of the windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Float, Int, Key, Motion, MotionWindow, Trajectory, Window
from mole.learning.likelihoods import Categorical, Likelihood
from mole.learning.models import Normalizer

__all__ = [
    "Groups",
    "WindowData",
    "as_groups",
    "as_weights",
    "fit_normalizers",
    "gather_windows",
    "normalised",
    "one_group",
    "pairs_alone",
    "sample_windows",
    "split_trajectories",
    "window_data",
]

T = TypeVar("T", Trajectory, Motion)

# Arrays are padded to a power of two, at least the first number, and beyond the second to a multiple of it:
# sizes recur from round to round, so that little is recompiled, and large data are not doubled.
_LEAST, _STEP = 1 << 15, 1 << 20


class WindowData(NamedTuple):
    """Trajectories laid end to end, with every place where a window may start.

    Attributes:
        x: inputs ``[n, dx]``, zero-padded so that data that grow from round to round seldom cause a new compilation.
        y: targets ``[n, dy]``, padded likewise.
        starts: first index of each valid window, padded.
        bounds: ``[groups + 1]`` places in ``starts`` that separate groups of trajectories (e.g. random, on-policy).
        motion: of `Motion` data the observations, actions and next observations, laid out as ``x``; else nothing.
    """

    x: Float[Array, "n dx"]
    y: Float[Array, "n dy"]
    starts: Int[Array, " starts"]
    bounds: Int[Array, " groups_1"]
    motion: tuple[Float[Array, "n d"], ...] = ()


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    power = max(_LEAST, 1 << (len(values) - 1).bit_length())
    extra = max(-len(values) % min(power, _STEP), size - len(values))
    return np.concatenate([values, np.zeros((extra, *values.shape[1:]), values.dtype)])


def window_data(
    groups: Sequence[Sequence[Trajectory | Motion]], length: int, size: int = 0, what: str = ""
) -> WindowData:
    """Prepare groups of (normalised) trajectories for windows of ``length`` consecutive pairs.

    Args:
        groups: one or more groups of trajectories; sampling weighs the groups.
        length: pairs in a window (2k).
        size: pairs up to which the arrays are padded at least, so that data of other lengths share a program.
        what: of all data these are, for errors: "held-out".

    Raises:
        ValueError: if x and y of a trajectory differ in length, or a group has no trajectory of ``length`` pairs.
    """
    xs, ys, starts, bounds, offset = [], [], [], [0], 0
    for number, group in enumerate(groups):
        for x, y, *_ in group:
            if len(x) != len(y):
                raise ValueError(
                    f"trajectory got {len(x)} inputs and {len(y)} targets; expected as many of each."
                )
            xs.append(np.asarray(x, np.float32))
            ys.append(np.asarray(y, np.float32))
            # A table of all starts: windows never cross the end of a trajectory, and drawing one is a look-up.
            starts.append(np.arange(offset, offset + max(0, len(x) - length + 1), dtype=np.int32))
            offset += len(x)
        # Refused by group: without a start in one of them, its share of the windows could not be drawn.
        bounds.append(sum(map(len, starts)))
        if bounds[-1] == bounds[-2]:
            longest = max((len(t.x) for t in group), default=0)
            raise ValueError(
                f"group {number} got {len(group)} {what + ' ' if what else ''}trajectories, the longest of {longest} "
                f"pairs; expected at least one of 2k = {length} consecutive pairs. Record longer trajectories"
                f"{', or more of them, raise held_out,' if what else ''} or use a smaller window."
            )
    # A `Trajectory` has no other parts than x and y.
    more = zip(*(t[2:] for group in groups for t in group), strict=True)
    motion = (np.concatenate([np.asarray(one, np.float32) for one in part]) for part in more)
    return WindowData(
        jnp.asarray(_padded(np.concatenate(xs), size)),
        jnp.asarray(_padded(np.concatenate(ys), size)),
        jnp.asarray(_padded(np.concatenate(starts), size)),
        jnp.asarray(bounds, jnp.int32),
        tuple(jnp.asarray(_padded(part, size)) for part in motion),
    )


def gather_windows(data: WindowData, starts: Int[Array, " batch"], length: int) -> Window | MotionWindow:
    """The windows of ``length`` pairs that begin at ``starts``: every part ``[batch, length, d]``."""
    index = starts[:, None] + jnp.arange(length)[None, :]
    if data.motion:
        return MotionWindow(data.x[index], data.y[index], *(part[index] for part in data.motion))
    return Window(data.x[index], data.y[index])


def sample_windows(
    data: WindowData, key: Key, batch: int, length: int, group_weights: Float[Array, " groups"]
) -> Window | MotionWindow:
    """Draw ``batch`` windows: first a group by its weight, then a start uniformly within the group.

    Args:
        data: from `window_data` with the same ``length``.
        key: PRNG key.
        batch: number of windows.
        length: pairs in each (2k).
        group_weights: unnormalised, non-negative weight of each group.

    Returns:
        x ``[batch, length, dx]`` and y ``[batch, length, dy]``, and the other parts of `Motion` data.
    """
    key_group, key_start = jax.random.split(key)
    group = jax.random.categorical(key_group, jnp.log(group_weights), shape=(batch,))
    low, high = data.bounds[group], data.bounds[group + 1]
    place = low + jnp.floor(jax.random.uniform(key_start, (batch,)) * (high - low)).astype(jnp.int32)
    # In float32 the product above can round up to the number of starts: hence the minimum.
    return gather_windows(data, data.starts[jnp.minimum(place, high - 1)], length)


def split_trajectories(trajectories: Sequence[T], fraction: float, seed: int) -> tuple[list[T], list[T]]:
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
    # One trajectory cannot be held out as a whole.
    if len(trajectories) == 1:
        only = trajectories[0]
        cut = len(only.x) - max(1, round(fraction * len(only.x)))
        before, after = (
            type(only)(*(part[span] for part in only)) for span in (slice(cut), slice(cut, None))
        )
        return [before], [after]
    order = np.random.default_rng(seed).permutation(len(trajectories))
    count = min(max(1, round(fraction * len(trajectories))), len(trajectories) - 1)
    held = set(order[:count].tolist())
    train = [t for i, t in enumerate(trajectories) if i not in held]
    return train, [trajectories[i] for i in sorted(held)]


Groups = Sequence[Trajectory] | Sequence[Motion] | Sequence[Sequence[Trajectory]] | Sequence[Sequence[Motion]]
"""Recorded data as training takes it: trajectories, or groups of them."""


def fit_normalizers(
    trajectories: Sequence[Trajectory | Motion], likelihood: Likelihood
) -> tuple[Normalizer, Normalizer]:
    """Normalisers of the inputs ``[dx]`` and targets ``[dy]`` of all trajectories; one-hot targets stay as they are."""
    x_norm = Normalizer.fit(np.concatenate([np.asarray(t.x) for t in trajectories]))
    targets = np.concatenate([np.asarray(t.y) for t in trajectories])
    # One-hot vectors are probabilities, and must stay so.
    if isinstance(likelihood, Categorical):
        return x_norm, Normalizer.identity(targets.shape[1])
    return x_norm, Normalizer.fit(targets)


def as_groups(trajectories: Groups) -> list[list[Any]]:
    """Trajectories, all `Trajectory` or all `Motion`, as a list of groups.

    Raises:
        TypeError: if ``trajectories`` is no list.
        ValueError: if there are no data, an entry is no trajectory, or an array is not ``[time, d]`` or not finite.
    """
    if not isinstance(trajectories, Sequence) or isinstance(trajectories, str | bytes):
        raise TypeError(f"training got {trajectories!r:.80}; expected a list of mole.Trajectory(x, y).")
    items: list[Any] = list(trajectories)
    if not items:
        raise ValueError("training got no trajectories; expected at least one. Record data first.")
    groups = (
        [items]
        if isinstance(items[0], Trajectory | Motion)
        else [list(group) if isinstance(group, Sequence) else [group] for group in items]
    )
    kind = Motion if groups[0] and isinstance(groups[0][0], Motion) else Trajectory
    for number, group in enumerate(groups):
        if not group or not all(isinstance(t, kind) for t in group):
            raise ValueError(
                f"group {number} got {[type(t).__name__ for t in group[:3]]}; expected at least one Trajectory(x, y). "
                "Pass a list of mole.Trajectory, or several lists of them."
            )
    for number, trajectory in enumerate(t for group in groups for t in group):
        for name, values in trajectory._asdict().items():
            if np.ndim(values) != 2 or not np.isfinite(values).all():
                raise ValueError(
                    f"trajectory {number} got {name} of shape {np.shape(values)}, not all finite or not [time, d]; "
                    "expected finite numbers. Drop or impute bad rows before training."
                )
    sizes = sorted({(np.shape(t.x)[1], np.shape(t.y)[1]) for group in groups for t in group})
    if len(sizes) > 1:
        raise ValueError(
            f"training got trajectories of (dx, dy) = {sizes[0]} and {sizes[1]}; expected the same features and "
            "targets in all of them."
        )
    return groups


def pairs_alone(groups: Sequence[Sequence[Any]]) -> list[list[Trajectory]]:
    """The groups without observations and actions, which the one-step losses have no use for."""
    return [[Trajectory(t.x, t.y) for t in group] for group in groups]


def one_group(owner: str, trajectories: Groups) -> list[Trajectory]:
    """The trajectories of a training that knows no groups; errors as `as_groups`.

    Raises:
        ValueError: for several groups.
    """
    groups = as_groups(trajectories)
    if len(groups) > 1:
        raise ValueError(
            f"{owner} got {len(groups)} groups of trajectories; expected one list of mole.Trajectory. Join the groups."
        )
    return groups[0]


def as_weights(weights: Sequence[float] | None, groups: int) -> np.ndarray:
    """One weight per group ``[groups]``, equal weights if none are given.

    Raises:
        ValueError: if nothing can be drawn with these weights.
    """
    values = np.ones(groups, np.float32) if weights is None else np.asarray(weights, np.float32)
    if values.shape != (groups,) or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ValueError(
            f"group_weights got {weights} for {groups} groups; expected one finite number >= 0 per group, at least one "
            "of them positive. Leave group_weights out for equal shares."
        )
    return values


def normalised(trajectory: T, x_norm: Normalizer, y_norm: Normalizer) -> T:
    """The trajectory with normalised inputs and targets, in float64; observations and actions stay as they are."""

    def apply(norm: Normalizer, values: Any) -> np.ndarray:
        # In float64: where the mean is large against the spread, float32 would lose digits.
        return (np.asarray(values, np.float64) - np.asarray(norm.mean)) / np.asarray(norm.std)

    return trajectory._replace(x=apply(x_norm, trajectory.x), y=apply(y_norm, trajectory.y))
