"""What the online regressor and classifier share: rows, the learner with its state, history, and files."""

from __future__ import annotations

import abc
import collections
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mole.estimators.checks import check_settings
from mole.estimators.growing import grow, pad, refresh_due
from mole.estimators.intervals import IntervalTracker, task_importance
from mole.estimators.step import Engine
from mole.learning.models import Normalizer
from mole.learning.prior import MetaPrior
from mole.online.guard import REFUSED, count_faults
from mole.priors.stream import StreamPrior, learner_of
from mole.readout import ReadoutMixture, ReadoutPrior
from mole.rows.encoding import RowEncoder, Schema
from mole.rows.scaling import robust_normalizer
from mole.rows.values import fits, has_holes, kept_row, shown

__all__ = ["HISTORY", "OnlineEstimator", "Prior"]

Prior = StreamPrior | ReadoutPrior | MetaPrior
HISTORY = ("loss", "task", "n_tasks", "spawned", "probability")
_RECENT = 256


class OnlineEstimator(abc.ABC):
    """A learner with its state, fed by rows. Final classes: `OnlineRegressor`, `OnlineClassifier`."""

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
        check_settings(name, level, width, seed, memory, history, mixture)
        if prior is not None and not isinstance(prior, Prior):
            raise TypeError(
                f"{name} got a prior of type {type(prior).__name__}; expected one from mole.fit_prior, "
                "mole.meta_train or their load functions, or None."
            )
        self._settings = {
            "level": level, "width": width, "seed": seed, "memory": memory, "history": history,
            "mixture": dict(mixture or {}),
        }  # fmt: skip
        self._given = prior
        self._encoder, self._schema = RowEncoder(), prior.schema if isinstance(prior, StreamPrior) else None
        self._rows: collections.deque[Any] = collections.deque(maxlen=memory)
        self._targets: collections.deque[Any] = collections.deque(maxlen=memory)
        self._tasks: collections.deque[int] = collections.deque(maxlen=memory)
        self._recent: collections.deque[np.ndarray] = collections.deque(maxlen=_RECENT)
        self._columns: dict[str, collections.deque[float]] = {
            column: collections.deque(maxlen=history) for column in HISTORY
        }
        self._faults: collections.Counter[str] = collections.Counter()
        self._length: int | None = None
        self._engine: Engine | None = None
        self._intervals: IntervalTracker | None = None
        self.n_seen_ = 0
        """Pairs learned."""
        if prior is not None:
            self._start(learner_of(prior, self._mixture_settings()))

    # What the final classes add.

    @abc.abstractmethod
    def _target(self, y: Any) -> Any:
        """A checked target: a vector of floats, or a label."""

    def _admitted(self, target: Any) -> tuple[Any, bool]:
        """The target as it is kept, once the whole pair has been checked; and whether the learner was made anew."""
        return target, False

    @abc.abstractmethod
    def _vectors(self, targets: list[Any]) -> np.ndarray:
        """Kept targets as ``[n, dy]``."""

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
        """The mixture; None before there is one."""
        return self._learner

    @property
    def responsibilities_(self) -> np.ndarray:
        """Probability of every slot of the mixture after the last pair; they sum to one."""
        if self._learner is None:
            return np.ones(1)
        state = self._state
        return np.asarray(
            state.probability if isinstance(self._learner, ReadoutMixture) else state.responsibilities
        )

    @property
    def tasks_(self) -> np.ndarray:
        """Number of the task in every slot; −1 where there is only a candidate, or nothing."""
        if self._learner is None:
            return np.zeros(1, int)
        if isinstance(self._learner, ReadoutMixture):
            return np.asarray(self._state.task)
        slots = np.arange(len(self.responsibilities_))
        return np.where(slots < int(self._state.n_tasks), slots, -1)

    @property
    def task_(self) -> int:
        """Number of the task that predicts now, in order of discovery."""
        return int(self._columns["task"][-1]) if self._columns["task"] else 0

    @property
    def n_tasks_(self) -> int:
        """Tasks known now."""
        return int(self._columns["n_tasks"][-1]) if self._columns["n_tasks"] else 1

    @property
    def history_(self) -> dict[str, np.ndarray]:
        """Per learned pair, oldest first, the last ``history`` of them: standardised squared error of the prediction
        made before (``loss``; NaN while nothing was known), ``task``, ``n_tasks``, ``spawned`` and ``probability``.
        """
        types = {"task": int, "n_tasks": int, "spawned": bool}
        return {name: np.asarray(values, types.get(name, float)) for name, values in self._columns.items()}

    @property
    def faults_(self) -> dict[str, int]:
        """What was wrong, in how many pairs: names of `mole.online.Fault` in lower case, ``missing`` (values filled in)
        and ``refused`` (`learn_one` raised an error); what did not happen is left out.
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

    # Learning.

    def _learn(self, x: Any, y: Any) -> None:
        """One checked pair; nothing is kept of a wrong one."""
        with self._counting_refusals():
            row = kept_row(x, self._length, type(self).__name__)
            checked, vector = self._target(y), self._input_of(row)
        if has_holes(row):
            self._faults["missing"] += 1
        target, changed = self._admitted(checked)
        if changed:
            vector = self._input_of(row)
        grows = self._given is None
        if grows and len(self._rows) < self._settings["memory"]:
            self._encoder.observe(row)
        if not isinstance(x, Mapping):
            self._length = len(row)
        self.n_seen_ += 1
        if vector is not None:
            self._step(vector, self._vectors([target])[0])
        else:
            self._note(math.nan, 0, 1, False, 1.0)
        if grows:
            self._rows.append(row)
            self._targets.append(target)
            self._tasks.append(self.task_)
            anything = any(column.present for column in self._encoder.columns.values())
            if anything and refresh_due(self.n_seen_, self._settings["memory"]):
                self._refresh()

    def _step(self, x: np.ndarray, y: np.ndarray) -> None:
        assert self._engine is not None
        done = self._engine.learn(x, y)
        if done.fault:
            self._faults.update(count_faults([done.fault]))
        if not done.fault & REFUSED.value:
            self._recent.append(x)
            if self._intervals is not None:
                self._intervals.update(y.tolist(), done.mean, done.scale, done.task)
        self._note(done.loss, done.task, done.n_tasks, done.spawned, done.probability)

    @contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        """Count a pair that is wrong; the error goes on to the caller."""
        try:
            yield
        except ValueError:
            self._faults["refused"] += 1
            raise

    def _note(self, *figures: float) -> None:
        for column, value in zip(HISTORY, figures, strict=True):
            self._columns[column].append(value)

    def _refresh(self) -> None:
        """Make the prior anew from the history, and learn the history again."""
        self._schema = self._encoder.schema()
        raw = np.stack([self._schema.encode(row) for row in self._rows])
        x, y = pad(raw), self._vectors(list(self._targets))
        grown = grow(
            x,
            y,
            np.asarray(self._tasks),
            0 if self._learner is None else int(self._state.next_task),
            x_norm=robust_normalizer(raw, x.shape[1]),
            y_norm=self._target_norm(y),
            width=self._settings["width"],
            seed=self._settings["seed"],
            settings=self._mixture_settings(),
        )
        self._start(grown.learner, grown.state)
        self._tasks = collections.deque(grown.tasks.tolist(), maxlen=self._settings["memory"])
        self._columns["task"][-1] = self._tasks[-1]
        self._columns["n_tasks"][-1] = max(int(np.sum(self.tasks_ >= 0)), 1)
        self._recent = collections.deque(x[-_RECENT:], maxlen=_RECENT)

    def _start(self, learner: Any, state: Any = None) -> None:
        self._engine = Engine(learner, state)
        if self._intervals is None and self._has_intervals:
            self._intervals = IntervalTracker(self._settings["level"], learner.prior.target_size)

    # Rows and predictions.

    def _input_of(self, row: Any) -> np.ndarray | None:
        """The vector of a kept row, as the learner wants it; None while there is no learner."""
        if self._engine is None:
            return None
        if self._schema is not None:
            vector = self._schema.encode(row)
            return vector if self._given is not None else pad(vector)
        assert self._engine is not None
        size, vector = self._engine.dx, None
        if not isinstance(row, dict) and len(row) == size and fits(row):
            vector = row.astype(np.float32)
        if vector is None:
            raise ValueError(
                f"{type(self).__name__} got x={shown(row)}; expected {size} finite numbers, as the prior was trained "
                "with. A prior from mole.fit_prior with a schema takes dicts and missing values. Nothing was learned."
            )
        return vector

    def _forecast(self, x: Any) -> np.ndarray | None:
        """Mean and scale ``[2, dy]``; None while nothing is known."""
        vector = self._input_of(kept_row(x, self._length, type(self).__name__))
        return None if vector is None or self._engine is None else self._engine.predict(vector)
