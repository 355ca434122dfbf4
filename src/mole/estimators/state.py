"""The state of an estimator and its public properties: settings, a learner with its state, kept rows, a history."""

from __future__ import annotations

import abc
import collections
import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from mole._expect import expect_number, expect_type, expect_whole
from mole._float32 import methods_in_float32
from mole.estimators.described import Prior, learner_from, plain_settings
from mole.estimators.intervals import IntervalTracker
from mole.estimators.late import Pending
from mole.estimators.regimes import RegimeWatch
from mole.estimators.step import Engine
from mole.learning.models import Normalizer
from mole.priors.stream import StreamPrior
from mole.rows.changes import InputChanges, check_names
from mole.rows.encoding import RowEncoder, Schema
from mole.rows.scaling import Units
from mole.rows.selection import Neglected
from mole.rows.values import fits, read_row, shown

__all__ = ["HISTORY", "MARKS", "NOTHING", "RECENT", "EstimatorState"]

HISTORY = ("loss", "task", "n_tasks", "spawned", "probability")
NOTHING = (math.nan, 0, 1, False, 1.0)
"""The figures of a pair, as in ``HISTORY``, while there is no learner: one task, and no loss."""
MARKS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Pairs after which the prior is made anew. They double, so that a pair is learned again about twice in all."""
RECENT = 256
"""Newest inputs that are kept to say what a task's model depends on (`mole.estimators.explained`)."""


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
        background: bool,
    ) -> None:
        """See the final classes."""
        name = type(self).__name__
        expect_number(name, "level", level, above=0.0, below=1.0, remedy="It is a share, such as 0.9.")
        remedy = "True spreads the work of a new prior over rows."
        expect_type(name, "background", background, bool, remedy)
        self._settings: dict[str, Any] = {
            "level": float(level),
            "width": expect_whole(name, "width", width),
            "seed": expect_whole(name, "seed", seed, 0),
            "memory": expect_whole(
                name, "memory", memory, MARKS[0], "The first prior is made of as many pairs."
            ),
            "history": expect_whole(name, "history", history),
            "mixture": plain_settings(name, mixture),
            "background": background,
        }
        memory, history = self._settings["memory"], self._settings["history"]
        self._given = prior
        self._encoder = RowEncoder()
        self._schema: Schema | None = prior.schema if isinstance(prior, StreamPrior) else None
        self._rows: collections.deque[Any] = collections.deque(maxlen=memory)
        self._targets: collections.deque[Any] = collections.deque(maxlen=memory)
        self._tasks: collections.deque[int] = collections.deque(maxlen=memory)
        self._weights: collections.deque[float] = collections.deque(maxlen=memory)
        self._recent: collections.deque[np.ndarray] = collections.deque(maxlen=RECENT)
        self._history: collections.deque[tuple[float, ...]] = collections.deque(maxlen=history)
        self._faults: collections.Counter[str] = collections.Counter()
        self._changes = InputChanges()
        self._renewal: Any = None  # a prior that is being made beside the stream
        self._postponed = False  # whether another one has become due meanwhile
        # Of a wide row: places of the inputs that are learned from, a watch over the others, and the row now in hand.
        self._places: np.ndarray | None = None
        self._neglected: Neglected | None = None
        self._encoded = np.zeros(0, np.float32)
        self._pending, self._watch = Pending(name), RegimeWatch()
        # One thread may predict while another one learns: a step writes the new state in place of the old one.
        self._lock = threading.RLock()
        self._units = prior.targets if isinstance(prior, StreamPrior) else None
        self._gaps = False  # whether pairs may lack some of their targets
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

    def __init_subclass__(cls, **settings: Any) -> None:
        """Whatever a class adds computes in float32 too."""
        super().__init_subclass__(**settings)
        methods_in_float32(cls)

    # What the final classes add.

    @abc.abstractmethod
    def _vectors(self, targets: list[Any], units: Units | None) -> np.ndarray:
        """Kept targets as they are learned ``[n, dy]``."""

    def _units_of(self, targets: list[Any]) -> Units | None:
        """Units in which such targets are learned; None for those that they have."""
        return None

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
        """Per learned pair, oldest first, the last ``history`` of them, each ``[n]``: standardised squared error of the
        prediction made before (``loss``; NaN while nothing was known), ``task``, ``n_tasks``, ``spawned`` and
        ``probability``.
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

    # Rows.

    def _read(self, x: Any) -> Any:
        """A row as `read_row` gives it, of columns that are known."""
        row = read_row(x, self._length, type(self).__name__)
        if self._schema is not None:
            check_names(type(self).__name__, row, self._schema)
        return row

    def _pair_of(self, row: Any) -> np.ndarray | None:
        """Room for a pair ``[dx + dy]`` with the input of a row in it; None while there is no learner."""
        engine = self._engine
        if engine is None:
            return None
        pair = np.zeros(engine.dx + engine.dy, np.float32)
        if self._schema is not None:
            # What the estimator makes for itself is padded with zeros up to a size for which things are compiled.
            inputs = self._schema.encode(row)
            if self._places is not None:
                self._encoded = inputs
                inputs = inputs[self._places]
            pair[: len(inputs)] = inputs
        elif not isinstance(row, dict) and len(row) == engine.dx and fits(row):
            inputs = self._given.inputs if isinstance(self._given, StreamPrior) else None
            pair[: engine.dx] = row if inputs is None else inputs.encode(row)
        else:
            raise ValueError(
                f"{type(self).__name__} got x={shown(row)}; expected {engine.dx} finite numbers, as the prior was "
                "trained with. A prior from mole.fit_prior with a schema takes dicts and missing values. Nothing was "
                "learned."
            )
        return pair

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
