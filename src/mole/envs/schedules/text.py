"""Schedules in text, whatever else a user may pass as one, and what is hidden in an episode.

    SCHEDULE := VALUE                            that value throughout             negative
              | COURSE                           a whole schedule by its name      hill
              | fixed:VALUE                      the same                          fixed:1/1/-1/-1/-1/1
              | alternate:VALUE,VALUE[,…]:STEPS  in turn, STEPS steps each         alternate:A,B:100
              | drift:VALUE,VALUE[,…]:STEPS      a straight line from each to the  drift:A,B:1000
                                                 next in STEPS steps, and round
              | SAMPLER:STEPS                    a new draw every STEPS steps,     random:300
                                                 never the same twice in a row
              | uniform:VALUE,VALUE:STEPS        the same, uniformly between two   uniform:4,15:200
              | uniform:VALUE,VALUE              one draw, kept throughout         uniform:4,15
    VALUE    := NAME | NUMBER[/NUMBER…]          a vector; `;` also separates, but a shell wants it quoted

NAME, COURSE and SAMPLER come from the `Vocabulary` of the environment. In Python a schedule may also be a
function ``step -> value`` or a list of ``(value, steps)``, which is repeated for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mole._expect import did_you_mean, expect_type
from mole.envs.schedules.schedule import Sampler, Schedule, Value, whole_steps

__all__ = [
    "ScheduleSource",
    "TaskSource",
    "Vocabulary",
    "as_schedule",
    "episode_schedule",
    "parse_schedule",
    "training_distribution",
]

_FORMS = {
    "fixed": "fixed:VALUE",
    "alternate": "alternate:VALUE,VALUE:STEPS",
    "drift": "drift:VALUE,VALUE:STEPS",
    "uniform": "uniform:LOW,HIGH[:STEPS]",
}


def _unchanged(value: Value) -> Value:
    return value


def _uniform(rng: np.random.Generator, low: Value, high: Value) -> Value:
    return rng.uniform(low, high)


@dataclass(frozen=True)
class Vocabulary:
    """The words that a schedule's text may use.

    Attributes:
        values: named values (``A``, ``identity``).
        samplers: named draws, ``rng -> value`` (``random``).
        check: validates one value and returns its canonical form; raises ValueError otherwise.
        courses: whole schedules by name (``hill``).
        between: ``rng, low, high -> value``, a draw between two values (``uniform``).
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    samplers: Mapping[str, Sampler] = field(default_factory=dict)
    check: Callable[[Value], Value] = _unchanged
    courses: Mapping[str, Schedule] = field(default_factory=dict)
    between: Callable[[np.random.Generator, Value, Value], Value] = _uniform


def parse_schedule(text: str, vocabulary: Vocabulary) -> Schedule:
    """Reads a schedule in the grammar of this module.

    Raises:
        ValueError: for text outside the grammar, unknown names (with the nearest known one) and bad values.
    """
    expect_type("parse_schedule", "text", text, str, "For example 'alternate:A,B:100'.")
    expect_type("parse_schedule", "vocabulary", vocabulary, Vocabulary, "It is mole.envs.Vocabulary.")
    head, *rest = text.strip().split(":")
    if not rest and head in vocabulary.samplers:
        raise ValueError(f"schedule {text!r} lacks its number of steps; expected for example '{head}:300'.")
    if not rest and head in vocabulary.courses:
        return vocabulary.courses[head]
    if not rest:
        # Everything that could have been meant, for the suggestion of the error.
        known = [*vocabulary.values, *vocabulary.courses, *(f"{name}:STEPS" for name in vocabulary.samplers)]
        return Schedule.constant(_value(head, text, vocabulary, known), text)
    if head == "fixed" and len(rest) == 1:
        return Schedule.constant(_value(rest[0], text, vocabulary), text)
    if head in ("alternate", "drift") and len(rest) == 2:
        steps = _steps(rest[1], text)
        values = [_value(word, text, vocabulary) for word in rest[0].split(",")]
        if len(values) < 2:
            raise ValueError(
                f"schedule {text!r} {head}s over one value; expected two or more: {head}:A,B:100."
            )
        if head == "drift":
            return Schedule.drift(values, steps, text, vocabulary.check)
        return Schedule.cycle([(value, steps) for value in values], text)
    if head == "uniform" and len(rest) in (1, 2):
        return _uniform_draws(rest, text, vocabulary)
    if head in vocabulary.samplers and len(rest) == 1:
        # Draws are checked too: `check` makes them read-only, and equal values then have equal bytes.
        sampler, check = vocabulary.samplers[head], vocabulary.check
        return Schedule.redrawn(lambda rng: check(sampler(rng)), _steps(rest[0], text), text)
    if head in (*_FORMS, *vocabulary.samplers):
        form = _FORMS.get(head, f"{head}:STEPS")
        raise ValueError(f"cannot read schedule {text!r}; expected {form}.")
    raise ValueError(
        f"unknown schedule {text!r}: "
        + did_you_mean(head, [*vocabulary.values, *vocabulary.courses, *vocabulary.samplers, *_FORMS])
    )


