"""How a stream makes a prior for itself as it grows.

The first pairs are learned by Bayesian linear regression with random hidden units. Whenever the history has doubled,
inputs and targets are scaled anew. Once the history is long enough, the hidden units and a belief about tasks are
meta-trained on windows of it. Then the history is learned again, in order, under the new prior, and tasks keep their
numbers. The number of steps is bounded, and the same stream gives the same learner.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Generator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Trajectory
from mole.estimators.step import Engine
from mole.learning.models import Normalizer
from mole.online.base import REACH
from mole.readout import ReadoutConfig, ReadoutMixture, ReadoutPrior
from mole.readout.gaps import GappedReadoutMixture
from mole.readout.order import mixed_runs
from mole.readout.training import readout_prior_in_slices, slices_of
from mole.rows.encoding import RowEncoder, Schema
from mole.rows.scaling import Units, padded_size, robust_normalizer
from mole.rows.selection import MOST_INPUTS, choices_of, chosen_inputs

__all__ = ["SELF_TRAINING", "Grown", "Kept", "Recipe", "grow", "learned_size", "slices_of_grow"]

_TRAIN_FROM = 128
SELF_TRAINING = ReadoutConfig(window=32, iterations=400, learn_mean=False)
_REPLAYED = 32  # pairs that are learned again in one slice
_CELLS = 512  # values that are encoded in one slice
_SHORTEST = 48  # pairs of a task that is trained on: a window of 32 fits at several places


@dataclasses.dataclass
class Kept:
    """Pairs that a prior is made of, oldest first; those that arrive while it is made are added.

    Attributes:
        rows: as `mole.rows.values.kept` gives them.
        targets: as the estimator keeps them.
        tasks: number of the task of every pair, as found before.
        weights: of the pairs.
        begun: pairs that the prior is made of; the mixture over it learns all of them.
        complete: whether no more pairs arrive before the prior is used.
    """

    rows: list[Any]
    targets: list[Any]
    tasks: list[int]
    weights: list[float]
    begun: int
    complete: bool

    def add(self, row: Any, target: Any, task: int, weight: float) -> None:
        """One more pair."""
        self.rows.append(row)
        self.targets.append(target)
        self.tasks.append(task)
        self.weights.append(weight)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an estimator makes a prior of its pairs.

    Attributes:
        schema: how rows become inputs; None if it is made of the rows first.
        needed: of that schema, once it is made: whether the prior is to be made at all.
        units: of the targets, where float32 would lose their digits.
        vectors: kept targets and units to what is learned ``[n, dy]``.
        target_norm: their normaliser.
        settings: those of `ReadoutMixture` by now.
        free: number that the next task gets by now.
        gaps: whether targets may be missing; a prior is trained on the pairs that have all of them.
        width: hidden units.
        seed: of random hidden units and training.
        memory: most pairs.
    """

    schema: Schema | None
    needed: Callable[[Schema], bool]
    units: Units | None
    vectors: Callable[[list[Any], Units | None], np.ndarray]
    target_norm: Callable[[np.ndarray], Normalizer]
    settings: Callable[[], dict[str, Any]]
    free: Callable[[], int]
    gaps: bool
    width: int
    seed: int
    memory: int


@dataclasses.dataclass(frozen=True)
class Grown:
    """What `grow` made.

    Attributes:
        schema: how rows become inputs.
        places: of the inputs that are learned from ``[m]``; None if all are.
        learner: the mixture over the new prior.
        state: after all pairs.
        tasks: number of the task of every pair ``[n]``, under their old numbers.
        recent: newest inputs of the learner ``[r, dx]``, at most as many as were asked for.
    """

    schema: Schema
    places: np.ndarray | None
    learner: ReadoutMixture
    state: Any
    tasks: np.ndarray
    recent: np.ndarray


def learned_size(schema: Schema) -> int:
    """Inputs of the learner: the next size for which things are compiled; of wide rows always the same."""
    return padded_size(schema.size) if schema.size <= MOST_INPUTS else MOST_INPUTS


def _pad(x: np.ndarray, size: int) -> np.ndarray:
    """Inputs ``[..., dx]`` with zeros up to ``size``."""
    extra = size - x.shape[-1]
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, extra)])


