"""Whether the labels of a stream come in runs, as they do when a batch is sorted by class, or mixed.

A mixture of readouts models P(y | x), and in a run of one label a new task that expects this label everywhere is at
least as good as a task that has to keep the other labels apart. Every pair of the run would be evidence for the new
task, although the relation is the old one and only the inputs are others. So runs are modelled, by the labels alone:
a label is drawn either from all labels seen so far, or from the recent ones, and now and then the stream changes from
one to the other.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Float
from mole.online.em import MOST_COUNTED

__all__ = ["UPGRADES", "LabelOrder", "Notice", "first_order", "mixed_runs", "noticed", "settled"]

_MEMORY = 5.0  # pairs over which labels are recent
_STRAY = 0.1  # of the labels in a run, that are drawn from all: a run ends with the first label of the next
_CHANGE = 0.01  # probability that runs begin, or end, at a pair
_UNTOLD = (
    0.9  # probability of a run from which a pair tells nothing; mixed labels reach it once in some 500 pairs
)
_MOST_APART = 20.0  # times that the most frequent label weighs what another one does
_MOST_WEIGHT = 100.0  # of one pair
_AGAINST_DRIFT = 4.0  # log odds of the least rate of drift where it is preferred
_CALM = 0.1  # share by which it is preferred at each pair, where there is a rare label
_NEW_FROM = 10.0  # pairs before which every label is as good as known


class LabelOrder(NamedTuple):
    """What is known of the order of labels.

    Attributes:
        runs: probability that labels come in runs now.
        recent: shares of the labels among the recent pairs ``[labels]``.
        seen: pairs of each label ``[labels]``.
    """

    runs: Float[Array, ""]
    recent: Float[Array, " labels"]
    seen: Float[Array, " labels"]


UPGRADES = {
    ".order.runs": ("", lambda zeros: zeros + np.float32(_CHANGE)),
    ".order.recent": ("", lambda zeros: zeros + np.float32(1.0 / zeros.shape[-1])),
    ".order.seen": ("", lambda zeros: zeros),
}
"""Version 0.1 had no `LabelOrder`: one that it wrote begins here, as `first_order`."""


class Notice(NamedTuple):
    """How a pair is to be learned.

    Attributes:
        told: one, or zero if the pair tells nothing about the task.
        times: as how many pairs it counts.
        calm: by how much the rates of drift return to the least one.
    """

    told: Float[Array, ""] | float = 1.0
    times: Float[Array, ""] | float = 1.0
    calm: Float[Array, ""] | float = 0.0


def first_order(outputs: int) -> LabelOrder:
    """Before any label; a single output is the indicator of the second of two."""
    labels = max(outputs, 2)
    return LabelOrder(jnp.float32(_CHANGE), jnp.full((labels,), 1.0 / labels), jnp.zeros((labels,)))


def noticed(order: LabelOrder | None, indicators: Float[Array, " dy"]) -> tuple[LabelOrder | None, Notice]:
    """The order after one more label, and how the pair is to be learned.

    A pair tells nothing if the recent labels explain its label, or if there was no such label among the first ten or
    more: then no task could have expected it. Such a pair is learned, but no task becomes more probable, begins or
    drifts: for all but the readouts time stands still.

    A pair counts as several if its label is less than a twentieth as frequent as the most frequent one: as many that
    the label weighs a twentieth, at most a hundred. In a regression on indicators a class of one pair in a thousand
    would otherwise nowhere be expected with more than a few per cent, however far it is from the others.

    Where there is so rare a label, or a run, the least rate of drift is preferred: a task that drifts forgets what it
    has not seen for long, and until it is seen again nothing shows it.

    Args:
        order: before the pair; None for a regression, whose pairs all tell something.
        indicators: of the classes ``[dy]``, of which one is about one; or of the second class alone.
    """
    if order is None:
        return None, Notice()
    label = jnp.where(indicators > 0.5, 1.0, 0.0)
    if label.shape[0] == 1:
        label = jnp.concatenate([1.0 - label, label])
    # Half a pair of every label beside those seen (Krichevsky, Trofimov 1981): so a new label is rare, not impossible.
    seen = order.seen + 0.5
    mixed = jnp.sum(label * seen) / jnp.sum(seen)
    run = (1.0 - _STRAY) * jnp.sum(label * order.recent) + _STRAY * mixed
    drawn = order.runs * run
    explained = drawn / (drawn + (1.0 - order.runs) * mixed)
    new = (jnp.sum(label * order.seen) == 0) & (jnp.sum(order.seen) >= _NEW_FROM)
    # Only the ratios of what was seen are used: halved before float32 would lose the next pair.
    share = jnp.where(jnp.max(order.seen) >= MOST_COUNTED, 0.5, 1.0)
    after = LabelOrder(
        runs=jnp.where(new, order.runs, explained + _CHANGE * (1.0 - 2.0 * explained)),
        recent=order.recent + (label - order.recent) / _MEMORY,
        seen=order.seen * share + label,
    )
    told = jnp.where(new | (explained > _UNTOLD), 0.0, 1.0)
    often = jnp.max(after.seen) / _MOST_APART
    times = jnp.clip(often / jnp.sum(label * after.seen), 1.0, _MOST_WEIGHT)
    rare = jnp.any((after.seen > 0) & (after.seen < often))
    return after, Notice(told, times, jnp.where(told > 0, jnp.where(rare, _CALM, 0.0), 1.0))


def settled(
    scores: Float[Array, "slots rates"], drift: Float[Array, " rates"], calm: Float[Array, "slots 1"]
) -> Float[Array, "slots rates"]:
    """Scores of the rates of drift, moved by a share towards those of the least rate."""
    least = jax.nn.log_softmax(jnp.where(drift > jnp.min(drift), -_AGAINST_DRIFT, 0.0))
    return scores + calm * (least[None] - scores)


def mixed_runs(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places ``[n]`` in a random order if the labels there come in runs, and else as they are.

    A label follows itself as often as the shares of the labels say if they are mixed; four standard deviations more
    often is a run. The same number of places gives the same order.

    Args:
        labels: indicators of the classes ``[time, dy]``.
        places: of the pairs of a task, in order.
    """
    here = labels[places]
    shares = np.unique(here, axis=0, return_counts=True)[1] / len(here)
    expected, repeats = float(np.sum(shares**2)), np.all(here[1:] == here[:-1], axis=1)
    chance = np.sqrt(expected * (1.0 - expected) / max(len(repeats), 1))
    if np.mean(repeats) <= expected + 4.0 * chance or len(shares) == 1:
        return places
    return np.random.default_rng(len(places)).permutation(places)
