"""MOLe as scikit-learn estimators. Needs the extra ``streams``.

    model = make_pipeline(StandardScaler(), MoleRegressor()).fit(x, y)

Each row is learned once, in the given order, which is time. A split that shuffles rows (``KFold(shuffle=True)``), or
learns later rows before earlier ones, says nothing about a stream; use ``TimeSeriesSplit``. All of scikit-learn's own
checks hold (``check_estimator``) but for one, that a weight is the same as repeated rows in any order: order is time.

Rows are arrays, sparse matrices of at most 1,000 columns, or frames. The columns of a frame with names may hold words,
categories, times and truth values as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mole.estimators import OnlineClassifier, OnlineRegressor

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets

    from mole.adapters.sklearn_rows import StreamEstimator, checked_weights, filled, with_gaps
except ImportError as error:
    raise ImportError(
        "mole.adapters.sklearn needs scikit-learn, which is not installed: pip install 'mole-online[streams]'."
    ) from error

__all__ = ["MoleClassifier", "MoleRegressor"]


class MoleRegressor(RegressorMixin, StreamEstimator):
    """`mole.OnlineRegressor` as a scikit-learn regressor, of one or more outputs.

    Rows are numbers, NaN where one is missing; or those of a frame, by name. Arguments as of `mole.OnlineRegressor`.

    Attributes:
        model_: the `mole.OnlineRegressor`, also called ``model``: tasks (``model.task_``, ``model.history_``),
            intervals (``model.predict_interval_one``), files (``model.save``).
        n_features_in_: columns.
        feature_names_in_: their names, if rows came as a data frame.

    Examples:
        >>> import numpy as np
        >>> x = np.linspace(-1.0, 1.0, 50)[:, None]
        >>> model = MoleRegressor().fit(x, 2.0 * x[:, 0])
        >>> round(model.score(x, 2.0 * x[:, 0]), 1)
        1.0
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MoleRegressor:
        """Forget everything, then learn the rows in order.

        Args:
            X: rows ``[n, dx]``.
            y: targets ``[n]`` or ``[n, dy]``, NaN or None where one is missing; its row is left out.
            sample_weight: what each row counts ``[n]``, as of `mole.OnlineRegressor.learn_one`; one if None.

        Raises:
            ValueError: for settings out of range, rows of a wrong shape, infinite inputs, or targets that are not
                finite.
        """
        return self._learn(X, y, sample_weight, fresh=True)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MoleRegressor:
        """Learn the rows in order, after those learned before. Raises as `fit`."""
        return self._learn(X, y, sample_weight, fresh=not hasattr(self, "model_"))

    def predict(self, X: Any) -> np.ndarray:
        """Expected targets of rows ``[n, dx]``, shaped as in `fit`; no row is learned.

        Raises:
            sklearn.exceptions.NotFittedError: before ``fit`` or ``partial_fit``.
            ValueError: for rows of a wrong shape, or infinite inputs.
        """
        found = self.model.predict(self._rows(X))
        return found[:, None] if self._column else found

    def __sklearn_tags__(self) -> Any:
        """Several outputs are supported."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _learn(self, X: Any, y: Any, sample_weight: Any, *, fresh: bool) -> MoleRegressor:
        missing, y = filled(y)
        rows, targets, named = self._pairs(X, y, reset=fresh, multi_output=True)
        weights = checked_weights(sample_weight, targets)
        model = self._fresh(OnlineRegressor) if fresh else self.model_
        model.learn_many(rows, with_gaps(targets, missing), weights)
        # Not before: an estimator whose first rows were refused is not fitted.
        self.model_, self._named = model, named
        # Our own regressor gives [n] for one output; scikit-learn wants the shape of the targets back.
        self._column = targets.ndim == 2 and targets.shape[1] == 1
        return self


class MoleClassifier(ClassifierMixin, StreamEstimator):
    """`mole.OnlineClassifier` as a scikit-learn classifier, for any number of classes.

    Rows are numbers, NaN where one is missing; or those of a frame, by name. Arguments as of `mole.OnlineClassifier`.

    Attributes:
        model_: the `mole.OnlineClassifier`, also called ``model``.
        classes_: labels, sorted: those given to the first `partial_fit`, and no others. If none were given, those seen
            so far; then a new label adds a column to `predict_proba`.
        n_features_in_: columns.
        feature_names_in_: their names, if rows came as a data frame.

    Examples:
        >>> import numpy as np
        >>> x = np.linspace(-1.0, 1.0, 50)[:, None]
        >>> model = MoleClassifier().fit(x, np.where(x[:, 0] > 0, "up", "down"))
        >>> model.predict([[-0.9], [0.9]]).tolist()
        ['down', 'up']
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MoleClassifier:
        """Forget everything, then learn the rows in order.

        Args:
            X: rows ``[n, dx]``.
            y: labels ``[n]``: whole numbers, text or truth values; NaN or None where one is missing, then its row is
                left out.
            sample_weight: what each row counts ``[n]``, as of `mole.OnlineClassifier.learn_one`; one if None.

        Raises:
            ValueError: for settings out of range, rows of a wrong shape, infinite inputs, or targets that are no
                labels.
        """
        return self._learn(X, y, None, sample_weight, fresh=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> MoleClassifier:
        """Learn the rows in order, after those learned before.

        Args:
            X: rows ``[n, dx]``.
            y: labels ``[n]``.
            classes: all labels that will ever come; may be left out, here and in later calls.
            sample_weight: as of `fit`.

        Raises:
            ValueError: as `fit`; also for a label that was not among ``classes``, or other ones than at first.
        """
        return self._learn(X, y, classes, sample_weight, fresh=not hasattr(self, "model_"))

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

    def _learn(self, X: Any, y: Any, classes: Any, sample_weight: Any, *, fresh: bool) -> MoleClassifier:
        missing, y = filled(y)
        rows, targets, named = self._pairs(X, y, reset=fresh, multi_output=False)
        weights = checked_weights(sample_weight, targets)
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
        model.learn_many(rows, with_gaps(targets, missing), weights)
        # Not before: an estimator whose first rows were refused is not fitted.
        self.model_, self._named, self._told = model, named, fixed
        self.classes_ = np.union1d(known, targets) if len(strange) else known
        return self


def _plain(label: Any) -> Any:
    """A label as `mole.OnlineClassifier` knows it: a Python value, and an int for 1.0, as that of a float array is."""
    value = label.item() if isinstance(label, np.generic) else label
    return int(value) if isinstance(value, float) and value.is_integer() else value
