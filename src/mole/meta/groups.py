"""Recorded data as training receives it: checked, in groups, normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mole._types import Trajectory
from mole.likelihoods import Categorical, Likelihood
from mole.models import Normalizer

__all__ = ["Groups", "as_groups", "as_weights", "fit_normalizers", "normalised"]

Groups = Sequence[Trajectory] | Sequence[Sequence[Trajectory]]


def fit_normalizers(
    trajectories: Sequence[Trajectory], likelihood: Likelihood
) -> tuple[Normalizer, Normalizer]:
    """Statistics of all inputs and targets; targets that are classes stay as they are."""
    x_norm = Normalizer.fit(np.concatenate([np.asarray(t.x) for t in trajectories]))
    targets = np.concatenate([np.asarray(t.y) for t in trajectories])
    if isinstance(likelihood, Categorical):
        return x_norm, Normalizer.identity(targets.shape[1])
    return x_norm, Normalizer.fit(targets)


def as_groups(trajectories: Groups) -> list[list[Trajectory]]:
    """Trajectories as a list of groups; a clear error for no data, wrong ranks and numbers that are not finite."""
    if not isinstance(trajectories, Sequence) or isinstance(trajectories, str | bytes):
        raise TypeError(f"training got {trajectories!r:.80}; expected a list of mole.Trajectory(x, y).")
    items: list[Any] = list(trajectories)
    if not items:
        raise ValueError("training got no trajectories; expected at least one. Record data first.")
    groups = (
        [items]
        if isinstance(items[0], Trajectory)
        else [list(group) if isinstance(group, Sequence) else [group] for group in items]
    )
    for number, group in enumerate(groups):
        if not group or not all(isinstance(t, Trajectory) for t in group):
            raise ValueError(
                f"group {number} got {[type(t).__name__ for t in group[:3]]}; expected at least one Trajectory(x, y). "
                "Pass a list of mole.Trajectory, or several lists of them."
            )
    for number, trajectory in enumerate(t for group in groups for t in group):
        for name, values in zip(("x", "y"), trajectory, strict=True):
            if np.ndim(values) != 2 or not np.isfinite(values).all():
                raise ValueError(
                    f"trajectory {number} got {name} of shape {np.shape(values)}, not all finite or not [time, d]; "
                    "expected finite numbers. Drop or impute bad rows before training."
                )
    return groups


def as_weights(weights: Sequence[float] | None, groups: int) -> np.ndarray:
    """One weight per group, equal if not given; a clear error for anything that cannot be drawn from."""
    values = np.ones(groups, np.float32) if weights is None else np.asarray(weights, np.float32)
    if values.shape != (groups,) or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ValueError(
            f"group_weights got {weights} for {groups} groups; expected one finite number >= 0 per group, at least one "
            "of them positive. Leave group_weights out for equal shares."
        )
    return values


def normalised(trajectory: Trajectory, x_norm: Normalizer, y_norm: Normalizer) -> Trajectory:
    """A trajectory of normalised inputs and targets."""

    def apply(norm: Normalizer, values: Any) -> np.ndarray:
        return (np.asarray(values, np.float64) - np.asarray(norm.mean)) / np.asarray(norm.std)

    return Trajectory(apply(x_norm, trajectory.x), apply(y_norm, trajectory.y))
