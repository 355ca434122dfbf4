"""Scikit-learn's own checks of its estimators, and what scikit-learn does with them."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("sklearn", reason="needs the extra streams")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mole import OnlineClassifier, OnlineRegressor
from mole.adapters.sklearn import MoleClassifier, MoleRegressor

SMALL: dict[str, Any] = {
    "memory": 64,
    "width": 8,
}  # no prior is trained: every check runs, and few things compile
X = np.random.default_rng(0).normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5]
WORDS = np.where(Y > 0, "up", "down")


# They shuffle the weighted rows and not the repeated ones: for a stream these are two orders of time. What does hold is
# in tests/test_weights.py.
SHUFFLED = {
    f"check_sample_weight_equivalence_on_{kind}_data": "order is time" for kind in ("dense", "sparse")
}


@pytest.mark.usefixtures("unchecked")  # the checks pass wrong types on purpose
@parametrize_with_checks(
    [MoleRegressor(**SMALL), MoleClassifier(**SMALL)], expected_failed_checks=lambda _: SHUFFLED
)
def test_a_check_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_fit_learns_the_rows_in_order_as_the_bare_estimator_does() -> None:
    model, bare = MoleRegressor(**SMALL).fit(X, Y), OnlineRegressor(**SMALL)
    for x, y in zip(X, Y, strict=True):
        bare.learn_one(x, y)
    np.testing.assert_array_equal(model.predict(X), [bare.predict_one(x) for x in X])
    backwards = MoleRegressor(**SMALL).fit(X[::-1], Y[::-1])
    assert not np.array_equal(backwards.predict(X), model.predict(X))
    assert model.score(X, Y) > 0.95


def test_fit_forgets_and_partial_fit_goes_on() -> None:
    whole = MoleRegressor(**SMALL).fit(X, Y)
    parts = MoleRegressor(**SMALL).fit(X[:5], 7.0 + Y[:5])
    parts.fit(X[:20], Y[:20]).partial_fit(X[20:21], Y[20:21]).partial_fit(X[21:], Y[21:])
    assert parts.model.n_seen_ == 60
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))


def test_outputs_keep_their_shape() -> None:
    two = MoleRegressor(**SMALL).fit(X, np.stack([Y, -Y], axis=1))
    assert two.predict(X[:4]).shape == (4, 2)
    one = MoleRegressor(**SMALL).fit(X, Y[:, None])
    assert one.predict(X[:4]).shape == (4, 1)
    assert MoleRegressor(**SMALL).fit(X, Y).predict(X[:4]).shape == (4,)
    with pytest.raises(ValueError, match="expected 2 finite numbers"):
        two.partial_fit(X, Y)
    assert two.predict(X[:4]).shape == (4, 2)


def test_missing_values_may_come_and_infinite_ones_may_not() -> None:
    holes = X.copy()
    holes[::7, 1] = np.nan
    assert MoleRegressor(**SMALL).fit(holes, Y).score(holes, Y) > 0.5
    holes[3, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        MoleRegressor(**SMALL).fit(holes, Y)


def test_the_online_estimator_is_at_hand() -> None:
    regressor = MoleRegressor(**SMALL, level=0.8, history=9)
    with pytest.raises(NotFittedError):
        _ = regressor.model
    regressor.fit(X, Y)
    assert isinstance(regressor.model, OnlineRegressor)
    assert len(regressor.model.history_["task"]) == 9
    assert regressor.model.task_ == 0
    low, high = regressor.model.predict_interval_one(X[0])
    assert low < regressor.predict(X[:1])[0] < high
    assert isinstance(MoleClassifier(**SMALL).fit(X, WORDS).model, OnlineClassifier)


def test_settings_out_of_range_are_reported_by_fit() -> None:
    with pytest.raises(ValueError, match=r"got level=2\.0; expected a number above 0 and below 1"):
        MoleRegressor(level=2.0).fit(X, Y)


def test_probabilities_are_in_the_order_of_the_sorted_classes() -> None:
    model = MoleClassifier(**SMALL).fit(X, WORDS)
    assert model.classes_.tolist() == ["down", "up"]
    found = model.predict_proba(X)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    for row, x in zip(found, X, strict=True):
        assert dict(zip(["down", "up"], row.tolist(), strict=True)) == model.model.predict_proba_one(x)
    assert model.score(X, WORDS) > 0.8
    assert set(model.model.classes_) == {"up", "down"}


@pytest.mark.parametrize("labels", [[3, 1], [2.0, 1.0], [True, False], ["b", "a"]])
def test_labels_come_back_in_their_own_type(labels: list[Any]) -> None:
    y = np.asarray(labels)[(Y > 0).astype(int)]
    model = MoleClassifier(**SMALL).fit(X, y)
    assert model.classes_.dtype == y.dtype
    assert model.predict(X).dtype == y.dtype
    assert model.score(X, y) > 0.8


def test_classes_told_at_first_are_all_there_will_be() -> None:
    model = MoleClassifier(**SMALL).partial_fit(X[:10], WORDS[:10], classes=["up", "down", "level"])
    assert model.classes_.tolist() == ["down", "level", "up"]
    np.testing.assert_array_equal(model.predict_proba(X)[:, 1], 0.0)
    with pytest.raises(ValueError, match=r"got the labels \['odd'\]; expected those told before: \['down'"):
        model.partial_fit(X[:1], ["odd"])
    with pytest.raises(ValueError, match=r"got classes=\['down', 'up'\]; expected \['down', 'level', 'up'\]"):
        model.partial_fit(X[:1], WORDS[:1], classes=["up", "down"])
    assert model.model.n_seen_ == 10


def test_classes_not_told_may_come_at_any_time() -> None:
    model = MoleClassifier(**SMALL).partial_fit(X[:9], WORDS[:9])
    model.partial_fit(X[9:18], ["level"] * 9)
    assert model.classes_.tolist() == ["down", "level", "up"]
    assert model.predict_proba(X).shape == (60, 3)
    assert model.fit(X, WORDS).classes_.tolist() == ["down", "up"]


def test_an_estimator_whose_first_rows_were_refused_is_not_fitted() -> None:
    X = np.arange(6.0)[:, None]
    regressor, classifier = MoleRegressor(), MoleClassifier()
    with pytest.raises(ValueError, match="1e\\+300"):
        regressor.partial_fit(X[:1], [1e300])
    with pytest.raises(ValueError, match=r"labels \[2\]; expected those told before: \[0, 1\]"):
        classifier.partial_fit(X, [0, 1, 0, 1, 0, 2], classes=[0, 1])
    for estimator in (regressor, classifier):
        with pytest.raises(NotFittedError):
            estimator.predict(X)
    classifier.partial_fit(X, [0, 1, 0, 1, 0, 2], classes=[0, 1, 2])
    assert classifier.classes_.tolist() == [0, 1, 2]


def test_a_pipeline_is_scored_on_later_rows_only() -> None:
    model = make_pipeline(StandardScaler(), MoleRegressor(**SMALL))
    scores = cross_val_score(model, 10.0 + X, Y, cv=TimeSeriesSplit(n_splits=2))
    assert scores.min() > 0.8
    assert model.fit(10.0 + X, Y)[-1].model.n_seen_ == 60


def test_a_fitted_copy_goes_on_bit_for_bit_and_a_clone_begins_anew() -> None:
    model = MoleRegressor(**SMALL).fit(X[:30], Y[:30])
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        model.partial_fit(X[30:], Y[30:]).predict(X), twin.partial_fit(X[30:], Y[30:]).predict(X)
    )
    assert not hasattr(clone(model), "model_")


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "mole.adapters.sklearn")
    with pytest.raises(ImportError, match=r"needs scikit-learn, which is not installed: pip install 'mole-"):
        importlib.import_module("mole.adapters.sklearn")


# Frames.

COLUMNS: dict[str, Any] = {"a": X[:, 0], "flag": X[:, 1] > 0, "word": WORDS}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_of_words_are_learned_by_name(library: str) -> None:
    frames = pytest.importorskip(library)
    given = frames.table(COLUMNS) if library == "pyarrow" else frames.DataFrame(COLUMNS)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
    model = MoleRegressor(**SMALL).fit(given[:40], Y[:40]).partial_fit(given[40:], Y[40:])
    bare = OnlineRegressor(**SMALL).learn_many(rows, Y)
    np.testing.assert_array_equal(model.predict(given), bare.predict(rows))
    assert list(model.feature_names_in_) == ["a", "flag", "word"]
    assert model.model.schema_.names == bare.schema_.names
    labels = MoleClassifier(**SMALL).fit(given, WORDS)
    np.testing.assert_allclose(labels.predict_proba(given).sum(axis=1), 1.0)


def test_category_columns_are_words_as_elsewhere_in_scikit_learn() -> None:
    pd = pytest.importorskip("pandas")
    given = pd.DataFrame({"code": pd.Categorical(np.arange(60) % 3), "a": X[:, 0]})
    model = MoleRegressor(**SMALL).fit(given, Y)
    assert model.model.schema_.names[:4] == ("code=0", "code=1", "code=2", "code (unseen)")


def test_a_frame_of_numbers_gives_what_its_array_gives_and_keeps_its_names() -> None:
    pd = pytest.importorskip("pandas")
    given = pd.DataFrame(X, columns=["a", "b", "c"])
    model, plain = MoleRegressor(**SMALL).fit(given, Y), MoleRegressor(**SMALL).fit(X, Y)
    np.testing.assert_array_equal(model.predict(given), plain.predict(X))
    assert model.model.schema_.names == ("a", "b", "c")
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(given[["b", "a", "c"]])
    given.iloc[3, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.partial_fit(given, Y)
    assert model.model.n_seen_ == 60
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        model.partial_fit(given[:0], Y[:0])


def test_a_sparse_matrix_gives_what_the_dense_one_gives() -> None:
    dense = np.where(X > 0, X, 0.0)
    model = MoleRegressor(**SMALL).fit(scipy.sparse.coo_array(dense), Y)
    np.testing.assert_array_equal(model.predict(scipy.sparse.csc_array(dense)), model.predict(dense))


def test_rows_without_a_target_are_left_out_and_counted() -> None:
    gone = np.arange(60) % 4 == 1
    model = MoleRegressor(**SMALL).fit(X, np.where(gone, np.nan, Y))
    plain = MoleRegressor(**SMALL).fit(X[~gone], Y[~gone])
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert model.model.faults_["no_target"] == 15
    words = [None if lacks else word for lacks, word in zip(gone, WORDS.tolist(), strict=True)]
    labels = MoleClassifier(**SMALL).fit(X, words)
    assert labels.classes_.tolist() == ["down", "up"]
    assert labels.model.faults_["no_target"] == 15
    with pytest.raises(ValueError, match="all are missing"):
        MoleRegressor(**SMALL).fit(X, np.full(60, np.nan))


def test_weights_go_to_the_estimator() -> None:
    weights = np.arange(60) % 3 / 2.0
    model = MoleRegressor(**SMALL).fit(X[:40], Y[:40], weights[:40])
    model.partial_fit(X[40:], Y[40:], sample_weight=weights[40:])
    bare = OnlineRegressor(**SMALL).learn_many(X, Y, weights)
    np.testing.assert_array_equal(model.predict(X), bare.predict(X))
    labels = MoleClassifier(**SMALL).fit(X, WORDS, weights)
    words = OnlineClassifier(**SMALL).learn_many(X, WORDS, weights)
    assert labels.predict(X).tolist() == words.predict(X).tolist()
    with pytest.raises(ValueError, match="zeros alone"):
        labels.partial_fit(X, WORDS, sample_weight=np.zeros(60))
