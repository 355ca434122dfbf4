"""Regression on a stream: one or more numbers from a row, with intervals."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from mole._expect import expect_number
from mole._float32 import methods_in_float32
from mole.estimators.base import OnlineEstimator
from mole.estimators.growing import Prior
from mole.estimators.saving import load_estimator, save_estimator
from mole.files.checkpoint import CheckpointError
from mole.learning.models import Normalizer
from mole.priors.stream import StreamPrior
from mole.rows.batches import is_missing, pairs_of, rows_of
from mole.rows.scaling import Units, robust_normalizer
from mole.rows.values import FLOAT32, fits

__all__ = ["OnlineRegressor"]


@methods_in_float32
class OnlineRegressor(OnlineEstimator):
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

    Attributes:
        n_seen_: pairs learned.

    Raises:
        ValueError: for settings out of range.
        TypeError: for a prior of another type.

    Example:
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
    ) -> None:
        """See the class."""
        if isinstance(prior, StreamPrior) and prior.kind != "regression":
            raise ValueError(
                f"OnlineRegressor got a prior for {prior.kind}; expected one for regression: mole.fit_prior(..., "
                "kind='regression')."
            )
        self._outputs: int | None = None
        super().__init__(
            prior, level=level, width=width, seed=seed, memory=memory, history=history, mixture=mixture
        )
        if self._learner is not None:
            self._outputs = self._learner.prior.target_size

    def predict_one(self, x: Any, *, id: Any = None) -> Any:
        """Expected target for one row, from what has been learned so far: a float, or ``[dy]`` if there are several.

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

    def predict(self, x: Any) -> np.ndarray:
        """Expected targets of several rows, ``[n]`` or ``[n, dy]``; none of them is learned."""
        return np.asarray([self.predict_one(row) for row in rows_of(x)], float)

    def score(self, x: Any, y: Any) -> float:
        """R², the share of the targets' variance that `predict` explains; 1 is perfect, 0 is as good as their mean.

        Several outputs count together, each by its variance. Rows without a target do not count.

        Raises:
            ValueError: if there are not as many targets as predictions.
        """
        pairs = [(row, target) for row, target in pairs_of(x, y) if not is_missing(target)]
        truth = np.asarray([target for _, target in pairs], float)
        found = self.predict([row for row, _ in pairs])
        if found.size != truth.size:
            raise ValueError(
                f"got predictions {found.shape} and targets {truth.shape}; expected as many of each."
            )
        found = found.reshape(truth.shape)
        total = np.sum((truth - truth.mean(axis=0)) ** 2)
        return (
            float(1.0 - np.sum((truth - found) ** 2) / total)
            if total > 0
            else float(np.allclose(truth, found))
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is needed to go on exactly here to one file, atomically."""
        with self._lock:
            save_estimator(self, path, "online-regressor", {"outputs": self._outputs})

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
        model._outputs = outputs
        return model

    def _target(self, y: Any) -> np.ndarray:
        # The usual target, without NumPy's checks: they take longer, once for every pair. NaN fails the comparison.
        if type(y) is float and self._outputs == 1 and -FLOAT32 <= y <= FLOAT32:
            return np.array((y,))
        try:
            values = np.asarray(y, float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"OnlineRegressor got y={y!r}; expected numbers. Nothing was learned."
            ) from error
        if values.ndim == 0:
            values = values.reshape(1)
        if values.ndim != 1 or not fits(values) or len(values) != (self._outputs or max(len(values), 1)):
            raise ValueError(
                f"OnlineRegressor got y={y!r}; expected {self._outputs or 'one or more'} finite numbers. Leave out "
                "pairs without a target; nothing was learned."
            )
        self._outputs = len(values)
        return values

    def _vector(self, target: np.ndarray) -> np.ndarray:
        return target if self._units is None else self._units.encode(target)

    def _vectors(self, targets: list[Any]) -> np.ndarray:
        values = np.asarray(targets, float)
        return (values if self._units is None else self._units.encode(values)).astype(np.float32)

    def _rescale(self) -> None:
        units = Units.of(np.asarray(self._targets, float))
        # None where nothing is to be done: the usual target is not multiplied by one.
        self._units = None if units.plain else units

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
        if len(mean) == 1:
            return mean[0], mean[0] - half[0], mean[0] + half[0], None
        ends = [
            [m - h for m, h in zip(mean, half, strict=True)],
            [m + h for m, h in zip(mean, half, strict=True)],
        ]
        return np.asarray(mean, float), np.asarray(ends[0], float), np.asarray(ends[1], float), None

    def _mean_so_far(self) -> list[float]:
        # With a prior no targets are kept, and it predicts from the first row on.
        if not self._targets:
            return [0.0] * (self._outputs or 1)
        return np.mean(np.asarray(self._targets, float), axis=0).tolist()
