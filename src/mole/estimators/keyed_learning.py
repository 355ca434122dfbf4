"""The way of a batch through a fleet with keys: read, predicted and learned; and the making of the shared prior."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import threading
from typing import Any

import numpy as np

from mole._types import Trajectory
from mole.estimators.described import Prior, learner_from
from mole.estimators.growing import SELF_TRAINING
from mole.estimators.intervals import ManyIntervals
from mole.estimators.keyed_programs import rounds_of, whole_pages
from mole.estimators.keyed_rows import Batch, KeyedSteps, read_batch
from mole.estimators.keyed_states import KeyedStates
from mole.online.guard import REFUSED, count_faults
from mole.priors.stream import StreamPrior, fit_prior
from mole.rows.changes import check_names, news_of
from mole.rows.encoding import RowEncoder, Schema
from mole.rows.scaling import Units
from mole.rows.values import FLOAT32, fits, has_holes, shown

__all__ = ["MARKS", "OWNER", "KeyedLearning"]

OWNER = "KeyedFleet"
MARKS = (64, 256, 1024, 4096)
"""Rows of all keys after which the shared prior is made anew."""
_WINDOWS = (32, 16, 8, 4)  # pairs of a window of time that the prior is trained on


class KeyedLearning:
    """What `mole.KeyedFleet` does with a batch.

    Args:
        prior: or None.
        settings: of the fleet, checked.
        folder: of the keys that are not in memory.
    """

    def __init__(
        self, prior: Prior | None, settings: dict[str, Any], folder: str | os.PathLike[str] | None
    ) -> None:
        """See the class."""
        self._given, self._settings, self._folder = prior, settings, folder
        self._lock = threading.RLock()
        self._kind: type | None = None  # of keys: text or whole numbers
        self._outputs: int | None = None
        self._length: int | None = None  # of rows that are sequences
        self._faults: collections.Counter[str] = collections.Counter()
        # While a prior may be made anew: rows so far, oldest first, as (key, row, target).
        self._kept: list[tuple[Any, Any, np.ndarray]] = []
        self._encoder = RowEncoder()
        self._schema: Schema | None = None
        self._inputs: Units | None = None
        self._units: Units | None = None
        self._states: Any = None
        self._learner: Any = None
        self._intervals: Any = None
        self.n_seen_ = 0
        self.prior_: Prior | None = None
        if prior is not None:
            self._start(prior)

    # The way of a batch.

    def _read(self, rows: Any, y: Any, keys: Any) -> Batch:
        """A batch as it is learned; what a key and a target are is settled by the first."""
        settings = self._settings
        try:
            batch = read_batch(
                rows, y, keys, key=settings["key"], target=settings["target"], kind=self._kind, outputs=self._outputs,
                length=self._length,
            )  # fmt: skip
            self._check(batch)
        except ValueError:
            self._faults["refused"] += 1
            raise
        if len(batch):
            self._kind = type(batch.keys[0])
            self._length = self._length if batch.length is None else batch.length
            if np.isfinite(batch.y).any():
                self._outputs = batch.y.shape[1]
        return batch

    def _check(self, batch: Batch) -> None:
        """Raise ValueError unless the rows are of the kind that the prior takes."""
        if self._schema is not None:
            for row in batch.rows:
                check_names(OWNER, row, self._schema)
        elif self._states is not None and len(batch):
            size = self._learner.prior.input_size
            rows = batch.rows
            wrong = None
            if not isinstance(rows, np.ndarray) or rows.shape[1] != size:
                wrong = 0
            elif not fits(rows.ravel()):
                wrong = int(np.argmin((np.abs(rows) <= FLOAT32).all(axis=1)))
            if wrong is not None:
                raise ValueError(
                    f"{OWNER} got x={shown(rows[wrong])} in row {wrong}; expected {size} finite numbers, as the prior "
                    "was trained with. A prior from mole.fit_prior with a schema takes dicts and missing values. "
                    "Nothing of this batch was learned."
                )

    def _steps(self, batch: Batch) -> KeyedSteps:
        """Predict and learn the batch; of one output without an axis for it."""
        found = [self._piece(piece) for piece in self._pieces(batch)]
        steps = KeyedSteps(*(np.concatenate(column) for column in zip(*found, strict=True)))
        if steps.prediction.shape[1] > 1:
            return steps
        prediction, low, high = (one[:, 0] for one in steps[:3])
        return steps._replace(prediction=prediction, low=low, high=high)

    def _pieces(self, batch: Batch) -> list[Batch]:
        """The batch, cut where a new prior is due and where it has more keys than fit into memory."""
        cuts = {0, len(batch)}
        if self._gathers:
            learned = np.flatnonzero(np.isfinite(batch.y[:, 0]))
            due = [mark - self.n_seen_ - 1 for mark in self._marks]
            cuts |= {int(learned[place]) + 1 for place in due if 0 <= place < len(learned)}
        ends = sorted(cuts)
        parts = [batch[begin:end] for begin, end in itertools.pairwise(ends)] or [batch]
        return [piece for part in parts for piece in self._fitting(part)]

    def _fitting(self, batch: Batch) -> list[Batch]:
        """The batch in pieces whose keys fit into memory together."""
        limit = whole_pages(self._settings["max_resident"])
        if len(set(batch.keys)) <= limit:
            return [batch]
        return [batch[begin : begin + limit] for begin in range(0, len(batch), limit)]

    def _piece(self, batch: Batch) -> KeyedSteps:
        there = np.isfinite(batch.y[:, 0])
        self._count_faults(batch, there)
        steps = self._by_means(batch, there) if self._states is None else self._learned(batch, there)
        gathers = self._gathers
        self.n_seen_ += int(there.sum())
        if gathers:
            for place in np.flatnonzero(there).tolist():
                row = batch.rows[place]
                self._encoder.observe(row)
                self._kept.append((batch.keys[place], row, batch.y[place]))
            if self.n_seen_ in self._marks:
                self._renew()
        return steps

    def _by_means(self, batch: Batch, there: np.ndarray) -> KeyedSteps:
        """Before there is a prior: the mean of a key's targets so far, or of all if it has none."""
        n, dy = batch.y.shape
        totals: dict[Any, np.ndarray] = collections.defaultdict(lambda: np.zeros(1 + dy))
        before = [(key, y) for key, _, y in self._kept]
        mean = np.zeros((n, dy))
        for place, (key, y) in enumerate([*before, *zip(batch.keys, batch.y, strict=True)], -len(before)):
            if place >= 0:
                count, *sums = totals[key] if totals[key][0] else totals[None]
                mean[place] = np.asarray(sums) / max(count, 1.0)
            if place < 0 or there[place]:
                for whose in (key, None):  # no key is None
                    totals[whose] += np.concatenate([[1.0], y])
        endless, whole = np.full((n, dy), np.inf), np.zeros(n, int)
        return KeyedSteps(
            mean, -endless, endless, np.full(n, np.nan), whole, whole + 1, np.zeros(n, bool), whole.copy()
        )

    def _learned(self, batch: Batch, there: np.ndarray) -> KeyedSteps:
        """Predict and learn with the mixtures."""
        x, units, states = self._vectors(batch.rows), self._units, self._states
        y = batch.y if units is None else units.encode(batch.y)
        own = {
            key: None for key, is_there in zip(batch.keys, there, strict=True) if is_there or key in states
        }
        index = dict(zip(own, states.hold(list(own)).tolist(), strict=True))
        places = np.array([index.get(key, -1) for key in batch.keys], int)
        # Those of which nothing was learned so far are only asked about: the prior answers, and no key is added.
        held, asked = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
        n, dy = y.shape
        mean, scale, half = np.zeros((n, dy)), np.zeros((n, dy)), np.zeros((n, dy))
        loss, fault, task = np.full(n, np.nan), np.zeros(n, int), np.zeros(n, int)
        n_tasks, spawned = np.ones(n, int), np.zeros(n, bool)
        if len(asked):
            nowhere = states.nowhere(len(asked))
            mean[asked], scale[asked] = states.predict(nowhere, x[asked])
            half[asked] = self._intervals.half_width(states.notes_at(nowhere), scale[asked])
        if len(held):
            done = states.learn(places[held], x[held], y[held].astype(np.float32))
            mean[held], scale[held], loss[held], task[held] = done.mean, done.scale, done.loss, done.task
            n_tasks[held], spawned[held] = done.n_tasks, done.spawned
            # A row without a target was learned as one that is not finite, which is no fault.
            fault[held] = np.where(there[held], done.fault, 0)
        learned = there & (fault & REFUSED.value == 0)
        for one in rounds_of(places[held]):
            at = held[one]
            notes = states.notes[places[at]]
            half[at] = self._intervals.half_width(notes, scale[at])
            new, ok = at[learned[at]], learned[at]
            states.notes[places[new]] = self._intervals.update(
                notes[ok], y[new], mean[new], scale[new], task[new]
            )
        self._faults.update(count_faults(fault))
        if units is not None:
            factor = np.asarray(units.factor)
            mean, half = mean / factor + units.offset, half / factor
        return KeyedSteps(mean, mean - half, mean + half, loss, task, n_tasks, spawned, fault)

    def _count_faults(self, batch: Batch, there: np.ndarray) -> None:
        """What of the rows that are learned was filled in or left out; as the estimators count it."""
        if isinstance(batch.rows, np.ndarray) and self._schema is None and fits(batch.rows.ravel(), np.inf):
            return
        for place in np.flatnonzero(there).tolist():
            row = batch.rows[place]
            self._faults["missing"] += has_holes(row)
            news = [] if self._schema is None else news_of(row, self._schema)
            self._faults["unknown"] += any(what not in ("missing", "range") for _, what in news)

    def _vectors(self, rows: Any) -> np.ndarray:
        """Inputs ``[n, dx]`` of rows that were checked."""
        if self._schema is not None:
            return np.stack([self._schema.encode(row) for row in rows])
        return (rows if self._inputs is None else self._inputs.encode(rows)).astype(np.float32)

    # The prior.

    @property
    def _marks(self) -> list[int]:
        memory = self._settings["memory"]
        return [*(mark for mark in MARKS if mark < memory), memory]

    @property
    def _gathers(self) -> bool:
        return self._given is None and self.n_seen_ < self._settings["memory"]

    def _start(self, prior: Prior) -> None:
        known = prior if isinstance(prior, StreamPrior) else None
        self.prior_, self._learner = prior, learner_from(OWNER, prior, self._settings["mixture"])
        self._schema = None if known is None else known.schema
        self._inputs, self._units = (None, None) if known is None else (known.inputs, known.targets)
        self._outputs = dy = self._learner.prior.target_size
        self._intervals = ManyIntervals(self._settings["level"], dy)
        self._states = KeyedStates(
            self._learner, self._intervals.first_row, self._settings["max_resident"], self._folder
        )

    def _renew(self) -> None:
        """Make the prior of the rows so far, and have every key learn its rows under it."""
        schema = self._encoder.schema()
        ys = np.stack([y for *_, y in self._kept])
        rows = [row for _, row, _ in self._kept]
        x = np.stack([schema.encode(row) for row in rows])
        by_key: dict[Any, list[int]] = collections.defaultdict(list)
        for place, (key, *_) in enumerate(self._kept):
            by_key[key].append(place)
        segments = list(by_key.values())
        # The longest windows that are there in most of the data; else windows go over keys, which is all there is.
        lengths = np.array([len(one) for one in segments])
        window = next((w for w in _WINDOWS if 2 * lengths[lengths >= w].sum() >= len(rows)), None)
        trajectories = [Trajectory(x[one], ys[one]) for one in segments]
        if window is None:
            window, trajectories = _WINDOWS[0], [Trajectory(x, ys)]
        prior = fit_prior(
            trajectories, width=self._settings["width"], seed=self._settings["seed"], schema=schema,
            config=dataclasses.replace(SELF_TRAINING, window=window),
        )  # fmt: skip
        self._start(prior)
        again = Batch([key for key, *_ in self._kept], rows, ys, None)
        for piece in self._fitting(again):
            self._learned(piece, np.ones(len(piece), bool))
        if not self._gathers:
            self._kept.clear()
