"""Where the learner of an estimator comes from: it was given, or the stream makes a prior for itself as it grows.

The first pairs are learned by Bayesian linear regression with random hidden units. Whenever the history has doubled,
inputs and targets are scaled anew. Once the history is long enough, the hidden units and a belief about tasks are
meta-trained on windows of it. Then the history is learned again, in order, under the new prior, and tasks keep their
numbers. The number of steps is bounded, and the same stream gives the same learner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._expect import expect_type
from mole._types import Trajectory
from mole.estimators.step import replay
from mole.learning.models import Normalizer
from mole.learning.prior import MetaPrior
from mole.online.base import REACH, OnlineLearner
from mole.priors.stream import StreamPrior, learner_of
from mole.readout import ReadoutConfig, ReadoutMixture, ReadoutPrior, train_readout_prior
from mole.readout.gaps import GappedReadoutMixture
from mole.readout.order import mixed_runs
from mole.rows.scaling import padded_size

__all__ = ["MARKS", "Grown", "Prior", "grow", "learner_from", "pad", "plain_settings", "refresh_due"]

Prior = StreamPrior | ReadoutPrior | MetaPrior | OnlineLearner
MARKS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Pairs after which the prior is made anew. They double, so that a pair is learned again about twice in all."""
_TRAIN_FROM = 128
_SELF_TRAINING = ReadoutConfig(window=32, iterations=400, learn_mean=False)
_SHORTEST = 48  # pairs of a task that is trained on: a window of 32 fits at several places


def learner_from(owner: str, prior: Any, settings: Mapping[str, Any]) -> OnlineLearner:
    """The learner that was given, or the mixture that belongs to the prior that was given.

    Raises:
        TypeError: for anything else.
        ValueError: for settings beside a learner, which has its own.
    """
    if isinstance(prior, StreamPrior | ReadoutPrior | MetaPrior):
        return learner_of(prior, settings)
    if not isinstance(prior, OnlineLearner):
        raise TypeError(
            f"{owner} got a prior of type {type(prior).__name__}; expected one from mole.fit_prior, mole.meta_train or "
            "mole.load_prior, or a learner such as mole.KShot(prior)."
        )
    if settings:
        raise ValueError(
            f"{owner} got mixture={dict(settings)!r:.80} beside a learner; expected none: a learner has its own "
            "settings."
        )
    return prior


def plain_settings(owner: str, mixture: Any) -> dict[str, Any]:
    """Settings of a mixture as JSON can hold them, since they go into files: arrays and NumPy's numbers as Python's.

    Raises:
        TypeError: unless they are a mapping, or None.
    """
    if mixture is None:
        return {}
    expect_type(owner, "mixture", mixture, Mapping, "It is settings by name, such as {'alpha': 2.0}.")
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in mixture.items()}


@dataclasses.dataclass(frozen=True)
class Grown:
    """What `grow` made.

    Attributes:
        learner: the mixture over the new prior.
        state: after the whole history.
        tasks: number of the task of every pair ``[n]``.
    """

    learner: ReadoutMixture
    state: Any
    tasks: np.ndarray


def refresh_due(pairs: int, memory: int) -> bool:
    """Whether the prior is to be made anew after so many pairs."""
    return pairs in MARKS and pairs <= memory


def pad(x: np.ndarray) -> np.ndarray:
    """Inputs ``[..., dx]`` with zeros up to the next size for which things are compiled."""
    extra = padded_size(x.shape[-1]) - x.shape[-1]
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, extra)])


