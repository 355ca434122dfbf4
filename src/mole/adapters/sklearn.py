"""MOLe as scikit-learn estimators. Needs the extra ``streams``.

    model = make_pipeline(StandardScaler(), MoleRegressor()).fit(x, y)

Each row is learned once, in the given order, which is time. A split that shuffles rows (``KFold(shuffle=True)``), or
learns later rows before earlier ones, says nothing about a stream; use ``TimeSeriesSplit``. All of scikit-learn's own
checks hold (``check_estimator``); none is excepted. Sample weights are not supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mole.estimators import OnlineClassifier, OnlineRegressor
from mole.estimators.state import Prior

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "mole.adapters.sklearn needs scikit-learn, which is not installed: pip install 'mole-online[streams]'."
    ) from error

__all__ = ["MoleClassifier", "MoleRegressor"]


class _Stream(BaseEstimator):
    """What both have: the settings, the checks of rows, and the online estimator."""

    model_: Any

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
        # Kept as they are, and checked in `fit`: scikit-learn's `clone` compares them by identity.
        self.prior = prior
        self.level = level
        self.width = width
        self.seed = seed
        self.memory = memory
        self.history = history
        self.mixture = mixture

    @property
    def model(self) -> Any:
        """The online estimator, with its tasks, history and files.

        Raises:
            sklearn.exceptions.NotFittedError: before ``fit`` or ``partial_fit``.
        """
        check_is_fitted(self, "model_")
        return self.model_

    def __sklearn_tags__(self) -> Any:
        """Missing values may be among the inputs."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _fresh(self, kind: type[Any]) -> Any:
        settings = self.get_params(deep=False)
        return kind(settings.pop("prior"), **settings)

    def _pairs(self, X: Any, y: Any, *, reset: bool, multi_output: bool) -> Any:
        # Only the regressor has several outputs, and only its targets must be numbers: one argument says both.
        return validate_data(
            self, X, y, reset=reset, multi_output=multi_output, y_numeric=multi_output,
            ensure_all_finite="allow-nan",
        )  # fmt: skip

    def _rows(self, X: Any) -> Any:
        check_is_fitted(self, "model_")
        return validate_data(self, X, reset=False, ensure_all_finite="allow-nan")