def _uniform_draws(rest: Sequence[str], text: str, vocabulary: Vocabulary) -> Schedule:
    bounds = [_value(word, text, vocabulary) for word in rest[0].split(",")]
    if len(bounds) != 2 or np.any(np.asarray(bounds[0]) > np.asarray(bounds[1])):
        raise ValueError(
            f"got {rest[0]!r} in schedule {text!r}; expected two bounds, the lower first: uniform:LOW,HIGH:STEPS."
        )
    check, between, (low, high) = vocabulary.check, vocabulary.between, bounds

    def sampler(rng: np.random.Generator) -> Value:
        return check(between(rng, low, high))

    if len(rest) == 1:
        return Schedule.drawn(sampler, text)
    return Schedule.redrawn(sampler, _steps(rest[1], text), text)


def as_schedule(source: Any, vocabulary: Vocabulary) -> Schedule:
    """Makes a schedule of what a user may pass.

    Args:
        source: a `Schedule`, text in the grammar of this module, a function ``step -> value``, or a list of
            ``(value, steps)`` (values may be names of the vocabulary) to be repeated for ever.
        vocabulary: names, samplers and the check of every value.

    Raises:
        ValueError: for a source that describes no schedule.
        TypeError: for a source of another type.
    """
    expect_type("as_schedule", "vocabulary", vocabulary, Vocabulary, "It is mole.envs.Vocabulary.")
    if isinstance(source, Schedule):
        return source
    if isinstance(source, str):
        return parse_schedule(source, vocabulary)
    if callable(source):
        name = getattr(source, "__name__", type(source).__name__)
        return Schedule.function(lambda step: vocabulary.check(source(step)), name)
    if isinstance(source, Sequence):
        return Schedule.cycle([_pair(pair, vocabulary) for pair in source])
    raise TypeError(
        f"got a schedule of type {type(source).__name__}; expected text such as 'alternate:A,B:100', "
        "a function step -> value, or a list of (value, steps)."
    )


def _pair(pair: Any, vocabulary: Vocabulary) -> tuple[Value, int]:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise ValueError(f"got {pair!r} in a list schedule; expected a pair (value, steps).")
    value, steps = pair
    checked = _value(value, value, vocabulary) if isinstance(value, str) else vocabulary.check(value)
    return checked, whole_steps(steps, "a duration")


def _value(word: str, text: str, vocabulary: Vocabulary, known: Iterable[str] | None = None) -> Value:
    word = word.strip()
    if word in vocabulary.values:
        return vocabulary.check(vocabulary.values[word])
    numbers = re.split(r"[/;]", word)
    try:
        vector = np.array([float(number) for number in numbers])
    except ValueError:
        raise ValueError(
            f"unknown value {word!r} in schedule {text!r}: {did_you_mean(word, known or vocabulary.values)} "
            "Or write a vector as numbers with slashes: 1/1/-1."
        ) from None
    return vocabulary.check(vector)


def _steps(word: str, text: str) -> int:
    # By a pattern, since `int` alone would also read 1_000 and +5.
    if not re.fullmatch(r"\s*\d+\s*", word) or int(word) < 1:
        raise ValueError(f"got {word!r} steps in schedule {text!r}; expected a whole number of at least 1.")
    return int(word)


# An environment has two arguments for its hidden value: `tasks` draws one for a whole episode, `schedule` lets it
# change within the episode. `episode_schedule` makes one Schedule of both.

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
        either: end of the error for both at once: what tasks and what a schedule is for.
        otherwise: end of the error for an unknown name: what a function returns, or what to use instead.

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
        raise ValueError(f"unknown tasks {tasks!r}: {did_you_mean(str(tasks), known)}")
    return known[0] if tasks is None else tasks
