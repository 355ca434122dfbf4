"""What is hidden in an episode: drawn once from a distribution for all of it, or following a schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mole.envs.schedule import Sampler, Schedule
from mole.envs.schedule_text import Vocabulary, as_schedule
from mole.envs.suggest import did_you_mean

__all__ = ["ScheduleSource", "TaskSource", "episode_schedule", "training_distribution"]

TaskSource = str | Callable[[np.random.Generator], Any] | None
"""What an environment's ``tasks`` may be: a distribution's name, a function rng -> value, None for the default."""
ScheduleSource = str | Schedule | Callable[[int], Any] | Sequence[tuple[Any, int]] | None
"""What its ``schedule`` may be: None, or anything that `as_schedule` takes."""


def episode_schedule(
    tasks: Any,
    schedule: Any,
    vocabulary: Vocabulary,
    distributions: Mapping[str, Sampler],
    *,
    either: str,
    otherwise: str,
) -> Schedule:
    """The schedule of an episode: `schedule`, or a value drawn once from the distribution `tasks`.

    Args:
        tasks: a name of `distributions` (None means the first) or a function rng -> value.
        schedule: None, or anything that `as_schedule` takes.
        vocabulary: names for the schedule, and the check of every value.
        distributions: of a whole episode's value, by name.
        either: for an error: what tasks and a schedule do, a sentence's end.
        otherwise: for an error: what else than a name there may be, a sentence's middle.

    Raises:
        ValueError: if both are given, or `tasks` is unknown; whatever `as_schedule` raises.
    """
    if schedule is not None:
        if tasks is not None:
            raise ValueError(
                f"got tasks={tasks!r} and schedule={schedule!r}; expected one of them: tasks draws {either}."
            )
        return as_schedule(schedule, vocabulary)
    if tasks is None:
        tasks = next(iter(distributions))
    if callable(tasks):
        draw, name = tasks, getattr(tasks, "__name__", "tasks")
    elif tasks in distributions:
        draw, name = distributions[tasks], tasks
    else:
        raise ValueError(
            f"unknown tasks {tasks!r}: {did_you_mean(str(tasks), distributions)} "
            f"Or pass a function rng -> {otherwise}."
        )
    return Schedule.drawn(lambda rng: vocabulary.check(draw(rng)), name)


def training_distribution(phase: str, tasks: str | None, known: tuple[str, ...]) -> str:
    """`tasks`, the first of `known` if None.

    Raises:
        ValueError: for a phase other than "explore" and "control", or a distribution not in `known`.
    """
    if phase not in ("explore", "control"):
        raise ValueError(f"got the training phase {phase!r}; expected 'explore' or 'control'.")
    if tasks is not None and tasks not in known:
        raise ValueError(f"unknown tasks {tasks!r}: {did_you_mean(tasks, known)}")
    return known[0] if tasks is None else tasks
