"""MOLe as river estimators, for river's pipelines, metrics and evaluation. Needs the extra ``streams``.

    model = preprocessing.StandardScaler() | MoleRegressor()
    evaluate.progressive_val_score(dataset, model, metrics.MAE())

All of river's own estimator checks hold (``river.checks``); none is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from mole.estimators import OnlineClassifier, OnlineRegressor
from mole.estimators.classifier import Label
from mole.estimators.described import Prior
from mole.forecasting import OnlineForecaster
from mole.rows.batches import is_missing
from mole.rows.frames import FrameRows, frame_of

try:
    from river import base
    from river.time_series.base import Forecaster
except ImportError as error:
    raise ImportError(
        "mole.adapters.river needs river, which is not installed: pip install 'mole-online[streams]'."
    ) from error

__all__ = ["MoleClassifier", "MoleForecaster", "MoleMultiTargetRegressor", "MoleRegressor"]

Features = Mapping[Hashable, Any]
"""Name -> value: a number, a truth value, a word, a time, or None where it is missing."""


class _Settings:
    """The settings of all three. River clones an estimator by reading attributes with the names of its arguments."""

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
        """See the classes."""
        self.prior, self.level, self.width, self.seed = prior, level, width, seed
        self.memory, self.history, self.mixture = memory, history, mixture
        self.model: Any = self._fresh(
            prior, level=level, width=width, seed=seed, memory=memory, history=history, mixture=mixture
        )

    _fresh: Any


class MoleRegressor(_Settings, base.MiniBatchRegressor):
    """`mole.OnlineRegressor` as a river regressor.

    Features may be numbers, truth values, words and times. They may be missing, appear late, and be in any order. Their
    names become text, and must still differ then. Arguments as of `mole.OnlineRegressor`.

    Attributes:
        model: the `mole.OnlineRegressor`: tasks (``model.task_``, ``model.history_``), files (``model.save``), and
            intervals (``model.predict_interval_one``) for features as they reach this step of a pipeline.

    Raises:
        ValueError: for settings out of range; when learning, for a target that is no finite number.

    Examples:
        >>> from river import datasets, evaluate, metrics, preprocessing
        >>> model = preprocessing.StandardScaler() | MoleRegressor()
        >>> score = evaluate.progressive_val_score(datasets.TrumpApproval().take(50), model, metrics.MAE())
        >>> model["MoleRegressor"].model.n_seen_
        50
    """

    model: OnlineRegressor
    _fresh = OnlineRegressor

    def learn_one(self, x: Features, y: Any, w: float = 1.0) -> None:
        """Learn one pair of features and target, of weight ``w``."""
        # Returns nothing, as river wants it; our own `learn_one` returns the estimator.
        self.model.learn_one(_row(x), y, w)

    def predict_one(self, x: Features) -> float:
        """Expected target; 0 while nothing is known."""
        return self.model.predict_one(_row(x))

    def learn_many(self, X: Any, y: Any, w: Any = None) -> None:
        """Learn the rows of a frame of any library in order, as `learn_one` learns each; of weights ``w`` if given."""
        self.model.learn_many(_rows(X), y, w)

    def predict_many(self, X: Any) -> Any:
        """Expected targets of the rows of a frame, as a Series of its library."""
        return _column(X, self.model.predict(_rows(X)).tolist())


class MoleMultiTargetRegressor(_Settings, base.MultiTargetRegressor):
    """`mole.OnlineRegressor` with several targets as a river regressor: one mixture, whose tasks are shared by all.

    The names of the targets are those of the first pair. Arguments as of `mole.OnlineRegressor`.

    Attributes:
        model: the `mole.OnlineRegressor`; its outputs are in the order of ``targets``.
        targets: names of the targets; empty before the first pair.

    Raises:
        ValueError: for settings out of range; when learning, if targets are new or no finite numbers, or all missing.
    """

    model: OnlineRegressor
    _fresh = OnlineRegressor

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
        # All settings by name again: river reads them from the signature of this very method when it clones.
        super().__init__(
            prior, level=level, width=width, seed=seed, memory=memory, history=history, mixture=mixture
        )
        self.targets: tuple[Hashable, ...] = ()

    def learn_one(
        self,
        x: Features,
        y: Mapping[Hashable, Any],
        w: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Learn one pair of features and targets, of weight ``w``; targets that are missing (or None) are left out."""
        if kwargs:
            raise TypeError(
                f"MoleMultiTargetRegressor.learn_one got {sorted(kwargs)}; expected x, y and w alone."
            )
        targets = self.targets or tuple(y)
        if not targets or not set(y) <= set(targets):
            raise ValueError(
                f"MoleMultiTargetRegressor got the targets {list(y)}; expected {list(targets) or 'at least one'}, as "
                "in the first pair. Nothing was learned."
            )
        self.model.learn_one(
            _row(x), [math.nan if is_missing(y.get(name)) else y[name] for name in targets], w
        )
        self.targets = targets  # only now: a first pair that is refused fixes no names

    def predict_one(self, x: Features) -> dict[Hashable, float]:
        """Target → its expected value; empty before the first pair."""
        if not self.targets:
            return {}
        found = self.model.predict_one(_row(x))
        values = [found] if len(self.targets) == 1 else found.tolist()
        return dict(zip(self.targets, values, strict=True))


