"""Recorded transitions: random exploration, files, and their form for training. No task is ever recorded here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Trajectory
from mole.control.episode import Stretch
from mole.files import checkpoint
from mole.files.atomic import atomic_file, atomic_text
from mole.files.checkpoint import DamagedError
from mole.files.generations import set_aside
from mole.files.npz import read_npz
from mole.learning.prior import MetaPrior

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = [
    "claim_folder",
    "load_stretches",
    "random_rollout",
    "save_stretches",
    "set_damaged_aside",
    "to_trajectories",
    "unit_scale_where_constant",
]


def random_rollout(env: Any, steps: int, rng: np.random.Generator) -> list[Stretch]:
    """Random actions in ``env``: half of all rollouts held uniform ones, half AR(1)-coloured normal ones.

    Actions that last longer than one step move the system farther from its resting place than white noise does.

    Args:
        env: a Gymnasium environment with a bounded continuous action space.
        steps: steps to make.
        rng: of the actions and of the environment's seed.
    """
    actions = _random_actions(env.action_space, steps, rng)
    obs, _ = env.reset(seed=int(rng.integers(2**31)))
    seen, done, stretches = [obs], [], []
    for action in actions:
        obs, _, terminated, truncated, _ = env.step(action)
        seen.append(obs)
        done.append(action)
        if terminated or truncated:
            stretches.append(Stretch(np.asarray(seen, np.float32), np.asarray(done, np.float32)))
            obs, _ = env.reset()
            seen, done = [obs], []
    if done:
        stretches.append(Stretch(np.asarray(seen, np.float32), np.asarray(done, np.float32)))
    return stretches


def _random_actions(space: Any, steps: int, rng: np.random.Generator) -> np.ndarray:
    low, high = np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
    if rng.random() < 0.5:
        hold = int(rng.integers(1, 9))
        held = rng.uniform(low, high, (-(-steps // hold), low.size))
        return np.repeat(held, hold, axis=0)[:steps].astype(np.float32)
    rho, noise = rng.uniform(0.5, 0.95), rng.standard_normal((steps, low.size))
    coloured = np.empty_like(noise)
    coloured[0] = noise[0]
    for t in range(1, steps):
        coloured[t] = rho * coloured[t - 1] + np.sqrt(1 - rho**2) * noise[t]
    middle, half = (low + high) / 2, (high - low) / 2
    return np.clip(middle + 0.8 * half * coloured, low, high).astype(np.float32)


def to_trajectories(
    stretches: Sequence[Stretch], spec: DynamicsSpec, *, shortest: int = 1, run: int | None = None
) -> list[Trajectory]:
    """Inputs x = features(obs, action) and targets y = delta(obs, next_obs) of every stretch, in natural units.

    No pair is made across a reset. But episodes may end before a window of time is full; a learner's windows go on over
    the reset, and so do those of training then.

    Args:
        stretches: in the order of their recording.
        spec: of their environment.
        shortest: a stretch with fewer pairs is joined with the next ones.
        run: transitions of one run, which all recorded runs have; nothing is joined beyond a run's end.
    """
    one: Callable[..., Any] = jax.jit(jax.vmap(lambda o, a, n: (spec.features(o, a), spec.delta(o, n))))
    obs = np.concatenate([s.obs[:-1] for s in stretches])
    following = np.concatenate([s.obs[1:] for s in stretches])
    x, y = jax.device_get(one(obs, np.concatenate([s.actions for s in stretches]), following))
    cuts, start = [], 0
    for end in np.cumsum([len(s.actions) for s in stretches]):
        if end - start >= shortest or end == len(x) or (run is not None and end % run == 0):
            cuts.append((start, end))
            start = end
    return [Trajectory(x[first:last], y[first:last]) for first, last in cuts]


def unit_scale_where_constant(prior: MetaPrior, groups: Sequence[Sequence[Trajectory]]) -> MetaPrior:
    """The prior with a residual scale of 1 for targets that never varied, such as the end of an episode that has none.

    They tell no task from another. At their tiny measured residual, the first noise in their prediction would.
    """
    targets = np.concatenate([np.asarray(t.y) for group in groups for t in group])
    scale = jnp.where(jnp.asarray(np.ptp(targets, axis=0) == 0), 1.0, prior.residual_scale)
    return eqx.tree_at(lambda p: p.residual_scale, prior, scale)


def save_stretches(path: Path, stretches: Sequence[Stretch]) -> None:
    """Write stretches to one ``.npz`` file, atomically."""
    arrays = {
        "obs": np.concatenate([s.obs for s in stretches]),
        "actions": np.concatenate([s.actions for s in stretches]),
        "lengths": np.asarray([len(s.actions) for s in stretches]),
    }
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_stretches(path: Path) -> list[Stretch]:
    """Read what `save_stretches` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or holds something else.
    """
    found = read_npz(path)
    if set(found) != {"obs", "actions", "lengths"}:
        raise ValueError(
            f"{path} has the arrays {sorted(found)[:20]}, expected actions, lengths and obs of a training"
        )
    obs, actions, lengths = found["obs"], found["actions"], found["lengths"]
    if (
        (obs.dtype.kind, actions.dtype.kind, lengths.dtype.kind) != ("f", "f", "i")
        or (obs.ndim, actions.ndim, lengths.ndim) != (2, 2, 1)
        or not len(lengths)
        or not ((lengths >= 0) & (lengths <= len(actions))).all()
        or (len(actions), len(obs)) != (int(lengths.sum()), int(lengths.sum()) + len(lengths))
    ):
        raise ValueError(
            f"{path} holds obs {obs.dtype}{list(obs.shape)}, actions {actions.dtype}{list(actions.shape)} and "
            f"lengths {lengths.dtype}{list(lengths.shape)}, which do not fit each other: record it again"
        )
    obs = np.split(obs, np.cumsum(lengths + 1)[:-1])
    actions = np.split(actions, np.cumsum(lengths)[:-1])
    return [Stretch(o, a) for o, a in zip(obs, actions, strict=True)]


# Finished stages of a training that were damaged since: set aside, so that they are made again.


def set_damaged_aside(folder: Path) -> None:
    """Rename every prior and all data of a training that are not whole, with a `RecoveryWarning` each.

    A stage is a function of the seed and of the stages before it: made again, it has the same bytes, and those after it
    stay as they are.

    Raises:
        mole.files.checkpoint.CheckpointError: if a prior is of a newer format.
    """
    for names, read, damaged in (
        ("*.mole", checkpoint.verify, DamagedError),
        ("data-*.npz", load_stretches, ValueError),
    ):
        for path in sorted(folder.glob(names)):
            try:
                read(path)
            except damaged as error:
                set_aside(path, error, "this stage")


# A folder belongs to one configuration: results of different ones are never mixed.


_REMEDY = "choose another folder, or delete this one."


def claim_folder(folder: Path, name: str, description: Mapping[str, Any]) -> None:
    """Make ``folder`` and write ``description`` to the JSON file ``name``, or check that it says the same already.

    Raises:
        ValueError: if the folder holds something with another description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / name, json.dumps(dict(description), indent=2, sort_keys=True)
    if not path.exists():
        atomic_text(path, text + "\n")
        return
    try:
        old, new = json.loads(path.read_text("utf-8")), json.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # also of bytes that are no text, and of brackets without end
        raise ValueError(f"{path} is no JSON ({error}); {_REMEDY}") from error
    if not isinstance(old, dict):
        raise ValueError(f"{path} holds a {type(old).__name__}, expected names with values; {_REMEDY}")  # noqa: TRY004
    if old != new:
        differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        raise ValueError(
            f"{folder} holds results of another configuration: {name} differs in {', '.join(differing)[:300]}. "
            f"{_REMEDY.capitalize()}"
        )
