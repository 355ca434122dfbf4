"""Figures of one run, computed from its record with NumPy alone. What is undefined is NaN, never a guess.

Conventions. A *visit* is a segment of steps under one true task, a *switch* is the first step of a visit
other than the first; steps with unknown true task (-1) belong to no visit. The first steps of a run, where
nothing has been seen yet, are neither "after a switch" nor "the rest": they have their own figure,
`error_start`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mole.control.records import EpisodeRecord

__all__ = [
    "Recall",
    "adjusted_rand",
    "fraction_upright",
    "one_step_error",
    "progress",
    "purity",
    "recall",
    "return_per",
    "settled",
    "steps_since_switch",
    "summarise",
    "switches",
]

AFTER = 20
"""Steps after a switch that count as "after the switch"."""
STAY = 5
"""Steps of which most must be spent in the home slot for an arrival there to count."""


class Recall(NamedTuple):
    """One entry per return to a true task seen before, in order of time.

    Attributes:
        step: [returns] int, first step of the visit.
        true_task: [returns] int.
        recalled: [returns] bool.
        delay: [returns] float, steps until the home slot is chosen (1 = after the first transition); NaN if
            not recalled.
    """

    step: np.ndarray
    true_task: np.ndarray
    recalled: np.ndarray
    delay: np.ndarray


def switches(true_task: np.ndarray) -> np.ndarray:
    """Steps at which the true task differs from the one before, both known. [switches] int, ascending."""
    task = np.asarray(true_task)
    changed = (task[1:] != task[:-1]) & (task[1:] >= 0) & (task[:-1] >= 0)
    return np.flatnonzero(changed) + 1


def steps_since_switch(true_task: np.ndarray) -> np.ndarray:
    """[time] int: steps since the last switch (0 at the switch itself), -1 before the first switch."""
    steps = np.arange(len(true_task))
    last = np.full(len(true_task), -1)
    at = switches(true_task)
    last[at] = at
    last = np.maximum.accumulate(last)
    return np.where(last >= 0, steps - last, -1)


def return_per(record: EpisodeRecord, steps: int = 1000) -> float:
    """Mean reward of a step, times `steps`.

    Raises:
        ValueError: if the record has no steps.
    """
    _need_steps(record)
    return float(record.reward.mean() * steps)


def one_step_error(record: EpisodeRecord) -> dict[str, float]:
    """Mean one-step error: over `all` steps and over these groups of them.

    `first_20`: the 20 steps from each switch on, divided in `first_5` and `from_5_to_20`; `start`: the first
    20 steps of the run (up to the first switch); `rest`: all other steps. NaN where a group is empty.
    """
    _need_steps(record)
    since = steps_since_switch(record.true_task)
    after = (since >= 0) & (since < AFTER)
    start = (since < 0) & (np.arange(len(record)) < AFTER)
    groups = {
        "all": np.ones(len(record), bool),
        "start": start,
        "first_20": after,
        "first_5": after & (since < 5),
        "from_5_to_20": after & (since >= 5),
        "rest": ~after & ~start,
    }
    # A refused pair has no loss. Any other loss that is NaN says that the run diverged, and must stay visible.
    learned = ~np.asarray(record.rejected, bool)
    return {name: _mean(record.loss[steps & learned]) for name, steps in groups.items()}


def fraction_upright(record: EpisodeRecord) -> float:
    """Fraction of the steps with the body less than 90° from upright; NaN if the posture is unknown."""
    known = np.isfinite(record.upright)
    return _mean((record.upright[known] > 0).astype(float))


def progress(record: EpisodeRecord) -> float:
    """Metres forward from after the first step to the end; NaN if the position is unknown."""
    _need_steps(record)
    return float(record.position[-1] - record.position[0])


def recall(record: EpisodeRecord) -> Recall:
    """Whether, and how soon, the mixture returns to the slot of a true task that returns.

    The *home* of a visit is the slot chosen most often in its last half (the lowest one at a tie). A visit to
    a true task seen before is recalled if its home equals the home of the last visit to that task and differs
    from the home of the visit just left: a single slot serving both has been trained over, nothing was
    recalled. So a learner without a mixture recalls nothing.
    The delay is 1 + the steps from the start of the visit to the first step at which the home slot is chosen
    and also holds the majority of the following 5 steps of the visit (of fewer, near the end of the visit).
    """
    edges = np.flatnonzero(np.diff(record.true_task)) + 1
    starts = [0, *edges.tolist()] if len(record) else []
    homes: dict[int, int] = {}
    left = -1
    rows: list[tuple[int, int, bool, float]] = []
    for start, stop in zip(starts, [*starts[1:], len(record)], strict=True):
        truth = int(record.true_task[start])
        if truth < 0:
            continue
        chosen = record.task[start:stop]
        # In the first half the learner may still be finding out which task this is.
        # `bincount` is safe here: a record's tasks are below its number of slots.
        home = int(np.bincount(chosen[len(chosen) // 2 :]).argmax())
        if truth in homes:
            recalled = home == homes[truth] and home != left
            rows.append((start, truth, recalled, _delay(chosen == home) if recalled else float("nan")))
        homes[truth] = left = home
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Recall(*(np.array(c, t) for c, t in zip(columns, (int, int, bool, float), strict=True)))


def _delay(at_home: np.ndarray) -> float:
    for step in np.flatnonzero(at_home):
        following = at_home[step + 1 : step + 1 + STAY]
        if following.size == 0 or following.mean() > 0.5:
            return float(step + 1)
    return float("nan")


def _counts(values: np.ndarray) -> np.ndarray:
    """How often each value ``[n]`` or column ``[rows, n]`` occurs; `numpy.bincount` takes memory for the largest."""
    return np.unique(values, axis=-1, return_counts=True)[1]


def adjusted_rand(labels: np.ndarray, truth: np.ndarray) -> float:
    """Adjusted Rand index of two labellings (Hubert & Arabie 1985): 1 the same partition, 0 as by chance.

    Steps whose truth is unknown (negative) are left out. NaN without any step; 1 if both are one single
    group.
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape:
        raise ValueError(
            f"labels have shape {labels.shape} and truth {truth.shape}: expected the same [time]"
        )
    known = truth >= 0
    if not known.any():
        return float("nan")
    both = np.stack([labels[known], truth[known]])

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1.0) / 2).sum())

    together, in_rows, in_columns = (pairs(_counts(values)) for values in (both, *both))
    total = pairs(np.asarray([known.sum()]))
    expected = in_rows * in_columns / total if total else 0.0
    most = (in_rows + in_columns) / 2
    # Both are equal if each labelling is one single group: then they agree, and the quotient is 0 / 0.
    return 1.0 if most == expected else float((together - expected) / (most - expected))


