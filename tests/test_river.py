"""River's own checks of its estimators, and what river does with them: pipelines, metrics, evaluation, clones."""

from __future__ import annotations

import collections
import copy
import importlib
import math
import os
import pickle
import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("river", reason="needs the extra streams")

from river import (
    checks,
    compose,
    datasets,
    dummy,
    evaluate,
    linear_model,
    metrics,
    multiclass,
    preprocessing,
    stats,
)

from mole import OnlineClassifier, OnlineRegressor, ReadoutConfig, StreamPrior, Trajectory, fit_prior
from mole.adapters.river import MoleClassifier, MoleForecaster, MoleMultiTargetRegressor, MoleRegressor
from mole.rows.encoding import RowEncoder

KINDS = (MoleRegressor, MoleMultiTargetRegressor, MoleClassifier, MoleForecaster)
SMALL: dict[str, Any] = {
    "memory": 64,
    "width": 8,
}  # no prior is trained: every check runs, and few things compile


# Every check runs for every estimator on the first data set that river takes for it. The others (more columns, classes,
# targets, labels of NumPy) cost a compilation per size, and have these checks alone unless MOLE_ALL_CHECKS is 1.
ON_OTHER_DATA = {
    "check_learn_one",
    "check_pickling",
    "check_predict_proba_one",
    "check_classifier_tracks_seen_labels",
}
ALL = os.environ.get("MOLE_ALL_CHECKS") == "1"


def named_checks() -> list[Any]:
    """Checks of river, one after another for each data set."""
    found = []
    for kind in KINDS:
        seen: collections.Counter[str] = collections.Counter()
        for check in checks.yield_checks(kind(**SMALL)):
            seen[check.__name__] += 1
            number = seen[check.__name__]
            if ALL or number == 1 or check.__name__ in ON_OTHER_DATA:
                found.append(pytest.param(kind, check, id=f"{kind.__name__}-{check.__name__}-{number}"))
    return found


@pytest.mark.parametrize(("kind", "check"), named_checks())
def test_a_check_of_river(kind: type[Any], check: Callable[[Any], None]) -> None:
    random.seed(0)  # the checks shuffle features
    check(kind(**SMALL))


@pytest.mark.parametrize("kind", KINDS)
def test_no_check_of_river_is_skipped(kind: type[Any]) -> None:
    assert kind()._unit_test_skips() == set()


def test_a_regressor_learns_in_a_pipeline_what_the_bare_estimator_learns() -> None:
    pipeline = preprocessing.MinMaxScaler() | MoleRegressor(**SMALL)
    score = evaluate.progressive_val_score(datasets.TrumpApproval().take(60), pipeline, metrics.MAE())
    bare, scaler, errors = OnlineRegressor(**SMALL), preprocessing.MinMaxScaler(), []
    for x, y in datasets.TrumpApproval().take(60):
        errors.append(abs(bare.predict_one(scaler.transform_one(x)) - y))
        scaler.learn_one(x)
        scaled = dict(sorted(scaler.transform_one(x).items()))
        bare.learn_one(scaled, y)
    assert score.get() == pytest.approx(sum(errors) / len(errors), rel=1e-12)
    inner = pipeline["MoleRegressor"].model
    assert inner.n_seen_ == 60
    assert inner.history_["task"].tolist() == bare.history_["task"].tolist()
    low, high = inner.predict_interval_one(scaled)
    assert low < inner.predict_one(scaled) < high


