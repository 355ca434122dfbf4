"""The way of a row through an estimator, which the online regressor and classifier share.

A row is read once, becomes one vector, and goes with its target into one compiled call that predicts and learns
(`mole.estimators.step`). `learn_one` and `step_one` are that call; what is asked afterwards comes from what it gave.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np

from mole._float32 import methods_in_float32
from mole.estimators.late import PendingRow
from mole.estimators.state import NOTHING, EstimatorState
from mole.estimators.step import Learned, Step, shares_of
from mole.online.base import expect_weight
from mole.online.guard import REFUSED, Fault
from mole.priors.stream import StreamPrior
from mole.rows.batches import is_missing, weighted_pairs
from mole.rows.changes import check_names, news_of
from mole.rows.foreign import series_as_row
from mole.rows.values import fits, has_holes, kept, read_row, shown

__all__ = ["OnlineEstimator"]

# typing.Self is not known to the run-time checks of annotations in the tests.
T = TypeVar("T", bound="OnlineEstimator")
_HEALTHY, _REFUSED = Fault(0), REFUSED.value


@methods_in_float32
class OnlineEstimator(EstimatorState):
    """Predicts and learns rows one at a time. Final classes: `OnlineRegressor`, `OnlineClassifier`."""

    _targets_are: str

    # What the final classes add.

    @abc.abstractmethod
    def _target(self, y: Any) -> Any:
        """A checked target: a vector of floats, or a label."""

    def _is_new(self, target: Any) -> bool:
        """Whether predictions have to change before this target can be learned."""
        return False

    def _admitted(self, target: Any) -> tuple[Any, bool]:
        """The target as it is kept, and whether the learner was made anew for it. The pair has been checked before."""
        return target, False

    def _vector(self, target: Any) -> np.ndarray:
        """A kept target as it is learned ``[dy]``; in float64, since intervals score it before it is rounded."""
        return self._vectors([target])[0]

    @abc.abstractmethod
    def _predicted(self, forecast: Any, level: float | None = None) -> tuple[Any, ...]:
        """The first four fields of `Step`, from mean and scale, each ``[dy]``; or from None while nothing is known."""

    def _learned(self, forecast: Any, target: Any) -> None:
        """Learn what the class keeps beside the mixture; ``forecast`` is None if the pair had none."""
        return

    # Predict and learn.

    def learn_one(self: T, x: Any = None, y: Any = None, sample_weight: float = 1.0, *, id: Any = None) -> T:
        """Learn from one pair, or the label of a row that was predicted before.

        Args:
            x: a row: a dict from column to value, or a sequence of numbers; None with an ``id``.
            y: target: of a regressor a number, or a sequence of ``dy`` numbers, finite; of a classifier a label, an
                int, a str or a bool.
            sample_weight: what the pair counts in the models of the tasks, from 0 to a million: 2 as if it had come
                twice. To tell tasks apart it counts once at most. A pair of weight 0 is not learned or counted.
            id: what `predict_one` (or `step_one`) got as ``id`` with the row whose label this is. Labels may come in
                any order, at any time. Intervals learn from the forecast that was made then.

        Returns:
            Itself.

        Raises:
            KeyError: if no row of this id waits for its label.
            ValueError: if the row or the target is of a wrong kind or size, the weight is out of range, or the learner
                that was given knows no weights; nothing is learned then.
            TypeError: if the weight is no number.
        """
        if sample_weight != 1.0:  # the usual one costs no time
            expect_weight(f"{type(self).__name__}.learn_one", sample_weight)
        with self._lock:
            if id is None:
                if sample_weight:
                    self._learn(x, y, weight=float(sample_weight))
                return self
            if x is not None:
                raise ValueError(
                    f"{type(self).__name__}.learn_one got a row and the id {id!r}; expected one of them: the row of an "
                    "id is known. Nothing was learned."
                )
            waiting = self._pending.get(id)
            if sample_weight:
                self._learn(waiting.x, y, weight=float(sample_weight), made=waiting)
            self._pending.drop(id)
        return self

    def forget(self, id: Any) -> None:
        """Forget a row that waits for its label, which will not come.

        Raises:
            KeyError: if no row of this id waits.
        """
        with self._lock:
            self._pending.get(id)
            self._pending.drop(id)

    def step_one(self, x: Any, y: Any = None, *, id: Any = None) -> Step:
        """Predict one row and learn it, in one compiled call.

        The numbers are to the bit those of `predict_one` (with the interval or the probabilities) and then `learn_one`,
        in little more than half of the time.

        Args:
            x: a row, as in `learn_one`.
            y: target, as in `learn_one`. None if it is not known: then nothing is learned, ``loss`` is NaN, and the
                fields about tasks are those after the last pair.
            id: with ``y=None``, by what `learn_one` will be given the target; None if it never comes.

        Returns:
            The prediction made before the row was learned, and what learning did.

        Raises:
            ValueError: as `learn_one`.
        """
        with self._lock:
            return self._step(x, y, id)

    def _step(self, x: Any, y: Any, id: Any) -> Step:
        if y is None:
            predicted, fault = self._ask(x, id=id), 0
            _, task, n_tasks, _, probability = self._history[-1] if self._history else NOTHING
            loss, spawned = math.nan, False
        else:
            predicted, fault = self._learn(x, y, told=True)
            loss, task, n_tasks, spawned, probability = self._history[-1]
        prediction, low, high, probabilities = predicted
        return Step(
            prediction, low, high, probabilities, loss, int(task), probability, int(n_tasks), bool(spawned),
            Fault(fault) if fault else _HEALTHY, shares_of(*self._in_slots(), int(task)),
        )  # fmt: skip

    def learn_many(self: T, x: Any, y: Any, sample_weight: Any = None) -> T:
        """Learn several pairs, in order.

        Args:
            x: rows: a frame, an array or a sparse matrix ``[n, dx]``, a sequence of rows, or an iterator over them.
            y: as many targets: ``[n]``, or ``[n, dy]`` of a regressor. A pair whose target is missing (None, NaN, NA)
                is left out, and counted as ``faults_["no_target"]``.
            sample_weight: of the pairs ``[n]``, as of `learn_one`; all one if None.

        Raises:
            ValueError: if there are not as many of each; nothing is learned then, unless one of them is an iterator.
                Or as `learn_one`, for one of the pairs; those before it were learned.
        """
        for row, target, weight in weighted_pairs(x, y, sample_weight, self._targets_are):
            if is_missing(target):
                self._faults["no_target"] += 1
            else:
                self.learn_one(row, target, weight)
        return self

    def partial_fit(self: T, x: Any, y: Any, sample_weight: Any = None) -> T:
        """`learn_many`, by scikit-learn's name."""
        return self.learn_many(x, y, sample_weight)

    def _learn(
        self, x: Any, y: Any, *, told: bool = False, weight: float = 1.0, made: PendingRow | None = None
    ) -> tuple[Any, int]:
        """Learn one pair, or raise ValueError and keep nothing of it; ``made`` is what was forecast of it earlier.

        Returns:
            The first four fields of `Step` if they are to be ``told``, else None; and the faults, as bits of `Fault`.
        """
        predicted: Any = None
        forecast: Any = None
        try:
            x = series_as_row(x)  # from here on its names count as those of a dict
            row = self._read(x)
            if told and self._engine is None:
                predicted = self._predicted(None)
            checked, pair = self._target(y), self._pair_of(row)
            if weight != 1.0 and self._learner is not None and not self._learner.weighs:
                self._learner.weighted(jnp.float32(weight))  # raises: it knows no weights
        except ValueError:
            self._faults["refused"] += 1
            raise
        if has_holes(row):
            self._faults["missing"] += 1
        new = self._is_new(checked)
        if new and told and pair is not None:
            # A new label changes what the predictions are about, and maybe the learner: ask before that.
            predicted = self._predicted(self._engine_.predict(pair[: self._engine_.dx]))
        target, changed = self._admitted(checked)
        if changed:
            pair = self._pair_of(row)
        if self._schema is not None and (news := news_of(row, self._schema)):
            # Counted before anything grows: what was filled in or left out now is told now.
            if any(what not in ("missing", "range") for _, what in news):
                self._faults["unknown"] += 1
            self._changes.add(news)
        grows = self._given is None
        # Once the memory is full the statistics are made of the kept rows (`_schema_now`).
        if grows and len(self._rows) < self._settings["memory"]:
            self._encoder.observe(row)
        if not isinstance(x, Mapping):
            self._length = len(row)
        self.n_seen_ += 1
        fault = 0
        if pair is None:
            self._history.append(NOTHING)
        else:
            engine, vector = self._engine_, self._vector(target)
            pair[engine.dx :] = vector
            done = engine.step(pair, weight)
            # The engine knows a new label by now: with it, this forecast is not one made before the label was seen.
            forecast, fault = None if new else (done.mean, done.scale), done.fault
            if told and predicted is None:
                predicted = self._predicted(forecast)
            self._note(done, pair, vector, made)
        self._learned(forecast, target)
        if grows:
            self._rows.append(kept(row, x))
            self._targets.append(target)
            self._tasks.append(self.task_)
            self._weights.append(weight)
            self._grow()
        return predicted, fault

    def _note(self, done: Learned, pair: np.ndarray, vector: np.ndarray, made: PendingRow | None) -> None:
        self._slots = done.responsibilities, done.tasks
        if done.fault:
            self._faults.update(str(fault.name).lower() for fault in Fault(done.fault))
        # A refused pair was not learned: it must not move the intervals either.
        if not done.fault & _REFUSED:
            self._recent.append(pair[: self._engine_.dx])
            if self._intervals is not None:
                mean, scale = done.mean, done.scale
                if made is not None and made.mean is not None and made.scale is not None:
                    mean, scale = made.mean, made.scale
                    if (units := self._units) is not None:
                        mean, scale = units.encode(mean).tolist(), units.learned_widths(scale)
                self._intervals.update(vector.tolist(), mean, scale, done.task)
        self._history.append((done.loss, done.task, done.n_tasks, done.spawned, done.probability))

    # Rows and predictions.

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
            pair[: self._schema.size] = self._schema.encode(row)
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

    def _ask(self, x: Any, level: float | None = None, id: Any = None) -> tuple[Any, ...]:
        """What `_predicted` says of a row; with an ``id`` the row is kept until its label comes."""
        with self._lock:
            x = series_as_row(x)
            row = self._read(x)
            pair = self._pair_of(row)
            # Mean and scale, each [dy]; None while nothing is known.
            forecast = None if pair is None else self._engine_.predict(pair[: self._engine_.dx])
            if id is not None:
                mean, scale = (None, None) if forecast is None else forecast
                if forecast is not None and (units := self._units) is not None:
                    mean, scale = units.decode(mean), units.widths(scale)
                if self._pending.put(id, PendingRow(kept(row, x), mean, scale)):
                    self._faults["forgotten"] += 1
            return self._predicted(forecast, level)
