"""One row at a time: its checks, one step of the estimator, its digest. A row is predicted before it is learned.

run = StreamRun(settings, estimator)
for row in source:
    outcome = run.step(row)

A run can be saved between any two rows and goes on there, bit for bit: see `mole.pipeline.run_file`.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from mole.estimators.step import Step
from mole.pipeline.digest import RunDigest
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

    def save(self, path: Any) -> None:
        """Write everything to a file."""
        ...


@dataclass(frozen=True)
class StreamSettings:
    """All options that decide the predictions of a run. A checkpoint continues only with equal ones.

    Attributes:
        target: column to predict.
        kind: ``regression``, ``classification`` or ``forecast``.
        features: columns to predict from; all others if None.
        level: of the intervals, 0.9 for 90 %.
        seed: of the estimator.
        prior: name and sha256 of the prior file; None without one.
        labels: which the prior knows; rows with others are bad. None if labels may appear at any time.
        label_delay: rows after which a target becomes known: that of row 1 before row 1 + ``label_delay`` is predicted.
            With 1, or 0, before the next row.
        background: whether no row waits for a new prior of the estimator.
    """

    target: str
    kind: str
    features: tuple[str, ...] | None = None
    level: float = 0.9
    seed: int = 0
    prior: str | None = None
    labels: tuple[int | str | bool, ...] | None = None
    label_delay: int = 0
    background: bool = True

    def __post_init__(self) -> None:
        """Check."""
        if self.kind not in ("regression", "classification", "forecast"):
            raise ValueError(f"got task {self.kind!r}, expected 'regression', 'classification' or 'forecast'")
        if not 0 < self.level < 1:
            raise ValueError(f"got level {self.level}, expected a share between 0 and 1, such as 0.9")
        if self.features is not None and (not self.features or self.target in self.features):
            raise ValueError(
                f"got features {self.features}, expected one or more, without the target {self.target!r}"
            )

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint holds them, where the kind is called by the name of its option."""
        data = asdict(self)
        if not self.label_delay:
            del data["label_delay"]  # files of runs without one are as they were in 0.1
        if self.background:
            del data["background"]  # likewise; what an estimator does is in its own part of the file
        return {"target": data.pop("target"), "task": data.pop("kind"), **data}


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


class StreamRun:
    """A learner on a stream of rows.

    Attributes:
        rows: rows so far, bad ones included.
        learned: rows that were learned.
        digest: see `mole.pipeline.digest.RunDigest`.
    """

    def __init__(self, settings: StreamSettings, estimator: Any) -> None:
        """A run before its first row; ``estimator`` is a `StreamEstimator` that has learned nothing yet."""
        self.settings, self.estimator = settings, estimator
        self._classify = settings.kind == "classification"
        series = settings.kind == "forecast"
        self._checks = RowChecks(settings.target, settings.features, classify=self._classify, series=series)
        self.rows = self.learned = 0
        self.digest = RunDigest()
        # Rows whose targets are not known yet, with the targets that the estimator must not see before.
        self._late: collections.deque[tuple[int, Any]] = collections.deque()

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns seen so far."""
        return tuple(self._checks.seen.columns)

    def step(self, row: Row, *, strict: bool = False) -> Outcome:
        """Predict, then learn one row.

        Raises:
            BadRowError: for a bad row, if ``strict``; nothing is learned from it.
        """
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
        note = ""
        if problem:
            self.digest.add_bad(self.rows, row.line, problem, detail)
            note = f"line {row.line} {detail}"
        if checked is None or checked.x is None:
            self.digest.add(self.rows)  # so that the curves keep the row numbers of the input
            return Outcome(self.rows, note=note)
        y = checked.y
        if self.settings.label_delay:
            self._learn_late()
            step = self.estimator.step_one(checked.x, None, id=None if y is None else self.rows)
            if y is not None:
                self._late.append((self.rows, y))
        else:
            step = self.estimator.step_one(checked.x, y)
            self.learned += y is not None
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
            self.rows,
            task=None if y is None else step.task,
            shares=step.shares,
            loss=loss,
            hit=prediction == y,
            width=width,
            covered=covered,
        )
        return Outcome(
            self.rows, prediction, low, high, step.probabilities, y, step.task, step.shares.get(step.task), loss,
            note, step.shares,
        )  # fmt: skip

    def _learn_late(self) -> None:
        """Learn the targets that became known before the present row."""
        while self._late and self._late[0][0] + self.settings.label_delay <= self.rows:
            row, y = self._late.popleft()
            self.estimator.learn_one(y=y, id=row)
            self.learned += 1

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
            **({"late": list(self._late)} if self._late else {}),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where `to_json` was taken."""
        self.rows, self.learned = int(data["rows"]), int(data["learned"])
        self._checks.restore(data["checks"])
        self.digest = RunDigest.from_json(data["digest"])
        self._late = collections.deque((int(row), y) for row, y in data.get("late", []))


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