class MoleClassifier(_Settings, base.MiniBatchClassifier):
    """`mole.OnlineClassifier` as a river classifier, for any number of classes.

    Features as for `MoleRegressor`. Arguments as of `mole.OnlineClassifier`.

    Attributes:
        model: the `mole.OnlineClassifier`, with its tasks (``model.task_``, ``model.history_``) and files
            (``model.save``).

    Raises:
        ValueError: for settings out of range; when learning, for a label that is no int, str or bool.
    """

    model: OnlineClassifier
    _fresh = OnlineClassifier

    @property
    def _multiclass(self) -> bool:
        return True  # False, river's default, means two classes at most

    def learn_one(self, x: Features, y: Any, w: float = 1.0) -> None:
        """Learn one pair of features and label, of weight ``w``."""
        self.model.learn_one(_row(x), y, w)

    def predict_proba_one(self, x: Features, **kwargs: Any) -> dict[Label, float]:
        """Label → probability; they sum to one. Empty before the first label."""
        if kwargs:
            raise TypeError(f"MoleClassifier.predict_proba_one got {sorted(kwargs)}; expected x alone.")
        return self.model.predict_proba_one(_row(x))

    def learn_many(self, X: Any, y: Any, w: Any = None) -> None:
        """Learn the rows of a frame of any library in order, as `learn_one` learns each; of weights ``w`` if given."""
        self.model.learn_many(_rows(X), y, w)

    def predict_many(self, X: Any) -> Any:
        """The most probable labels of the rows of a frame, as a Series of its library."""
        return _column(X, self.model.predict(_rows(X)).tolist())

    def predict_proba_many(self, X: Any) -> Any:
        """Probabilities of the rows of a frame, as a frame of its library; the columns are called by the labels.

        Of a library whose columns have only text for names (all but pandas), the labels become text.
        """
        chances, labels = self.model.predict_proba(_rows(X)), self.model.classes_
        columns = [_column(X, column) for column in chances.T.tolist()]
        if hasattr(X, "iloc"):
            return type(X)(dict(zip(labels, columns, strict=True)), index=X.index)
        import narwhals.stable.v2 as nw

        named = dict(zip(map(str, labels), columns, strict=True))
        return nw.from_dict(named, backend=nw.from_native(X).implementation).to_native()


class MoleForecaster(Forecaster):
    """`mole.OnlineForecaster` as a river forecaster, for ``river.time_series`` and its metrics.

    Arguments as of `mole.OnlineForecaster`.

    Attributes:
        model: the `mole.OnlineForecaster`, with its intervals (``model.forecast_interval``) and files (``model.save``).

    Raises:
        ValueError: for settings out of range; when learning, for a value that is no number.

    Examples:
        >>> from river import datasets
        >>> model = MoleForecaster(horizon=12)
        >>> for _, y in datasets.AirlinePassengers():
        ...     model.learn_one(y)
        >>> len(model.forecast(12))
        12
    """

    def __init__(
        self,
        horizon: int = 12,
        *,
        lags: str | int | Sequence[int] = "auto",
        season: str | int | None = "auto",
        level: float = 0.9,
        width: int = 32,
        seed: int = 0,
        memory: int = 4096,
        history: int = 10_000,
        mixture: Mapping[str, Any] | None = None,
    ) -> None:
        """See the class."""
        self.horizon, self.lags, self.season, self.level = horizon, lags, season, level
        self.width, self.seed, self.memory, self.history, self.mixture = width, seed, memory, history, mixture
        self.model = OnlineForecaster(
            horizon, lags=lags, season=season, level=level, width=width, seed=seed, memory=memory,
            history=history, mixture=mixture,
        )  # fmt: skip

    def learn_one(self, y: float, x: Features | None = None) -> None:
        """Learn the next value; None or NaN if it is missing."""
        self.model.learn_one(y, None if x is None else _row(x))

    def forecast(self, horizon: int, xs: Sequence[Features] | None = None) -> list[float]:
        """Expected values of the next ``horizon`` rows."""
        return self.model.forecast(horizon, None if xs is None else [_row(x) for x in xs]).tolist()


def _row(x: Features) -> dict[str, Any]:
    """Features in the order of their names.

    In river the order within a row has no meaning. Here the order of the first row is that of the inputs, and decides
    which random weights each of them meets.
    """
    row = {str(name): x[name] for name in sorted(x, key=str)}
    if len(row) != len(x):
        raise ValueError(f"got the features {list(x)}; expected names that differ as text. Rename some.")
    return row


def _rows(X: Any) -> FrameRows:
    """The rows of a frame as `_row` makes them: names become text, and features are in the order of their names."""
    frame = frame_of(X)
    if frame is None or not hasattr(frame, "columns"):
        raise ValueError(f"got {type(X).__name__}; expected a frame, such as of pandas or polars.")
    return FrameRows(frame, by_name=True)


def _column(X: Any, values: list[Any]) -> Any:
    """A Series of the library of a frame, with its index if it has one."""
    import narwhals.stable.v2 as nw

    made = nw.new_series("", values, backend=nw.from_native(X).implementation).to_native()
    if hasattr(X, "index"):
        made.index, made.name = X.index, None
    return made