class MoleRegressor(RegressorMixin, _Stream):
    """`mole.OnlineRegressor` as a scikit-learn regressor, of one or more outputs.

    Rows are numbers, NaN where one is missing. Arguments as of `mole.OnlineRegressor`.

    Attributes:
        model_: the `mole.OnlineRegressor`, also called ``model``: tasks (``model.task_``, ``model.history_``),
            intervals (``model.predict_interval_one``), files (``model.save``).
        n_features_in_: columns.
        feature_names_in_: their names, if rows came as a data frame.

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1.0, 1.0, 50)[:, None]
        >>> model = MoleRegressor().fit(x, 2.0 * x[:, 0])
        >>> round(model.score(x, 2.0 * x[:, 0]), 1)
        1.0
    """

    def fit(self, X: Any, y: Any) -> MoleRegressor:
        """Forget everything, then learn the rows in order.

        Args:
            X: rows ``[n, dx]``.
            y: targets ``[n]`` or ``[n, dy]``.

        Raises:
            ValueError: for settings out of range, rows of a wrong shape, infinite inputs, or targets that are not
                finite.
        """
        return self._learn(X, y, fresh=True)

    def partial_fit(self, X: Any, y: Any) -> MoleRegressor:
        """Learn the rows in order, after those learned before. Raises as `fit`."""
        return self._learn(X, y, fresh=not hasattr(self, "model_"))

    def predict(self, X: Any) -> np.ndarray:
        """Expected targets of rows ``[n, dx]``, shaped as in `fit`; no row is learned.

        Raises:
            sklearn.exceptions.NotFittedError: before ``fit`` or ``partial_fit``.
            ValueError: for rows of a wrong shape, or infinite inputs.
        """
        rows = self._rows(X)
        found = self.model.predict(rows)
        return found[:, None] if self._column else found

    def __sklearn_tags__(self) -> Any:
        """Several outputs are supported."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _learn(self, X: Any, y: Any, *, fresh: bool) -> MoleRegressor:
        rows, targets = self._pairs(X, y, reset=fresh, multi_output=True)
        model = self._fresh(OnlineRegressor) if fresh else self.model_
        model.learn_many(rows, targets)
        self.model_ = model  # not before: an estimator whose first rows were refused is not fitted
        # Our own regressor gives [n] for one output; scikit-learn wants the shape of the targets back.
        self._column = targets.ndim == 2 and targets.shape[1] == 1
        return self


class MoleClassifier(ClassifierMixin, _Stream):
    """`mole.OnlineClassifier` as a scikit-learn classifier, for any number of classes.

    Rows are numbers, NaN where one is missing. Arguments as of `mole.OnlineClassifier`.

    Attributes:
        model_: the `mole.OnlineClassifier`, also called ``model``.
        classes_: labels, sorted: those given to the first `partial_fit`, and no others. If none were given, those seen
            so far; then a new label adds a column to `predict_proba`.
        n_features_in_: columns.
        feature_names_in_: their names, if rows came as a data frame.

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1.0, 1.0, 50)[:, None]
        >>> model = MoleClassifier().fit(x, np.where(x[:, 0] > 0, "up", "down"))
        >>> model.predict([[-0.9], [0.9]]).tolist()
        ['down', 'up']
    """

    def fit(self, X: Any, y: Any) -> MoleClassifier:
        """Forget everything, then learn the rows in order.

        Args:
            X: rows ``[n, dx]``.
            y: labels ``[n]``: whole numbers, text or truth values.

        Raises:
            ValueError: for settings out of range, rows of a wrong shape, infinite inputs, or targets that are no
                labels.
        """
        return self._learn(X, y, None, fresh=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> MoleClassifier:
        """Learn the rows in order, after those learned before.

        Args:
            X: rows ``[n, dx]``.
            y: labels ``[n]``.
            classes: all labels that will ever come; may be left out, here and in later calls.

        Raises:
            ValueError: as `fit`; also for a label that was not among ``classes``, or other ones than at first.
        """
        return self._learn(X, y, classes, fresh=not hasattr(self, "model_"))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of rows ``[n, dx]``, as ``[n]``; no row is learned. Raises as `predict_proba`."""
        chances = self.predict_proba(X)
        return self.classes_[np.argmax(chances, axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of rows ``[n, dx]``, as ``[n, classes]`` in the order of ``classes_``; zero if never seen.

        Raises:
            sklearn.exceptions.NotFittedError: before ``fit`` or ``partial_fit``.
            ValueError: for rows of a wrong shape, or infinite inputs.
        """
        rows = self._rows(X)
        labels = [_plain(label) for label in self.classes_]
        chances = [self.model.predict_proba_one(row) for row in rows]
        return np.asarray([[found.get(label, 0.0) for label in labels] for found in chances])

    def _learn(self, X: Any, y: Any, classes: Any, *, fresh: bool) -> MoleClassifier:
        rows, targets = self._pairs(X, y, reset=fresh, multi_output=False)
        check_classification_targets(targets)
        told = None if classes is None else np.unique(np.asarray(classes))
        if fresh:
            fixed, known = told is not None, np.unique(targets) if told is None else told
        else:
            fixed, known = self._told, self.classes_
        if told is not None and not np.array_equal(told, known):
            raise ValueError(
                f"MoleClassifier.partial_fit got classes={told.tolist()}; expected {known.tolist()}, as at "
                "first, or None. Nothing was learned."
            )
        # Before anything is learned: a batch with one unknown label must leave no trace of the others.
        strange = np.setdiff1d(targets, known)
        if len(strange) and fixed:
            raise ValueError(
                f"MoleClassifier.partial_fit got the labels {strange.tolist()}; expected those told before: "
                f"{known.tolist()}. Nothing was learned. Leave out classes if any label may come."
            )
        model = self._fresh(OnlineClassifier) if fresh else self.model_
        model.learn_many(rows, targets)
        # Not before: an estimator whose first rows were refused is not fitted.
        self.model_, self._told = model, fixed
        self.classes_ = np.union1d(known, targets) if len(strange) else known
        return self


def _plain(label: Any) -> Any:
    """A label as `mole.OnlineClassifier` knows it: a Python value, and an int for 1.0, as that of a float array is."""
    value = label.item() if isinstance(label, np.generic) else label
    return int(value) if isinstance(value, float) and value.is_integer() else value