def grow(
    x: np.ndarray,
    y: np.ndarray,
    tasks: np.ndarray,
    free: int,
    *,
    x_norm: Normalizer,
    y_norm: Normalizer,
    growing: tuple[int, ...],
    width: int,
    seed: int,
    settings: Mapping[str, Any],
    gaps: bool = False,
    weights: np.ndarray | None = None,
) -> Grown:
    """Make a prior from the history, and a learner over it that has learned the history.

    Args:
        x: padded inputs ``[n, dx]``.
        y: targets ``[n, dy]``, NaN where one is missing: a prior is trained on the pairs that have all of them.
        tasks: number of the task of every pair, as found before ``[n]``; new numbers continue them.
        free: number that the next task was to get.
        x_norm: normaliser of the inputs.
        y_norm: normaliser of the targets.
        growing: places of inputs that grow without bound.
        width: hidden units.
        seed: of random hidden units and training.
        settings: of `ReadoutMixture`.
        gaps: whether targets may be missing.
        weights: of the pairs, as they are learned again ``[n]``; all one if None.

    Returns:
        The learner, its state, and the tasks of the history under their old numbers.
    """
    # Of seed and length alone: a run that was stopped makes the same prior when it reaches this length.
    key = jax.random.fold_in(jax.random.key(seed), len(x))
    # What the learner would refuse is nothing to train on.
    sane = np.abs((y - np.asarray(y_norm.mean)) / np.asarray(y_norm.std)).max(axis=1) <= REACH
    segments = _segments(x[sane], y[sane], tasks[sane], classes=bool(settings.get("classes")))
    trained = len(x) >= _TRAIN_FROM and bool(segments)
    if trained:
        prior = train_readout_prior(
            segments,
            x_norm=x_norm,
            y_norm=y_norm,
            width=width,
            config=_SELF_TRAINING,
            key=key,
            growing=growing,
        )
    else:
        untrained = ReadoutPrior.untrained(
            width=width, x_norm=x_norm, y_norm=y_norm, key=jax.random.key(seed), growing=growing
        )
        # Twice the broad belief, since a trained prior has a broad and a learned one: same shapes, same program.
        both = jax.tree.map(lambda a: jnp.concatenate([a, a]), untrained.beliefs)
        prior = eqx.tree_at(lambda p: p.beliefs, untrained, both)
    learner = (GappedReadoutMixture if gaps else ReadoutMixture)(prior, **settings)
    # The history made the learned belief: tasks of the history must not be drawn from it, or they count twice.
    state, found = replay(learner, learner.init(kinds=(1.0, 0.0)), x, y, weights)
    # The replay numbers tasks from 0 on. To the user they are the tasks that are known already.
    numbers, following = _renumbered(found, tasks, int(state.next_task), free)
    state = eqx.tree_at(
        lambda s: (s.task, s.next_task, s.kind_counts),
        state,
        (
            jnp.asarray([numbers[n] if n >= 0 else -1 for n in np.asarray(state.task).tolist()], jnp.int32),
            jnp.asarray(following, jnp.int32),
            jnp.asarray((1.0, float(trained)), jnp.float32),
        ),
    )
    return Grown(learner, state, np.asarray([numbers[n] for n in found.tolist()]))


def _segments(x: np.ndarray, y: np.ndarray, tasks: np.ndarray, *, classes: bool) -> list[Trajectory]:
    """The pairs of each task in order, of tasks with enough of them: windows of one task have no switch in them.

    Labels that come in runs are mixed, since windows of one label each would teach that all labels of a task are equal.
    """
    groups = [np.flatnonzero(tasks == task) for task in np.unique(tasks)]
    groups = [group for group in groups if len(group) >= _SHORTEST]
    if classes:
        groups = [mixed_runs(y, group) for group in groups]
    return [Trajectory(x[group], y[group]) for group in groups]


def _renumbered(
    found: np.ndarray, before: np.ndarray, candidate: int, free: int
) -> tuple[dict[int, int], int]:
    """New number → the old number of the task that it shares most pairs with; and the next free number.

    Args:
        found: task of every pair now ``[n]``.
        before: task of every pair as told before ``[n]``.
        candidate: what a candidate is called now; it gets the next free number, as it would by being founded.
        free: the next free number before.
    """
    # Greedy, by the number of shared pairs: a task that was split keeps its number in its larger part.
    pairs, counts = np.unique(np.stack([found, before]), axis=1, return_counts=True)
    numbers: dict[int, int] = {}
    for place in np.argsort(-counts, kind="stable"):
        new, old = pairs[:, place].tolist()
        if new != candidate and new not in numbers and old not in numbers.values():
            numbers[new] = old
    following = max(free, max(numbers.values(), default=-1) + 1)
    for new in range(candidate):
        if new not in numbers:
            numbers[new], following = following, following + 1
    numbers[candidate] = following
    return numbers, following