def grow(kept: Kept, recipe: Recipe, recent: int) -> Generator[None, None, Grown | None]:
    """Make a prior of kept pairs and a learner over it that has learned them, a slice of a few milliseconds at a time.

    Args:
        kept: the pairs; it ends when they are ``complete`` and learned.
        recipe: how.
        recent: newest inputs that are wanted.

    Returns:
        What was made; None if the schema showed that there is no need.
    """
    count, schema = kept.begun, recipe.schema
    if schema is None:
        schema = yield from _schema_of(kept.rows[:count])
        if not recipe.needed(schema):
            return None
    encoded, at_once = [], max(1, _CELLS // schema.size)
    for place, row in enumerate(kept.rows[:count]):
        encoded.append(schema.encode(row))
        if place % at_once == at_once - 1:
            yield
    raw, y = np.stack(encoded), recipe.vectors(kept.targets[:count], recipe.units)
    places = None
    if schema.size > MOST_INPUTS:
        places = yield from chosen_inputs(raw, _filled(y))
        raw = raw[:, places]
    size = learned_size(schema)
    x = _pad(raw, size)
    x_norm, y_norm = robust_normalizer(raw, size), recipe.target_norm(y)
    yield
    growing = tuple(
        place
        for place, source in enumerate(range(schema.size) if places is None else places.tolist())
        if source in schema.growing
    )
    # Of seed and length alone: a run that was stopped makes the same prior when it reaches this length.
    key = jax.random.fold_in(jax.random.key(recipe.seed), count)
    # What the learner would refuse is nothing to train on.
    sane = np.abs((y - np.asarray(y_norm.mean)) / np.asarray(y_norm.std)).max(axis=1) <= REACH
    tasks, settings = np.asarray(kept.tasks[:count]), recipe.settings()
    segments = _segments(x[sane], y[sane], tasks[sane], classes=bool(settings.get("classes")))
    trained = count >= _TRAIN_FROM and bool(segments)
    if trained:
        prior = yield from readout_prior_in_slices(
            segments, x_norm=x_norm, y_norm=y_norm, width=recipe.width, config=SELF_TRAINING, key=key, growing=growing,
            size=recipe.memory,
        )  # fmt: skip
    else:
        prior = _untrained(recipe.width, x_norm, y_norm, jax.random.key(recipe.seed), growing)
    yield
    learner = (GappedReadoutMixture if recipe.gaps else ReadoutMixture)(prior, **recipe.settings())
    # The history made the learned belief: tasks of the history must not be drawn from it, or they count twice.
    engine, found = Engine(learner, learner.init(kinds=(1.0, 0.0))), []
    inputs: collections.deque[np.ndarray] = collections.deque(maxlen=recent)
    while len(found) < len(kept.rows) or not kept.complete:
        for place in range(len(found), min(len(found) + _REPLAYED, len(kept.rows))):
            if place < count:
                here, target = x[place], y[place]
            else:
                new = schema.encode(kept.rows[place])
                here = _pad(new if places is None else new[places], size)
                target = recipe.vectors([kept.targets[place]], recipe.units)[0]
            inputs.append(here)
            pair = np.concatenate((here, target), dtype=np.float32)
            found.append(engine.step(pair, kept.weights[place]).task)
        if len(found) < len(kept.rows) or not kept.complete:
            yield
    state = engine.state
    # The replay numbers tasks from 0 on. To the user they are the tasks that are known already.
    numbers, following = _renumbered(
        np.asarray(found), np.asarray(kept.tasks), int(state.next_task), recipe.free()
    )
    state = eqx.tree_at(
        lambda s: (s.task, s.next_task, s.kind_counts),
        state,
        (
            jnp.asarray([numbers[n] if n >= 0 else -1 for n in np.asarray(state.task).tolist()], jnp.int32),
            jnp.asarray(following, jnp.int32),
            jnp.asarray((1.0, float(trained)), jnp.float32),
        ),
    )
    return Grown(schema, places, learner, state, np.asarray([numbers[n] for n in found]), np.stack(inputs))


def slices_of_grow(count: int, size: int, pairs: int, schema: bool) -> int:
    """How often `grow` yields, at most.

    Args:
        count: pairs that the prior is made of.
        size: inputs of a row.
        pairs: all that are learned in the end.
        schema: whether it makes the schema first.
    """
    encoding = count // max(1, _CELLS // size) + 1
    choosing = choices_of(size) if size > MOST_INPUTS else 0
    training = slices_of(SELF_TRAINING) if count >= _TRAIN_FROM else 0
    return (1 + schema) * encoding + choosing + training + pairs // _REPLAYED + 4


def _filled(y: np.ndarray) -> np.ndarray:
    """Targets ``[n, dy]`` with the mean of its output in the place of a missing one: it says nothing about inputs."""
    there = ~np.isnan(y)
    means = np.sum(y, axis=0, where=there) / np.maximum(there.sum(axis=0), 1)
    return np.where(there, y, means)


def _schema_of(rows: list[Any]) -> Generator[None, None, Schema]:
    """The schema of these rows alone: what forgotten ones held must not decide.

    A column that was constant for a million rows would keep the scale of a constant.
    """
    encoder = RowEncoder()
    for row in rows:
        encoder.observe(row)
        if encoder.rows % max(1, _CELLS // len(encoder.columns)) == 0:
            yield
    return encoder.schema()


@eqx.filter_jit
def _untrained(
    width: int, x_norm: Normalizer, y_norm: Normalizer, key: Array, growing: tuple[int, ...]
) -> ReadoutPrior:
    untrained = ReadoutPrior.untrained(width=width, x_norm=x_norm, y_norm=y_norm, key=key, growing=growing)
    # Twice the broad belief, since a trained prior has a broad and a learned one: same shapes, same program.
    both = jax.tree.map(lambda a: jnp.concatenate([a, a]), untrained.beliefs)
    return eqx.tree_at(lambda p: p.beliefs, untrained, both)


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
