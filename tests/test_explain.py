"""Why a row is predicted as it is, and how odd a target is."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

import mole
from helpers import tiny_prior
from mole.estimators.anomaly import label_score, mixture_tail


def rows(n: int, seed: int = 0) -> list[tuple[dict, float]]:
    rng, pairs = np.random.default_rng(seed), []
    for _ in range(n):
        x = {"load": 50 + 5 * rng.normal(), "valve": str(rng.choice(["open", "shut"])), "still": 1.0}
        pairs.append((x, 0.4 * (x["load"] - 50) + 2 * (x["valve"] == "open") + 0.05 * rng.normal()))
    return pairs


@pytest.fixture(scope="module")
def model() -> mole.OnlineRegressor:
    made = mole.OnlineRegressor(memory=64)
    for x, y in rows(150):
        made.learn_one(x, y)
    return made


# Explanations.


def test_effects_add_up_and_are_those_of_the_columns(model):
    x = {"load": 60.0, "valve": "shut", "still": 1.0}
    found = model.explain_one(x)
    assert found.prediction == pytest.approx(model.predict_one(x), abs=1e-4)
    assert found.baseline + sum(found.effects.values()) + found.remainder == pytest.approx(found.prediction)
    assert abs(found.remainder) < 1e-3
    assert list(found.effects) == ["load", "valve", "still"]
    middle = np.mean([x["load"] for x, _ in rows(150)])
    opened = np.mean([x["valve"] == "open" for x, _ in rows(150)])
    assert found.effects["load"] == pytest.approx(0.4 * (60 - middle), abs=0.25)
    assert found.effects["valve"] == pytest.approx(
        -2 * opened, abs=0.15
    )  # a word counts against its frequency
    assert found.effects["still"] == pytest.approx(0.0, abs=1e-6)
    assert found.label is None


def test_the_mean_row_has_no_effects(model):
    numbers = mole.OnlineRegressor(memory=64).learn_many(
        np.arange(80.0).reshape(40, 2) % 7, np.arange(40.0) % 5
    )
    mean = np.mean(np.stack(numbers._recent), axis=0)[:2]
    found = numbers.explain_one(mean)
    assert list(found.effects) == ["x0", "x1"] or list(found.effects) == ["x1", "x0"]
    assert max(map(abs, found.effects.values())) < 1e-4 and found.prediction == pytest.approx(found.baseline)


def test_explaining_changes_nothing(model, tmp_path):
    before = model.predict_one(rows(1, 5)[0][0])
    model.explain_one({"load": 1.0, "valve": "ajar"})
    model.anomaly_score_one({"load": 1.0, "valve": "open"}, 4.0)
    assert model.predict_one(rows(1, 5)[0][0]) == before and model.n_seen_ == 150


def test_several_targets_far_from_zero_are_explained_in_their_units():
    rng, model = np.random.default_rng(0), mole.OnlineRegressor(memory=64)
    for x in rng.normal(size=(80, 2)):
        model.learn_one(x, [1e9 + 3 * x[0], 1e-12 * x[1]])
    found = model.explain_one([1.0, 1.0])
    assert found.prediction == pytest.approx(model.predict_one([1.0, 1.0]))
    middle = np.mean(np.stack(model._recent), axis=0)
    assert found.effects["x0"][0] == pytest.approx(3 * (1 - middle[0]), rel=0.05)
    assert found.effects["x1"][1] == pytest.approx(1e-12 * (1 - middle[1]), rel=0.05)
    assert abs(found.effects["x1"][0]) < 0.2


@pytest.mark.parametrize("labels", [("no", "yes"), ("low", "mid", "high")])
def test_a_label_is_explained_by_its_probability(labels):
    rng, model = np.random.default_rng(1), mole.OnlineClassifier(memory=64)
    for x in rng.normal(size=(120, 2)):
        place = int(np.clip(np.floor(len(labels) / 2 + x[0]), 0, len(labels) - 1))
        model.learn_one({"a": x[0], "b": x[1]}, labels[place])
    x = {"a": 1.0, "b": 1.0}
    chances, found = model.predict_proba_one(x), model.explain_one(x)
    assert found.label == model.predict_one(x) == labels[-1]
    for label in labels:
        told = model.explain_one(x, label=label)
        assert told.prediction == pytest.approx(chances[label], abs=1e-5)
        assert told.baseline + sum(told.effects.values()) + told.remainder == pytest.approx(told.prediction)
        assert abs(told.remainder) < 0.02
    assert found.effects["a"] > max(0.2, 3 * abs(found.effects["b"]))
    with pytest.raises(ValueError, match="expected one of"):
        model.explain_one(x, label="none such")


def test_what_cannot_be_explained_is_refused(model):
    with pytest.raises(ValueError, match="needs learned pairs"):
        mole.OnlineRegressor().explain_one([1.0])
    with pytest.raises(ValueError, match="there are no labels"):
        model.explain_one({"load": 1.0, "valve": "open"}, label="a")


# Anomalies.


def test_the_tail_of_one_student_t_is_two_sided():
    one = [np.array([value]) for value in (1.0, 2.0, 3.0, 5.0)]
    for y in (2.0, 2.5, -4.0, 40.0):
        assert mixture_tail(y, *one) == pytest.approx(2 * stats.t(5).sf(abs(y - 2) / 3), rel=1e-6)


def test_the_tail_of_several_peaks_is_that_of_the_density():
    """The probability of {t: f(t) <= f(y)}, by a fine sum over the line; between two peaks is improbable too."""
    weights, mean, scale = np.array([0.6, 0.3, 0.1]), np.array([-4.0, 4.0, 0.0]), np.array([1.0, 0.5, 6.0])
    freedom = np.array([8.0, 30.0, 4.0])
    line = np.linspace(-400, 400, 2_000_001)

    def density(t):
        return stats.t.pdf(np.asarray(t)[..., None], freedom, mean, scale) @ weights

    values = density(line)
    for y in (-4.2, 4.1, 0.0, 1.0, -7.0, 9.0, 25.0):
        below = values[values <= density(y)].sum() * (line[1] - line[0])
        assert mixture_tail(y, weights, mean, scale, freedom) == pytest.approx(below, abs=2e-3)
    assert mixture_tail(0.0, weights, mean, scale, freedom) < mixture_tail(5.0, weights, mean, scale, freedom)


def test_scores_of_ordinary_targets_are_uniform():
    """Of Gaussian targets, as many scores are beyond a level as it says, within three standard deviations."""
    rng, model, scores = np.random.default_rng(0), mole.OnlineRegressor(memory=64), []
    for t in range(600):
        x = rng.normal(size=2)
        y = x[0] - 2 * x[1] + 0.5 * rng.normal()
        if t >= 100:
            scores.append(model.anomaly_score_one(x, y))
        model.learn_one(x, y)
    for level in (0.5, 0.9, 0.99):
        beyond, most = np.mean(np.array(scores) > level), 3 * np.sqrt(level * (1 - level) / len(scores))
        assert abs(beyond - (1 - level)) < most
    assert model.anomaly_score_one([0.0, 0.0], 5.0) > 0.9999


def test_several_targets_count_as_one():
    rng, model, scores = np.random.default_rng(3), mole.OnlineRegressor(memory=64), []
    for t in range(250):
        x = rng.normal(size=2)
        y = [x[0], x[1], x[0] - x[1]] + 0.3 * rng.normal(size=3)
        if t >= 100:
            scores.append(model.anomaly_score_one(x, y))
        model.learn_one(x, y)
    assert abs(np.mean(np.array(scores) > 0.9) - 0.1) < 3 * np.sqrt(0.09 / 150)
    assert model.anomaly_score_one([0.0, 0.0], [0.0, 0.0, 4.0]) > 0.999


def test_the_score_of_a_label_is_what_is_more_probable():
    chances = {"a": 0.5, "b": 0.3, "c": 0.2}
    assert [label_score(chances, label) for label in "abcd"] == pytest.approx([0.0, 0.5, 0.8, 1.0])
    model = mole.OnlineClassifier(memory=64)
    assert model.anomaly_score_one([1.0], "a") == 0.0
    for k in range(60):
        model.learn_one([float(k % 2)], "odd" if k % 2 else "even")
    assert model.anomaly_score_one([1.0], "odd") == 0.0
    assert model.anomaly_score_one([1.0], "even") == pytest.approx(model.predict_proba_one([1.0])["odd"])
    assert model.anomaly_score_one([1.0], "new") == 1.0


def test_nothing_is_odd_while_nothing_is_known():
    assert mole.OnlineRegressor().anomaly_score_one([1.0], 1e6) == 0.0


def test_a_network_scores_by_a_normal_distribution():

    model = mole.OnlineRegressor(mole.Static(tiny_prior(jax.random.key(0), dx=2, dy=1)))
    x = np.array([0.1, 0.2], np.float32)
    expected = model._learner.predict(model._state, jax.numpy.asarray(x))
    far = model.anomaly_score_one(x, float(expected.mean[0] + 1.96 * expected.scale[0]))
    assert far == pytest.approx(0.95, abs=1e-3)
