"""What an estimator says of itself beside predictions: regimes, why it predicts something, how odd a target is."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mole.estimators.anomaly import target_score
from mole.estimators.base import OnlineEstimator
from mole.estimators.intervals import task_importance
from mole.estimators.regimes import columns_of, described
from mole.learning.compiled import Layout, Structure, unpack
from mole.rows.foreign import series_as_row

__all__ = ["ExplainedEstimator", "Explanation"]

_PATH = 64  # points of the way from the baseline to a row


class Explanation(NamedTuple):
    """How far each column moves one prediction: ``prediction = baseline + sum of effects + remainder``.

    Attributes:
        prediction: for the row: the expected target, a float or ``[dy]``; of a classification the probability of
            ``label``.
        baseline: the same for the mean of the newest inputs.
        effects: column → how far it moves the prediction from the baseline, shaped as ``prediction``; the largest
            first.
        remainder: what the effects do not add up to, from the numerical integral.
        label: that the probability is of; None for a regression.
    """

    prediction: Any
    baseline: Any
    effects: dict[str, Any]
    remainder: Any
    label: Any


class ExplainedEstimator(OnlineEstimator):
    """An estimator with answers about its tasks and predictions; none of them changes it."""

    # What the final classes add.

    def _output_names(self) -> Sequence[Any]:
        """Names of the learner's first outputs."""
        raise NotImplementedError

    def _along(
        self, means: np.ndarray, gradients: np.ndarray, label: Any
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        """Predictions along a way, and their derivatives, from those of the learner's outputs.

        Args:
            means: of the outputs at both ends and in the middle of each part ``[2 + parts, dy]``.
            gradients: of the outputs by the inputs in the middle of each part ``[parts, dy, dx]``.
            label: what was asked for.

        Returns:
            Predictions at both ends ``[2, outputs]``; derivatives ``[parts, outputs, dx]``; and the label.
        """
        raise NotImplementedError

    # What can be asked.

    @property
    def events_(self) -> list[dict[str, Any]]:
        """When another regime began, the newest 256 events, oldest first: plain records, as JSON can hold them.

        ``event`` is ``began`` or ``returned``; ``row`` the pair (1 for the first) since which ``task`` leads, and
        ``noticed`` the pair at which that was certain enough: a new task was discovered, or a known one had led five
        pairs in a row. ``probability`` is that of the task then, ``before`` the task that had led before (None at
        first), and ``outputs`` and ``columns`` say what is different, as `regime_`.
        """
        with self._lock:
            return [dict(record) for record in self._watch.events]

    @property
    def n_events_(self) -> int:
        """Events so far, those included that ``events_`` no longer holds."""
        return self._watch.total

    def importance_(self, task: int) -> np.ndarray:
        """How much a task's model depends on each input: mean |dy / dx| over recent inputs ``[dy, dx]``.

        In standard deviations of target and input; inputs are those of ``schema_``.

        Raises:
            KeyError: if the mixture does not (or no longer) know the task.
            ValueError: before there is a mixture.
        """
        with self._lock:
            self._expect_learned("importance_")
            slot = next(iter(np.flatnonzero(self.tasks_ == task).tolist()), None)
            if slot is None and task != self.task_:
                raise KeyError(task)
            found = task_importance(self._learner, self._state, slot, np.stack(self._recent))
        if self._schema is None:
            return found
        # Of a wide row, what is not learned from has no influence.
        whole = np.zeros((len(found), self._schema.size), found.dtype)
        places = np.arange(self._schema.size) if self._places is None else self._places
        whole[:, places] = found[:, : len(places)]
        return whole

    def regime_(self, task: int, before: int | None = None) -> dict[str, Any]:
        """What a task expects over the newest inputs, and how far each column moves that.

        Means and slopes are those of the task's model, averaged over the newest 256 inputs (of wide rows some of them).
        The effect of a column is the standard deviation, over these inputs, of what it adds by its mean slope: how far
        the target moves with it as a rule, in the target's unit. The effect of a number has the sign of its slope.

        Args:
            task: number of the task.
            before: of a task to compare it with; both are averaged over the same inputs.

        Returns:
            ``task``, ``before``, and two lists of records, what differs most first (without ``before`` what is
            largest), at most eight outputs and eight columns of each:

            - ``outputs``: ``output``, ``mean``; and with ``before`` also ``mean_before`` and ``change``;
            - ``columns``: ``output``, ``column``, ``effect``, and for numbers ``slope`` by their own unit; with
                ``before`` also ``effect_before``, ``change`` and ``slope_before``. The change of words and times, which
                have no sign, is the standard deviation of how far the two tasks differ by them.

            ``sd`` is the posterior standard deviation of ``change`` (without ``before``, of ``mean`` or ``effect``);
            None if the learner is no readout. The outputs of a classification are the indicators of its labels.

        Raises:
            KeyError: if the mixture does not (or no longer) know one of the tasks.
            ValueError: before there is a mixture.
        """
        with self._lock:
            self._expect_learned("regime_")
            return described(self, task, before, self._output_names())

    def explain_one(self, x: Any, *, label: Any = None) -> Explanation:
        """How far each column moves the prediction for one row, against the mean of the newest 256 inputs.

        The derivative of the prediction is integrated along the straight line from the baseline to the row (integrated
        gradients; Sundararajan, Taly, Yan, ICML 2017), and what comes from inputs of one column is added up: words
        count against their frequencies. It says what this model does with this row. It is no statement about causes,
        and columns that move together share their effect as the model happens to weigh them.

        Args:
            x: a row.
            label: of a classification, whose probability is explained; the most probable one if None.

        Raises:
            ValueError: before there is a mixture, for a wrong row, or a label that is not known.
        """
        with self._lock:
            self._expect_learned("explain_one")
            engine, row = self._engine_, self._read(series_as_row(x))
            pair = self._pair_of(row)
            assert pair is not None
            here, base = pair[: engine.dx].astype(float), np.mean(np.stack(self._recent), axis=0, dtype=float)
            means, gradients = (np.asarray(a, float) for a in engine.ask(_path, here, base))
            ends, slopes, label = self._along(means, gradients, label)
            parts = np.mean(slopes, axis=0) * (here - base)
            found = {name: parts[:, places].sum(axis=1) for name, places, _ in columns_of(self)}
        order = sorted(found, key=lambda name: -float(np.abs(found[name]).sum()))
        remainder = ends[1] - ends[0] - sum(found.values())
        single = ends.shape[1] == 1
        prediction, baseline, rest, *effects = (
            float(value[0]) if single else value
            for value in (ends[1], ends[0], remainder, *(found[n] for n in order))
        )
        return Explanation(prediction, baseline, dict(zip(order, effects, strict=True)), rest, label)

    def _expect_learned(self, asked: str) -> None:
        if self._engine is None or not self._recent:
            raise ValueError(
                f"{type(self).__name__}.{asked} needs learned pairs; got {self.n_seen_}, expected a few."
            )

    def _scored(self, pair: np.ndarray, vector: np.ndarray) -> float:
        """The anomaly score of a target as it is learned."""
        engine = self._engine_
        return target_score(engine, pair[: engine.dx], np.asarray(vector, float))

    def _notice(self) -> None:
        _, lead, _, spawned, probability = self._history[-1]
        if (record := self._watch.turned(self.n_seen_, int(lead), self._in_slots, bool(spawned))) is None:
            return
        known: Mapping[str, Any] = {"outputs": [], "columns": []}
        if self._engine is not None and self._recent:
            before = record["before"] if record["before"] in self._in_slots()[1] else None
            known = described(self, record["task"], before, self._output_names())
        told = {"probability": float(f"{probability:.7g}"), "n_tasks": self.n_tasks_}
        self._watch.add({**record, **told, **{name: known[name] for name in ("outputs", "columns")}})


@functools.cache
def _path(structure: Structure, fixed: Layout, moving: Layout) -> Any:
    @jax.jit
    def program(learner: Any, state: Any, here: Any, base: Any) -> tuple[Any, Any]:
        whole, now = structure.join(unpack(fixed, learner)), unpack(moving, state)
        shares = (jnp.arange(_PATH) + 0.5) / _PATH
        way = base[None] + jnp.outer(jnp.concatenate([jnp.array([0.0, 1.0]), shares]), here - base)

        def expected(x: Any) -> Any:
            return whole.predict(now, x).mean

        return jax.vmap(expected)(way), jax.vmap(jax.jacfwd(expected))(way[2:])

    return program