def purity(labels: np.ndarray, truth: np.ndarray) -> float:
    """Share of the steps whose true task is the commonest of their slot (Manning et al. 2008, section 16.3).

    1 if every slot serves one true task; splitting a task over slots costs nothing, unlike in `adjusted_rand`. Steps
    whose truth is unknown (negative) are left out; NaN without any step.
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    known = truth >= 0
    if not known.any():
        return float("nan")
    both, counts = np.unique(np.stack([labels[known], truth[known]]), axis=1, return_counts=True)
    _, first = np.unique(both[0], return_index=True)
    return float(np.maximum.reduceat(counts, first).sum() / known.sum())


def settled(true_task: np.ndarray, steps: int = STAY) -> np.ndarray:
    """[time] bool: not among the first ``steps`` of a visit that a switch began."""
    since = steps_since_switch(true_task)
    return (since < 0) | (since >= steps)


def summarise(record: EpisodeRecord) -> dict[str, float]:
    """All figures of one run under stable names; NaN where undefined (no switch, no mixture, no posture).

    Raises:
        ValueError: if the record has no steps.
    """
    errors = {f"error_{name}": value for name, value in one_step_error(record).items()}
    found = recall(record)
    # A learner with one model cannot recall. "None of 9 recalled" would read like the failure of a mixture.
    mixture = record.has_mixture
    delays = found.delay[np.isfinite(found.delay)]
    agree: dict[str, float] = dict.fromkeys(_AGREEMENT, float("nan"))
    if mixture:
        agree = _agreement(record)
    # Their median is used below: the first step compiles for seconds, which would decide a mean.
    known_seconds = record.seconds[np.isfinite(record.seconds)]
    return {
        "return_per_1000": return_per(record),
        **errors,
        "error_random_actions": _random_actions(record),
        "upright": fraction_upright(record),
        "progress": progress(record),
        "switches": float(len(switches(record.true_task))),
        "returns": float(len(found.recalled)),
        "recalled": float(found.recalled.sum()) if mixture else float("nan"),
        "recall": _mean(found.recalled.astype(float)) if mixture else float("nan"),
        "recall_delay": float(np.median(delays)) if delays.size and mixture else float("nan"),
        **agree,
        "tasks_at_end": float(record.n_tasks[-1]),
        "spawned": float(record.spawned.sum()),
        "at_capacity": float(record.at_capacity.sum()),
        "rejected": float(record.rejected.sum()),
        "seconds_per_step": float(np.median(known_seconds)) if known_seconds.size else float("nan"),
        "steps": float(len(record)),
    }


_AGREEMENT = ("adjusted_rand", "adjusted_rand_settled", "purity")


def _agreement(record: EpisodeRecord) -> dict[str, float]:
    """How the chosen slots agree with the true tasks: the standard index over all steps comes first.

    The settled index leaves out the 5 steps from each switch on, so that it separates confused tasks from late
    recognition, which the recall delay measures.
    """
    calm = settled(record.true_task)
    return {
        "adjusted_rand": adjusted_rand(record.task, record.true_task),
        "adjusted_rand_settled": adjusted_rand(record.task[calm], record.true_task[calm]),
        "purity": purity(record.task, record.true_task),
    }


def _random_actions(record: EpisodeRecord) -> float:
    """The one-step error under random actions. It was measured on another stream, so only the header has it."""
    found = record.meta.get("random_action_error")
    return float("nan") if found is None else float(found)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _need_steps(record: EpisodeRecord) -> None:
    if not len(record):
        raise ValueError(
            "the record has no steps, expected at least one: the run stopped before its first step"
        )
