"""Regression on a stream: one or more numbers from a row, with intervals."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mole._expect import expect_number
from mole.estimators.described import Prior
from mole.estimators.explained import ExplainedEstimator
from mole.estimators.saving import load_estimator, save_estimator
from mole.estimators.targets import read_target
from mole.files.checkpoint import CheckpointError
from mole.learning.models import Normalizer
from mole.priors.stream import StreamPrior
from mole.readout import ReadoutMixture
from mole.readout.gaps import with_gaps
from mole.rows.batches import is_missing, pairs_of, rows_of
from mole.rows.foreign import series_as_row
from mole.rows.scaling import Units, robust_normalizer
from mole.rows.values import FLOAT32

__all__ = ["OnlineRegressor"]


class OnlineRegressor(ExplainedEstimator):
    """Learns y from x one pair at a time, discovers regimes by itself and recalls them.

    Without a prior it learns from the first pair on. Whenever its history has doubled, up to ``memory`` pairs, it makes
    a prior from it (`mole.estimators.growing`). Rows are dicts (numbers, words, times, missing values) or sequences
    of numbers, NaN where one is missing.

    Args:
        prior: from `mole.fit_prior`, `mole.readout.train_readout_prior` or `mole.meta_train`; or a learner that was
            made from one, such as ``mole.KShot(prior)``; or None.
        level: share that the prediction intervals are to cover.
        width: hidden units of the prior that it makes for itself.
        seed: of random hidden units and training.
        memory: newest pairs that are kept to make priors from.
        history: newest pairs whose figures are kept in ``history_``.
        mixture: settings of `mole.readout.ReadoutMixture`, or of `mole.Mixture` with a prior from `mole.meta_train`;
            none beside a learner.
        background: whether priors are made a little at every row, so that no row waits for one; they are used some rows
            later then.

    Attributes:
        n_seen_: pairs learned.

    Raises:
        ValueError: for settings out of range.
        TypeError: for a prior of another type.

    Examples:
        >>> model = OnlineRegressor()
        >>> for t in range(50):
        ...     x = {"hour": t % 24, "wind": 0.1 * t}
        ...     step = model.step_one(x, 2.0 * t)    # predict, then learn
        >>> bool(step.low < 98.0 < step.high), step.n_tasks
        (True, 1)
    """

    _has_intervals = True
    _targets_are = "targets"

    def __init__(
        self,
        prior: Prior | None = None,
        *,
        level: float = 0.9,
        width: int = 32,
        seed: int = 0,
        memory: int = 4096,
        history: int = 10_000,
        mixture: Mapping[str, Any] | None = None,
        background: bool = False,
    ) -> None:
        """See the class."""
        if isinstance(prior, StreamPrior) and prior.kind != "regression":
            raise ValueError(
                f"OnlineRegressor got a prior for {prior.kind}; expected one for regression: mole.fit_prior(..., "
                "kind='regression')."
            )
        self._outputs: int | None = None
        self._names: tuple[str, ...] | None = None
        super().__init__(
            prior, level=level, width=width, seed=seed, memory=memory, history=history, mixture=mixture,
            background=background,
        )  # fmt: skip
        if self._learner is not None:
            self._outputs = self._learner.prior.target_size

    def predict_one(self, x: Any, *, id: Any = None) -> Any:
        """Expected target for one row, from what has been learned so far: a float, or ``[dy]`` if there are several; a
        dict if targets were dicts.

        Before the first pair, and without a prior, nothing is known: the answer is 0.

        Args:
            x: a row.
            id: text or a whole number, by which `learn_one` will be given the target later: the row is kept until then.
                None if it comes with the row, or never.
        """
        return self._ask(x, id=id)[0]

    def predict_interval_one(self, x: Any, level: float | None = None, *, id: Any = None) -> tuple[Any, Any]:
        """Lower and upper end of the interval that is to cover the target, shaped as `predict_one`.

        Args:
            x: a row.
            level: another share than the estimator's, in (0, 1). Only the estimator's own is corrected by its misses;
                for another one the width is changed by the ratio of a normal distribution.
            id: as in `predict_one`.

        Returns:
            Lower and upper end, in the target's unit; infinite while nothing is known.

        Raises:
            ValueError: for a level out of range, or a wrong row.
        """
        if level is not None:
            expect_number(
                "OnlineRegressor", "level", level, above=0.0, below=1.0, remedy="It is a share, such as 0.9."
            )
        return self._ask(x, level, id)[1:3]

    def anomaly_score_one(self, x: Any, y: Any) -> float:
        """How odd a target is, from 0 to 1: the probability of a target that is less odd. Nothing is learned.

        Odd is what has a low density under the prediction of `predict_one`, a mixture of Student-t distributions (one
        of each task, candidate and rate of drift). The score is 1 − P(f(Y) ≤ f(y)) for this density f. If targets are
        as predicted it is uniform: one target in a hundred has a score above .99. Between the predictions of two tasks
        a target is odd; what another known task expects is less odd, by the probability of a switch. Of several
        targets the oddest counts, as the oddest of so many: with the tails p_j it is (1 − min p_j)^dy, uniform if
        their noise is independent. Of a learner that is no readout the density is normal.

        Args:
            x: a row.
            y: its target, as `learn_one` takes it.

        Returns:
            The score; 0 while nothing is known.

        Raises:
            ValueError: for a wrong row or target.
        """
        with self._lock:
            pair, target = self._pair_of(self._read(series_as_row(x))), self._target(y)
            return 0.0 if pair is None else self._scored(pair, self._vector(target))

    def predict(self, x: Any) -> np.ndarray:
        """Expected targets of several rows, ``[n]`` or ``[n, dy]``; none of them is learned."""
        found = [self.predict_one(row) for row in rows_of(x)]
        return np.asarray([list(one.values()) if isinstance(one, dict) else one for one in found], float)

    def score(self, x: Any, y: Any) -> float:
        """R², the share of the targets' variance that `predict` explains; 1 is perfect, 0 is as good as their mean.

        Several outputs count together, each by its variance. Rows without a target do not count.

        Raises:
            ValueError: if there are not as many targets as predictions.
        """
        pairs = [(row, target) for row, target in pairs_of(x, y) if not is_missing(target, every=True)]
        truth = np.asarray([self._target(target) for _, target in pairs], float)
        found = self.predict([row for row, _ in pairs])
        if found.size != truth.size:
            raise ValueError(
                f"got predictions {found.shape} and targets {truth.shape}; expected as many of each."
            )
        there, found = ~np.isnan(truth), found.reshape(truth.shape)
        total = np.sum((truth - truth.mean(axis=0, where=there)) ** 2, where=there)
        if total > 0:
            return float(1.0 - np.sum((truth - found) ** 2, where=there) / total)
        return float(np.allclose(truth[there], found[there]))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to go on exactly here to one file, atomically."""
        with self._lock:
            extra = {"outputs": self._outputs, "names": self._names, "gaps": self._gaps}
            save_estimator(self, path, "online-regressor", extra)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OnlineRegressor:
        """Read what `save` wrote; predictions and learning go on bit for bit.

        Raises:
            FileNotFoundError: if there is no such file.
            mole.files.checkpoint.CheckpointError: if it is damaged, of a newer format or another kind.
        """
        model, extra = load_estimator(cls, path, "online-regressor")
        outputs = extra.get("outputs")
        if outputs is not None and not (type(outputs) is int and outputs >= 1):
            raise CheckpointError(
                f"{path} is damaged: it has {outputs!r} outputs, expected a number from 1 on."
            )
        names = extra.get("names")  # 0.1 wrote neither names nor gaps
        if names is not None and not (
            isinstance(names, list) and len(names) == outputs and all(map(_is_text, names))
        ):
            raise CheckpointError(
                f"{path} is damaged: it has the targets {names!r:.80}, expected {outputs} names."
            )
        model._outputs, model._names = outputs, None if names is None else tuple(names)
        model._gaps = extra.get("gaps") is True
        return model

    def _target(self, y: Any) -> np.ndarray:
        # The usual target, without NumPy's checks: they take longer, once for every pair. NaN fails the comparison.
        if type(y) is float and self._outputs == 1 and -FLOAT32 <= y <= FLOAT32:
            return np.array((y,))
        known = read_target(y, self._outputs, self._names, begun=self.n_seen_ > 0, gaps=self._no_gaps())
        self._outputs, self._names = len(known[0]), known[1]
        return known[0]

    def _no_gaps(self) -> str:
        """Why targets with gaps cannot be learned; empty if they can."""
        if self._learner is not None and not isinstance(self._learner, ReadoutMixture):
            return f"{type(self._learner).__name__} learns all targets together"
        merging = self._settings["mixture"].get("at_capacity", getattr(self._learner, "at_capacity", ""))
        return "tasks are merged (at_capacity) by all targets together" if merging == "merge" else ""

    def _admitted(self, target: np.ndarray) -> tuple[np.ndarray, bool]:
        if not self._gaps and np.isnan(target).any():
            self._gaps = True
            # A prior in the making does not know of gaps: it is begun again.
            self._begin_again()
            if self._learner is not None:
                self._start(*with_gaps(self._learner, self._state))
        return target, False

    def _vector(self, target: np.ndarray) -> np.ndarray:
        return target if self._units is None else self._units.encode(target)

    def _vectors(self, targets: list[Any], units: Units | None) -> np.ndarray:
        values = np.asarray(targets, float)
        return (values if units is None else units.encode(values)).astype(np.float32)

    def _units_of(self, targets: list[Any]) -> Units | None:
        units = Units.of(np.asarray(targets, float))
        # None where nothing is to be done: the usual target is not multiplied by one.
        return None if units.plain else units

    def _output_names(self) -> Sequence[str]:
        if self._names is not None:
            return self._names
        outputs = self._outputs or 1
        return ("y",) if outputs == 1 else [f"y{place}" for place in range(outputs)]

    def _along(
        self, means: np.ndarray, gradients: np.ndarray, label: Any
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        if label is not None:
            raise ValueError(
                f"OnlineRegressor.explain_one got label={label!r}; expected none: there are no labels."
            )
        if (units := self._units) is None:
            return means[:2], gradients, None
        factors = np.asarray(units.factor)[:, None]
        return np.asarray([units.decode(end) for end in means[:2]]), gradients / factors, None

    def _target_norm(self, vectors: np.ndarray) -> Normalizer:
        return robust_normalizer(vectors)

    def _predicted(self, forecast: Any, level: float | None = None) -> tuple[Any, ...]:
        if forecast is None or self._intervals is None:
            mean = self._mean_so_far()
            half = [math.inf] * len(mean)
        else:
            mean, scale = forecast
            half = self._intervals.half_width(scale, level)
            if self._units is not None:
                mean, half = self._units.decode(mean), self._units.widths(half)
        low = [m - h for m, h in zip(mean, half, strict=True)]
        high = [m + h for m, h in zip(mean, half, strict=True)]
        return self._shaped(mean), self._shaped(low), self._shaped(high), None

    def _shaped(self, values: list[float]) -> Any:
        if self._names is not None:
            return dict(zip(self._names, values, strict=True))
        return values[0] if len(values) == 1 else np.asarray(values, float)

    def _mean_so_far(self) -> list[float]:
        # With a prior no targets are kept, and it predicts from the first row on.
        if not self._targets:
            return [0.0] * (self._outputs or 1)
        there = [column[~np.isnan(column)] for column in np.asarray(self._targets, float).T]
        return [float(np.mean(column)) if len(column) else 0.0 for column in there]


def _is_text(name: Any) -> bool:
    return isinstance(name, str)
