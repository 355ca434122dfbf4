"""One row at a time: its checks, one step of the estimator, its digest. A row is predicted before it is learned.

run = StreamRun(settings, estimator)
for row in source:
    outcome = run.step(row)

A run can be saved between any two rows and goes on there, bit for bit: see `mole.pipeline.run_file`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from mole.estimators.step import Step
from mole.pipeline.digest import RunDigest
from mole.pipeline.events import EventFeed
from mole.pipeline.late import LabelDelay, LateTargets
from mole.pipeline.settings import StreamSettings
from mole.pipeline.simple import SimpleModels
from mole.pipeline.sources import Row
from mole.rows.checks import Checked, RowChecks
from mole.rows.values import MISSING, NUMBER, read_value

__all__ = [
    "BadRowError",
    "Outcome",
    "StreamEstimator",
    "StreamRun",
    "StreamSettings",
    "guess_kind",
    "task_importances",
]

_LEAST_PROBABILITY = 1e-6  # a label never seen before would cost infinity, and no mean would recover from it


class BadRowError(ValueError):
    """A bad row where none is accepted."""


class StreamEstimator(Protocol):
    """What the loop needs of `mole.OnlineRegressor` and `mole.OnlineClassifier`."""

    def step_one(self, x: Any, y: Any, *, id: Any = None) -> Step:
        """Predict a row, then learn it; without a target predict alone."""
        ...

    def learn_one(self, x: Any = None, y: Any = None, *, id: Any = None) -> Any:
        """Learn the target of a row that was predicted by this id."""
        ...

    @property
    def n_events_(self) -> int:
        """Regime events so far."""
        ...

    @property
    def events_(self) -> list[dict[str, Any]]:
        """The newest of them."""
        ...

    def save(self, path: Any) -> None:
        """Write everything to a file."""
        ...


class Outcome(NamedTuple):
    """One row of the output; what does not apply is None.

    Attributes:
        row: its number, from 1 on, bad rows included.
        prediction: made before the row was learned.
        low, high: ends of the interval (regression).
        probabilities: label → probability (classification).
        target: the true value; None if nothing could be learned from it.
        task: the task that the row was attributed to; without a target the current one.
        probability: of that task.
        loss: squared error, or minus the logarithm of the probability of the label.
        note: what is wrong with the row.
        shares: task → its probability, as `mole.estimators.step.Step.shares`.
        events: that were noticed with what was learned at this row (`mole.OnlineRegressor.events_`), in rows of the
            input.
        key: whose row it is (`mole.pipeline.keyed`).
    """

    row: int
    prediction: float | int | str | None = None
    low: float | None = None
    high: float | None = None
    probabilities: dict[Any, float] | None = None
    target: float | int | str | None = None
    task: int | None = None
    probability: float | None = None
    loss: float | None = None
    note: str = ""
    shares: dict[int, float] | None = None
    events: tuple[dict[str, Any], ...] = ()
    key: str | int | None = None


class StreamRun:
    """A learner on a stream of rows.

    Attributes:
        rows: rows so far, bad ones included.
        learned: rows that were learned.
        digest: see `mole.pipeline.digest.RunDigest`.
        simple: what simple models would have said; of nothing where targets come late or rows have keys.
    """

    def __init__(self, settings: StreamSettings, estimator: Any) -> None:
        """A run before its first row; ``estimator`` is a `StreamEstimator` that has learned nothing yet."""
        self.settings, self.estimator = settings, estimator
        self._classify = settings.kind == "classification"
        series = settings.kind == "forecast"
        self._checks = RowChecks(settings.target, settings.features, classify=self._classify, series=series)
        self.rows = self.learned = 0
        self.digest = RunDigest()
        # The targets that the estimator must not see yet.
        self._late = LateTargets(LabelDelay(settings.label_delay, settings.label_seconds), settings.clock)
        self.simple = SimpleModels(classify=self._classify)
        # Of many keys there are many mixtures, whose tasks have nothing in common but their numbers.
        self._one = settings.key is None
        events = estimator.n_events_ if self._one else 0
        self._feed = EventFeed(None if self._classify else settings.target, events)

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns seen so far."""
        return tuple(self._checks.seen.columns)

    @property
    def forgotten(self) -> int:
        """Targets that came so late that their rows were forgotten; they were not learned."""
        return self._late.forgotten

    def step(self, row: Row, *, strict: bool = False) -> Outcome:
        """Predict, then learn one row.

        Raises:
            BadRowError: for a bad row, if ``strict``; nothing is learned from it.
        """
        checked, note = self._counted(row, strict)
        if checked is None or checked.x is None:
            return self._left_out(note)
        y, events = checked.y, list[dict[str, Any]]()
        if self._late:
            events = self._learn_late(row.values or {})
            step = self.estimator.step_one(checked.x, None, id=None if y is None else self.rows)
            if y is not None:
                self._late.wait(self.rows, y)
        else:
            step = self.estimator.step_one(checked.x, y)
            if y is not None:
                self.learned += 1
                events = self._feed.learned(self.rows, self.estimator)
                known = self._classify or math.isfinite(step.prediction)
                self.simple.learn(checked.x, y, step.prediction if known else None)
        return self._outcome(self.rows, step, y, note, events)

    def _counted(self, row: Row, strict: bool) -> tuple[Checked | None, str]:
        """The row as it was checked, None if it could not be read, and what is wrong with it."""
        checked = self._checked(row.values) if row.values is not None else None
        problem, detail = (
            ("cannot be read", row.problem) if checked is None else (checked.problem, checked.detail)
        )
        # Before the row is counted: the run stays as it was after the last good row.
        if problem and strict:
            raise BadRowError(
                f"line {row.line} {detail}. Without --strict such rows are counted and left out."
            )
        self.rows += 1
        if not problem:
            return checked, ""
        self.digest.add_bad(self.rows, row.line, problem, detail)
        return checked, f"line {row.line} {detail}"

    def _left_out(self, note: str) -> Outcome:
        """Of a row that is not even predicted."""
        self.digest.add(self.rows)  # so that the curves keep the row numbers of the input
        return Outcome(self.rows, note=note)

    def _outcome(self, row: int, step: Step, y: Any, note: str, events: list[dict[str, Any]]) -> Outcome:
        """What a row gave, which goes into the digest too."""
        prediction, loss = step.prediction, None
        low = high = width = None
        covered = False
        if self._classify:
            # Before the first label nothing is known, not even its name.
            if y is not None and step.probabilities:
                loss = -math.log(max(step.probabilities.get(y, 0.0), _LEAST_PROBABILITY))
        else:
            prediction = _finite(prediction)
            if y is not None and prediction is not None:
                loss = (float(y) - prediction) ** 2
            # Infinite ends, while nothing is known, are no interval: they would cover every target.
            low, high = _finite(step.low), _finite(step.high)
            if low is None or high is None:
                low = high = None
            elif y is not None:
                width, covered = high - low, low <= float(y) <= high
        self.digest.add(
            row,
            task=step.task if self._one and y is not None else None,
            shares=step.shares,
            loss=loss,
            hit=prediction == y,
            width=width,
            covered=covered,
        )
        return Outcome(
            row, prediction, low, high, step.probabilities, y, step.task, step.shares.get(step.task), loss,
            note, step.shares, tuple(events),
        )  # fmt: skip

    def _learn_late(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Learn the targets that became known before the present row, and return the events that they brought."""
        events: list[dict[str, Any]] = []
        for row, y in self._late.due(self.rows, values):
            self.estimator.learn_one(y=y, id=row)
            self.learned += 1
            events += self._feed.learned(row, self.estimator)
        return events

    def _checked(self, values: Mapping[str, Any]) -> Checked:
        checked, labels = self._checks.check(values), self.settings.labels
        if labels is None or checked.y is None or checked.y in labels:
            return checked
        detail = f"target {self.settings.target!r} is {checked.y!r}, which the prior does not know"
        return checked._replace(y=None, problem="unknown label", detail=detail)

    def to_json(self) -> dict[str, Any]:
        """Everything but the estimator, which has a file format of its own, as plain JSON data."""
        return {
            "rows": self.rows,
            "learned": self.learned,
            "checks": self._checks.to_json(),
            "digest": self.digest.to_json(),
            "simple": self.simple.to_json(),
            "learned_rows": self._feed.to_json(),
            **self._late.to_json(),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where `to_json` was taken."""
        self.rows, self.learned = int(data["rows"]), int(data["learned"])
        self._checks.restore(data["checks"])
        self.digest = RunDigest.from_json(data["digest"])
        if "simple" in data:  # 0.1 had none
            self.simple.restore(data["simple"])
        self._late.restore(data)
        self._feed.restore(data.get("learned_rows", []))


def _finite(value: Any) -> float | None:
    return value if math.isfinite(value) else None


def guess_kind(target: Any) -> str | None:
    """``regression`` for a number, ``classification`` for a word or a truth value, None for a missing target."""
    try:
        kind, _ = read_value(target)
    except TypeError:  # a list or an object is a bad row, whatever is predicted
        return None
    return None if kind == MISSING else "regression" if kind == NUMBER else "classification"


def task_importances(estimator: Any, tasks: Sequence[int]) -> dict[int, dict[str, float]]:
    """Task → input column → how much the task's model depends on it.

    The mean over the outputs of ``estimator.importance_(task)``, summed over the inputs that one column became.
    Tasks that the estimator no longer has are left out.

    Args:
        estimator: a `mole.OnlineRegressor` or `mole.OnlineClassifier`.
        tasks: numbers of tasks.
    """
    found = {}
    for task in tasks:
        try:
            values = np.asarray(estimator.importance_(task), float).mean(axis=0)  # [dy, dx] to [dx]
        except KeyError:
            continue
        sums: dict[str, float] = {}
        for name, value in zip(estimator.schema_.sources, values.tolist(), strict=True):
            sums[name] = sums.get(name, 0.0) + value
        found[task] = sums
    return found
