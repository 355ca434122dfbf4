"""The state of an estimator and its public properties: settings, a learner with its state, kept rows, a history."""

from __future__ import annotations

import abc
import collections
import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from mole._expect import expect_number, expect_whole
from mole._float32 import methods_in_float32
from mole.estimators.growing import MARKS, Prior, grow, learner_from, pad, plain_settings, refresh_due
from mole.estimators.intervals import IntervalTracker, task_importance
from mole.estimators.late import Pending
from mole.estimators.step import Engine
from mole.learning.models import Normalizer
from mole.priors.stream import StreamPrior
from mole.rows.changes import InputChanges, explained
from mole.rows.encoding import RowEncoder, Schema
from mole.rows.scaling import robust_normalizer

__all__ = ["HISTORY", "NOTHING", "RECENT", "EstimatorState"]

HISTORY = ("loss", "task", "n_tasks", "spawned", "probability")
NOTHING = (math.nan, 0, 1, False, 1.0)
"""The figures of a pair, as in ``HISTORY``, while there is no learner: one task, and no loss."""
RECENT = 256
"""Newest inputs that are kept to say what a task's model depends on (`EstimatorState.importance_`)."""


@methods_in_float32
class EstimatorState(abc.ABC):
    """A learner with its state and its history; rows come in by its subclass `mole.estimators.base.OnlineEstimator`."""

    _has_intervals: bool

    def __init__(
        self,
        prior: Prior | None,
        *,
        level: float,
        width: int,
        seed: int,
        memory: int,
        history: int,
        mixture: Mapping[str, Any] | None,
    ) -> None:
        """See the final classes."""
        name = type(self).__name__
        expect_number(name, "level", level, above=0.0, below=1.0, remedy="It is a share, such as 0.9.")
        self._settings: dict[str, Any] = {
            "level": float(level),
            "width": expect_whole(name, "width", width),
            "seed": expect_whole(name, "seed", seed, 0),
            "memory": expect_whole(
                name, "memory", memory, MARKS[0], "The first prior is made of as many pairs."
            ),
            "history": expect_whole(name, "history", history),
            "mixture": plain_settings(name, mixture),
        }
        memory, history = self._settings["memory"], self._settings["history"]
        self._given = prior
        self._encoder, self._schema = RowEncoder(), prior.schema if isinstance(prior, StreamPrior) else None
        self._rows: collections.deque[Any] = collections.deque(maxlen=memory)
        self._targets: collections.deque[Any] = collections.deque(maxlen=memory)
        self._tasks: collections.deque[int] = collections.deque(maxlen=memory)
        self._weights: collections.deque[float] = collections.deque(maxlen=memory)
        self._recent: collections.deque[np.ndarray] = collections.deque(maxlen=RECENT)
        self._history: collections.deque[tuple[float, ...]] = collections.deque(maxlen=history)
        self._faults: collections.Counter[str] = collections.Counter()
        self._changes = InputChanges()
        self._pending = Pending(name)
        # One thread may predict while another one learns: a step writes the new state in place of the old one.
        self._lock = threading.RLock()
        self._units = prior.targets if isinstance(prior, StreamPrior) else None
        self._length: int | None = None  # of rows that are sequences; None before the first of them
        self._engine: Engine | None = None
        self._intervals: IntervalTracker | None = None
        # Responsibilities and task numbers of the slots after the last pair; None if the state has to be asked.
        self._slots: tuple[list[float], list[Any]] | None = None
        self.n_seen_ = 0
        """Pairs learned."""
        if prior is not None:
            self._start(learner_from(name, prior, self._mixture_settings()))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the lock, which no copy shares."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What `__getstate__` gave, and a lock of its own."""
        vars(self).update(state)
        self._lock = threading.RLock()

    # What the final classes add.

    @abc.abstractmethod
    def _vectors(self, targets: list[Any]) -> np.ndarray:
        """Kept targets as they are learned ``[n, dy]``."""

    def _rescale(self) -> None:
        """Choose the units of the targets anew, from those that are kept."""
        return

    @abc.abstractmethod
    def _target_norm(self, vectors: np.ndarray) -> Normalizer:
        """Normaliser of targets ``[n, dy]``."""

    def _mixture_settings(self) -> dict[str, Any]:
        """Settings of the mixture over a given prior."""
        return dict(self._settings["mixture"])

    @property
    def _learner(self) -> Any:
        return None if self._engine is None else self._engine.learner

    @property
    def _state(self) -> Any:
        return None if self._engine is None else self._engine.state

    # What can be asked.

    @property
    def schema_(self) -> Schema:
        """How rows become inputs now.

        Raises:
            ValueError: before the first row.
        """
        return self._encoder.schema() if self._schema is None else self._schema

    @property
    def learner_(self) -> Any:
        """The mixture, or the learner that was given; None before there is one."""
        return self._learner

    @property
    def responsibilities_(self) -> np.ndarray:
        """Probability of every slot of the mixture ``[slots]`` after the last pair; they sum to one."""
        return np.asarray(self._in_slots()[0], np.float32 if self._engine else float)

    @property
    def tasks_(self) -> np.ndarray:
        """Number of the task in every slot ``[slots]``; −1 where there is only a candidate, or nothing."""
        return np.asarray(self._in_slots()[1], np.int32 if self._engine else int)

    @property
    def task_(self) -> int:
        """Number of the task that predicts now, in order of discovery."""
        return int(self._history[-1][1]) if self._history else 0

    @property
    def n_tasks_(self) -> int:
        """Tasks known now."""
        return int(self._history[-1][2]) if self._history else 1

    @property
    def history_(self) -> dict[str, np.ndarray]:
        """Per learned pair, oldest first, the last ``history`` of them: standardised squared error of the prediction
        made before (``loss``; NaN while nothing was known), ``task``, ``n_tasks``, ``spawned`` and ``probability``.
        """
        types = {"task": int, "n_tasks": int, "spawned": bool}
        columns = zip(*self._history, strict=True) if self._history else ((),) * len(HISTORY)
        return {
            name: np.asarray(column, types.get(name, float))
            for name, column in zip(HISTORY, columns, strict=True)
        }

    @property
    def faults_(self) -> dict[str, int]:
        """What was wrong, in how many pairs: names of `mole.online.Fault` in lower case, ``missing`` (values filled
        in), ``unknown`` (a column, a word or a kind of value that the inputs did not have yet), ``no_target`` (left out
        of a batch), ``forgotten`` (waited too long for its label) and ``refused`` (`learn_one` raised an error); what
        did not happen is left out.
        """
        return dict(self._faults)

    def importance_(self, task: int) -> np.ndarray:
        """How much a task's model depends on each input: mean |dy / dx| over recent inputs ``[dy, dx]``.

        In standard deviations of target and input; inputs are those of ``schema_``.

        Raises:
            KeyError: if the mixture does not (or no longer) know the task.
            ValueError: before there is a mixture.
        """
        if self._learner is None or not self._recent:
            raise ValueError(
                f"{type(self).__name__}.importance_ needs learned pairs; got {self.n_seen_}, expected a few."
            )
        slot = next(iter(np.flatnonzero(self.tasks_ == task).tolist()), None)
        if slot is None and task != self.task_:
            raise KeyError(task)
        found = task_importance(self._learner, self._state, slot, np.stack(self._recent))
        return found if self._schema is None else found[:, : self._schema.size]

    def _schema_now(self) -> Schema:
        """How the kept rows become inputs, by the columns that they have."""
        if self.n_seen_ > len(self._rows):
            # Rows have been forgotten. What they held must not decide: a column that was constant for a million rows
            # would keep a scale for a constant.
            self._encoder = RowEncoder()
            for row in self._rows:
                self._encoder.observe(row)
        return self._encoder.schema()

    def _grow(self) -> None:
        """Make the prior anew where the history has doubled, or the inputs have changed."""
        pairs, memory = self.n_seen_, self._settings["memory"]
        # Rows without a single value are learned as such, but there is nothing to make inputs of.
        if not any(column.present for column in self._encoder.columns.values()):
            return
        if refresh_due(pairs, memory) or self._changes.follow_up(pairs):
            self._refresh(self._schema_now())
        elif self._schema is not None and (news := self._changes.pressing(pairs, memory)):
            schema = self._schema_now()
            if any(explained(item, self._schema, schema) for item in news):
                self._changes.renew(pairs)
                self._refresh(schema)

    def _refresh(self, schema: Schema) -> None:
        """Make the prior anew from the history, and learn the history again."""
        # The columns may be others by now: all kept rows are encoded anew, so that every input means the same in them.
        self._schema = schema
        self._changes.counts.clear()
        self._rescale()
        raw = np.stack([self._schema.encode(row) for row in self._rows])
        x, y = pad(raw), self._vectors(list(self._targets))
        grown = grow(
            x,
            y,
            np.asarray(self._tasks),
            0 if self._learner is None else int(self._state.next_task),
            x_norm=robust_normalizer(raw, x.shape[1]),
            y_norm=self._target_norm(y),
            growing=schema.growing,
            width=self._settings["width"],
            seed=self._settings["seed"],
            settings=self._mixture_settings(),
            weights=np.asarray(self._weights),
        )
        self._start(grown.learner, grown.state)
        self._tasks = collections.deque(grown.tasks.tolist(), maxlen=self._settings["memory"])
        # What is told of the last pair must agree with the new mixture, which may know other tasks.
        loss, _, _, spawned, probability = self._history[-1]
        n_tasks = max(int(np.sum(self.tasks_ >= 0)), 1)
        self._history[-1] = (loss, self._tasks[-1], n_tasks, spawned, probability)
        self._recent = collections.deque(x[-RECENT:], maxlen=RECENT)

    def _start(self, learner: Any, state: Any = None) -> None:
        self._engine, self._slots = Engine(learner, state), None
        # The quantiles outlive a new prior: they are of standardised residuals, whatever the scale.
        if self._intervals is None and self._has_intervals:
            self._intervals = IntervalTracker(self._settings["level"], learner.prior.target_size)

    @property
    def _engine_(self) -> Engine:
        assert self._engine is not None
        return self._engine

    def _in_slots(self) -> tuple[list[float], list[Any]]:
        """Responsibilities and task numbers of the slots: those that came with the last pair, or of the state."""
        if self._engine is None:
            return [1.0], [0]
        if self._slots is None:
            learner, state = self._engine.learner, self._engine.state
            shares, tasks = learner.responsibilities(state), learner.task_numbers(state)
            self._slots = np.asarray(shares).tolist(), np.asarray(tasks).tolist()
        return self._slots
