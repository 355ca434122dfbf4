"""What both scikit-learn estimators have: the settings, and rows and targets as scikit-learn checks them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, check_X_y, validate_data

from mole.estimators.described import Prior
from mole.rows.batches import is_missing, rows_of, targets_of, weights_of
from mole.rows.frames import FrameRows, frame_of
from mole.rows.values import NUMBER

__all__ = ["StreamEstimator", "checked_weights", "filled", "with_gaps"]


class StreamEstimator(BaseEstimator):
    """The settings, the checks of rows, and the online estimator."""

    model_: Any
    feature_names_in_: Any
    _named: bool  # whether rows go to the estimator by the names of their columns

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
        """Missing values may be among the inputs, and matrices sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a model."""
        return hasattr(self, "model_")

    def _fresh(self, kind: type[Any]) -> Any:
        settings = self.get_params(deep=False)
        return kind(settings.pop("prior"), **settings)

    def _pairs(self, X: Any, y: Any, *, reset: bool, multi_output: bool) -> tuple[Any, Any, bool]:
        """Checked rows, checked targets ``[n]`` or ``[n, dy]``, and whether the rows have names."""
        targets: Any = y
        named = self._by_name(X) if reset else self._named
        # Only the regressor has several outputs, and only its targets must be numbers: one argument says both.
        how: dict[str, Any] = {"multi_output": multi_output, "y_numeric": multi_output}
        if not named or y is None:
            rows, targets = validate_data(
                self, X, targets, reset=reset, ensure_all_finite="allow-nan", accept_sparse="csr", **how
            )
            return rows, targets, False
        rows = self._named_rows(X, reset=reset)
        # Beside rows that are no array: only the number of them counts here.
        targets = check_X_y(np.zeros((len(rows), 1)), y, estimator=self, **how)[1]
        return rows, targets, True

    def _rows(self, X: Any) -> Any:
        check_is_fitted(self, "model_")
        if self._named:
            return self._named_rows(X, reset=False)
        return rows_of(
            validate_data(self, X, reset=False, ensure_all_finite="allow-nan", accept_sparse="csr")
        )

    def _by_name(self, X: Any) -> bool:
        """Whether rows have names to the estimator: those of a frame, unless a prior without names was given."""
        if self.prior is not None and getattr(self.prior, "schema", None) is None:
            return False
        frame = frame_of(X)
        return (
            frame is not None and hasattr(frame, "columns") and any(isinstance(n, str) for n in frame.columns)
        )

    def _named_rows(self, X: Any, *, reset: bool) -> Sequence[Any]:
        """Rows by the names of the columns that `fit` saw; an array, at which scikit-learn warns, has them in order.

        Raises:
            ValueError: for other columns than in `fit`, no rows, or an infinite number, as for arrays.
        """
        if frame_of(X) is None:
            plain: Any = validate_data(self, X, reset=reset, ensure_all_finite="allow-nan")
            return [dict(zip(self.feature_names_in_, row, strict=True)) for row in plain.tolist()]
        validate_data(self, X, reset=reset, skip_check_array=True)
        rows = FrameRows(frame_of(X))
        if not len(rows):
            raise ValueError(
                f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required."
            )
        # Read once before anything is learned: a value that cannot be learned must leave no trace of those before it.
        for row in rows:
            if any(kind == NUMBER and math.isinf(row[name]) for name, kind in row.kinds.items()):
                raise ValueError(
                    "Input X contains infinity; expected finite numbers, or NaN for a missing one."
                )
        return rows


def filled(y: Any) -> tuple[list[int], Any]:
    """Places of missing targets, and the targets with the first present one there, as scikit-learn's checks want them.

    Raises:
        ValueError: if every target is missing.
    """
    if y is None:
        return [], y
    targets = list(targets_of(y))
    missing = [place for place, target in enumerate(targets) if is_missing(target)]
    if not missing:
        return [], y
    if len(missing) == len(targets):
        raise ValueError(
            f"got {len(targets)} targets, and all are missing; expected at least one that is there."
        )
    there = next(target for target in targets if not is_missing(target))
    return missing, [there if is_missing(target) else target for target in targets]


def checked_weights(sample_weight: Any, targets: np.ndarray) -> list[float] | None:
    """Weights as numbers, one for each target; None if there are none.

    Raises:
        ValueError: for other numbers of them, negative ones, or nothing but zeros.
    """
    if sample_weight is None:
        return None
    weights = weights_of(sample_weight, len(targets))
    if not any(weights):
        raise ValueError("got sample_weight of zeros alone; expected at least one weight that is not zero.")
    return weights


def with_gaps(targets: np.ndarray, missing: list[int]) -> Any:
    """Checked targets, None where they are missing: `learn_many` leaves those out and counts them."""
    if not missing:
        return targets
    found = list(targets)
    for place in missing:
        found[place] = None
    return found
