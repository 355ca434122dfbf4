"""Regression on a stream: one or more numbers from a row, with intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from mole.estimators.base import OnlineEstimator, Prior
from mole.estimators.saving import load_estimator, save_estimator
from mole.files.checkpoint import CheckpointError
from mole.learning.models import Normalizer
from mole.priors.stream import StreamPrior
from mole.rows.scaling import robust_normalizer, rows_of, targets_of
from mole.rows.values import fits

__all__ = ["OnlineRegressor"]


class OnlineRegressor(OnlineEstimator):
    """Learns y from x one pair at a time, discovers regimes by itself and recalls them.

    Without a prior it learns from the first pair on, and makes a prior from its own history when that has doubled, up
    to ``memory`` pairs (`mole.estimators.growing`). Rows are dicts (numbers, words, times, missing values) or sequences
    of numbers, NaN where one is missing.

    Args:
        prior: from `mole.fit_prior`, `mole.readout.train_readout_prior` or `mole.meta_train`; or None.
        level: share that the prediction intervals are to cover.
        width: hidden units of the prior that it makes for itself.
        seed: of random hidden units and training.
        memory: newest pairs that are kept to make priors from.
        history: newest pairs whose figures are kept in ``history_``.
        mixture: settings of `mole.readout.ReadoutMixture`, or of `mole.Mixture` with a prior from `mole.meta_train`.

    Attributes:
        n_seen_: pairs learned.

    Raises:
        ValueError: for settings out of range.
        TypeError: for a prior of another type.

    Example:
        >>> model = OnlineRegressor()
        >>> for t in range(50):
        ...     x = {"hour": t % 24, "wind": 0.1 * t}
        ...     y_hat = model.predict_one(x)        # predict before you learn
        ...     _ = model.learn_one(x, 2.0 * t)
        >>> model.n_tasks_
        1
    """

    _has_intervals = True

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

    def learn_one(self, x: Any, y: Any) -> OnlineRegressor:
        """Learn from one pair.

        Args:
            x: a row: a dict from column to value, or a sequence of numbers.
            y: target: a number, or a sequence of ``dy`` numbers; finite.

        Returns:
            Itself.

        Raises:
            ValueError: if the row or the target is of a wrong kind or size; nothing is learned then.
        """
        self._learn(x, y)
        return self

    def predict_one(self, x: Any) -> Any:
        """Expected target for one row, from what has been learned so far: a float, or ``[dy]`` if there are several.

        Before the first pair, and without a prior, nothing is known: the answer is 0.
        """
        found = self._forecast(x)
        return self._shaped(self._mean_so_far() if found is None else found[0])

    def predict_interval_one(self, x: Any, level: float | None = None) -> tuple[Any, Any]:
        """Lower and upper end of the interval that is to cover the target, shaped as `predict_one`.

        Args:
            x: a row.
            level: another share than the estimator's, which is the one that coverage is watched for.

        Returns:
            Ends; infinite while nothing is known.
        """
        if level is not None and not (isinstance(level, float | np.floating) and 0.0 < level < 1.0):
            raise ValueError(f"got level={level}; expected a share between 0 and 1, such as 0.9.")
        found = self._forecast(x)
        if found is None or self._intervals is None:
            far = np.full(self._outputs or 1, np.inf)
            return self._shaped(-far), self._shaped(far)
        mean, scale = np.asarray(found, float)
        half = self._intervals.half_width(scale, level)
        return self._shaped(mean - half), self._shaped(mean + half)

    def learn_many(self, x: Any, y: Any) -> OnlineRegressor:
        """Learn several pairs, in order.

        Args:
            x: rows: a sequence of rows, or an array ``[n, dx]``.
            y: targets ``[n]`` or ``[n, dy]``.

        Raises:
            ValueError: if there are not as many of each.
        """
        rows, targets = rows_of(x), targets_of(y)
        if len(rows) != len(targets):
            raise ValueError(f"got {len(rows)} rows and {len(targets)} targets; expected as many of each.")
        for row, target in zip(rows, targets, strict=True):
            self._learn(row, target)
        return self

    def partial_fit(self, x: Any, y: Any) -> OnlineRegressor:
        """`learn_many`, by scikit-learn's name."""
        return self.learn_many(x, y)

    def predict(self, x: Any) -> np.ndarray:
        """Expected targets of several rows, ``[n]`` or ``[n, dy]``; none of them is learned."""
        return np.asarray([self.predict_one(row) for row in rows_of(x)], float)

    def score(self, x: Any, y: Any) -> float:
        """R², the share of the targets' variance that `predict` explains; 1 is perfect, 0 is their mean."""
        truth = np.asarray(targets_of(y), float)
        found = self.predict(x)
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
        return values.astype(np.float32)

    def _vectors(self, targets: list[Any]) -> np.ndarray:
        return np.asarray(targets, np.float32)

    def _target_norm(self, vectors: np.ndarray) -> Normalizer:
        return robust_normalizer(vectors)

    def _mean_so_far(self) -> np.ndarray:
        if self._targets:
            with np.errstate(over="ignore"):
                mean = np.mean(np.asarray(self._targets), axis=0)
            return mean if np.isfinite(mean).all() else np.mean(np.asarray(self._targets, float), axis=0)
        return np.zeros(self._outputs or 1)

    def _shaped(self, values: np.ndarray) -> Any:
        return float(values[0]) if len(values) == 1 else np.asarray(values, float)