def test_a_regressor_beats_the_mean_and_a_linear_model_where_the_law_is_linear_in_turn() -> None:
    rng = random.Random(0)
    rows = [{"a": rng.uniform(-1, 1), "b": rng.uniform(-1, 1)} for _ in range(400)]
    pairs = [(x, (2 * x["a"] if t // 50 % 2 else -2 * x["a"]) + x["b"]) for t, x in enumerate(rows)]

    def error(model: Any) -> float:
        return evaluate.progressive_val_score(pairs, model, metrics.MAE()).get()

    ours = error(MoleRegressor(memory=64))
    linear = error(preprocessing.StandardScaler() | linear_model.LinearRegression())
    assert ours < 0.5 * linear < 0.5 * 1.5 * error(dummy.StatisticRegressor(stats.Mean()))


def test_a_classifier_works_with_metrics_of_labels_and_of_probabilities() -> None:
    def figures(classifier: Any) -> list[float]:
        both = metrics.Accuracy() + metrics.LogLoss()
        model = preprocessing.StandardScaler() | classifier
        return evaluate.progressive_val_score(datasets.Phishing().take(300), model, both).get()

    model = MoleClassifier(**SMALL)
    accuracy, loss = figures(model)
    rate, entropy = figures(dummy.PriorClassifier())
    assert accuracy > 0.8 > rate
    assert loss < 0.75 * entropy, "the probabilities must say more than how frequent each class is"
    assert model.model.classes_ == [True, False]


def test_a_classifier_fits_where_river_wants_many_classes() -> None:
    model = MoleClassifier(**SMALL)
    assert model._multiclass
    wrapped = multiclass.OneVsRestClassifier(MoleClassifier(**SMALL))
    for number in range(12):
        for one in (model, wrapped):
            one.learn_one({"x": float(number % 3)}, "abc"[number % 3])
    assert sum(model.predict_proba_one({"x": 1.0}).values()) == pytest.approx(1.0)
    assert set(model.predict_proba_one({"x": 1.0})) == set("abc")
    assert wrapped.predict_one({"x": 1.0}) in set("abc")


def test_several_targets_are_named_as_in_the_first_pair() -> None:
    model = MoleMultiTargetRegressor(**SMALL)
    assert model.predict_one({"x": 1.0}) == {}
    for number in range(60):
        x = number % 7 - 3.0
        model.learn_one({"x": x}, {"double": 2 * x, "minus": -x})
    found = model.predict_one({"x": 2.0})
    assert found == pytest.approx({"double": 4.0, "minus": -2.0}, abs=0.1)
    model.learn_one({"x": 1.0}, {"minus": -1.0, "double": 2.0})  # in another order
    assert model.model._targets[-1].tolist() == [2.0, -1.0]
    before = model.model.n_seen_
    with pytest.raises(ValueError, match=r"got the targets \['half'\]; expected \['double', 'minus'\]"):
        model.learn_one({"x": 1.0}, {"half": 2.0})
    with pytest.raises(TypeError, match=r"got \['v'\]; expected x, y and w alone"):
        model.learn_one({"x": 1.0}, {"double": 2.0, "minus": -1.0}, v=2.0)
    assert model.model.n_seen_ == before
    score = evaluate.progressive_val_score(
        [({"x": 1.0}, {"double": 2.0, "minus": -1.0})], model, metrics.multioutput.MacroAverage(metrics.MAE())
    )
    assert score.get() < 0.1


def test_one_named_target_is_still_named() -> None:
    model = MoleMultiTargetRegressor(**SMALL)
    model.learn_one({"x": 1.0}, {"only": 3.0})
    assert model.predict_one({"x": 1.0}) == {"only": 3.0}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_goes_on_bit_for_bit_and_alone(copied: Callable[[Any], Any]) -> None:
    model = MoleRegressor(**SMALL)
    pairs = [({"a": float(t % 5), "word": "xyz"[t % 3]}, float(t % 5)) for t in range(40)]
    for x, y in pairs[:20]:
        model.learn_one(x, y)
    twin = copied(model)
    other = copied(model)
    for x, y in pairs[20:]:
        assert model.predict_one(x) == twin.predict_one(x)
        model.learn_one(x, y)
        twin.learn_one(x, y)
    assert model.predict_one(pairs[0][0]) == twin.predict_one(pairs[0][0])
    assert other.model.n_seen_ == 20


def small_prior() -> StreamPrior:
    encoder = RowEncoder()
    rows = [{"a": math.sin(t), "b": math.cos(3 * t)} for t in range(24)]
    for row in rows:
        encoder.observe(row)
    x = np.stack([encoder.schema().encode(row) for row in rows])
    config = ReadoutConfig(window=8, iterations=2)
    return fit_prior([Trajectory(x, x[:, :1])], width=4, schema=encoder.schema(), config=config)


def test_a_clone_has_learned_nothing_and_keeps_prior_and_settings() -> None:
    prior = small_prior()
    model = MoleRegressor(prior, level=0.8, history=7, mixture={"max_tasks": 3})
    model.learn_one({"a": 1.0, "b": 0.0}, 1.0)
    clone = model.clone()
    assert (clone.model.n_seen_, clone.level, clone.history) == (0, 0.8, 7)
    assert clone.model.learner_.max_tasks == 3
    x = {"b": -0.5, "a": 0.5}
    assert clone.predict_one(x) == MoleRegressor(prior, mixture={"max_tasks": 3}).predict_one(x)


def test_features_are_told_by_their_names_alone() -> None:
    model = MoleRegressor(**SMALL)
    model.learn_one({2: 1.0, "a": 2.0}, 1.0)
    assert list(model.model.schema_.names) == ["2", "a"]
    with pytest.raises(ValueError, match=r"got the features \[1, '1'\]; expected names that differ as text"):
        model.learn_one({1: 1.0, "1": 2.0}, 1.0)


def test_a_stream_whose_rows_are_empty_at_first_is_learned() -> None:
    model = OnlineRegressor(**SMALL)
    for number in range(6):
        model.learn_one({}, float(number))
    assert model.predict_one({}) == pytest.approx(2.5)
    for number in range(60):
        model.learn_one({"a": float(number % 5)}, float(number % 5))
    assert model.predict_one({"a": 3.0}) == pytest.approx(3.0, abs=0.5)


def test_the_class_of_the_inner_model_is_ours() -> None:
    assert isinstance(MoleRegressor().model, OnlineRegressor)
    assert isinstance(MoleClassifier().model, OnlineClassifier)
    assert isinstance(compose.Pipeline(MoleRegressor())["MoleRegressor"].model, OnlineRegressor)


def test_without_river_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    monkeypatch.delitem(sys.modules, "mole.adapters.river")
    with pytest.raises(ImportError, match=r"needs river, which is not installed: pip install 'mole-online"):
        importlib.import_module("mole.adapters.river")


# Frames.


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_frame_is_learned_as_its_rows_are(library: str) -> None:
    frames = pytest.importorskip(library)
    values = np.random.default_rng(3).normal(size=(30, 2))
    columns = {"b": values[:, 0], "a": values[:, 1], "word": ["dry", "wet", "ice"] * 10}
    x = frames.table(columns) if library == "pyarrow" else frames.DataFrame(columns)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    y = values.sum(axis=1)
    model, one = MoleRegressor(**SMALL), MoleRegressor(**SMALL)
    model.learn_many(x, y)
    for row, target in zip(rows, y, strict=True):
        one.learn_one(row, target)
    found = model.predict_many(x)
    assert type(found).__module__.split(".")[0] == library
    told = found.to_pylist() if library == "pyarrow" else list(found)
    assert told == [one.predict_one(row) for row in rows]
    labels = MoleClassifier(**SMALL)
    assert len(labels.predict_many(x)) == 30  # nothing is known, and every row has None
    labels.learn_many(x, columns["word"])
    assert len(labels.predict_many(x)) == 30
    chances = labels.predict_proba_many(x)
    assert list(getattr(chances, "column_names", chances.columns)) == ["dry", "wet", "ice"]
    np.testing.assert_allclose(np.asarray(chances).sum(axis=1), 1.0)


def test_a_frame_of_pandas_keeps_its_index_its_labels_and_numbers_for_names() -> None:
    pd = pytest.importorskip("pandas")
    x = pd.DataFrame(
        np.random.default_rng(4).normal(size=(20, 12)), index=np.arange(20) + 7
    )  # "10" is before "2"
    y = x[10] > 0
    many, one = MoleClassifier(**SMALL), MoleClassifier(**SMALL)
    many.learn_many(x, y)
    for row, label in zip(x.to_dict("records"), y, strict=True):
        one.learn_one(row, label)
    chances = many.predict_proba_many(x)
    assert chances.index.equals(x.index)
    assert chances.to_dict("records") == [one.predict_proba_one(row) for row in x.to_dict("records")]
    assert many.predict_many(x).index.equals(x.index)
    with pytest.raises(ValueError, match="got ndarray; expected a frame"):
        many.predict_many(x.to_numpy())


def test_weights_go_to_the_estimator() -> None:
    pd = pytest.importorskip("pandas")
    x = pd.DataFrame(np.random.default_rng(5).normal(size=(20, 2)), columns=["a", "b"])
    y, w = x["a"] - x["b"], np.arange(20) % 3 / 2.0
    many, one = MoleRegressor(**SMALL), MoleRegressor(**SMALL)
    two = MoleMultiTargetRegressor(**SMALL)
    many.learn_many(x, y, w)
    for row, target, weight in zip(x.to_dict("records"), y, w, strict=True):
        one.learn_one(row, target, w=weight)
        two.learn_one(row, {"y": target}, w=weight)
    assert many.predict_many(x).tolist() == [one.predict_one(row) for row in x.to_dict("records")]
    assert many.model.n_seen_ == two.model.n_seen_ == 13
    labels = MoleClassifier(**SMALL)
    labels.learn_one({"a": 1.0}, "up", w=0.0)
    assert labels.predict_proba_one({"a": 1.0}) == {}
    labels.learn_one({"a": 1.0}, "up", w=0.5)
    assert labels.predict_one({"a": 1.0}) == "up"
