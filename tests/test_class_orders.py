"""Labels in any order: sorted, in blocks, rare, arriving one by one; and regimes among them, which are still found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import bits
from mole.estimators import OnlineClassifier
from mole.learning.models import Normalizer
from mole.readout import ReadoutMixture, ReadoutPrior
from mole.readout.order import first_order, mixed_runs, noticed


def clouds(classes: int, inputs: int, seed: int) -> tuple[np.random.Generator, np.ndarray]:
    """Centres of classes, at least three standard deviations apart."""
    rng, centres = np.random.default_rng(seed), np.zeros((0, inputs))
    while len(centres) < classes:
        new = 3.0 * rng.normal(size=(1, inputs))
        if np.all(np.linalg.norm(centres - new, axis=1) > 3.0):
            centres = np.concatenate([centres, new])
    return rng, centres


def near(centres: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return centres[labels] + rng.normal(size=(len(labels), centres.shape[1]))


def learned(x: np.ndarray, y: np.ndarray, **settings: Any) -> OnlineClassifier:
    """Without a training of features, unless they are asked for: the order is learned from by the mixture."""
    return OnlineClassifier(**{"memory": 64, **settings}).learn_many(x, y.tolist())


# The order of labels.


def untold(labels: Any, classes: int) -> np.ndarray:
    """Whether each pair told nothing."""
    rows = np.eye(classes, dtype=np.float32)[np.asarray(labels)]
    return np.asarray(_scanned(jnp.asarray(rows if classes > 2 else rows[:, 1:])).told) == 0


@jax.jit
def _scanned(rows: jax.Array) -> Any:
    def step(order: Any, row: Any) -> Any:
        return noticed(order, row)

    return jax.lax.scan(step, first_order(rows.shape[1]), rows)[1]


def slow_order(labels: Any, classes: int) -> np.ndarray:
    """After the description, in floats: two sources of labels, and a hidden switch between them."""
    runs, recent, seen, told = 0.01, [1 / classes] * classes, [0] * classes, []
    for label in labels:
        mixed = (seen[label] + 0.5) / (sum(seen) + 0.5 * classes)
        drawn = runs * (0.9 * recent[label] + 0.1 * mixed)
        explained = drawn / (drawn + (1 - runs) * mixed)
        new = seen[label] == 0 and sum(seen) >= 10
        told.append(0.0 if new or explained > 0.9 else 1.0)
        runs = runs if new else 0.99 * explained + 0.01 * (1 - explained)
        recent = [share + ((place == label) - share) / 5 for place, share in enumerate(recent)]
        seen[label] += 1
    return np.asarray(told) == 0


@pytest.mark.parametrize("classes", [2, 5])
def test_the_order_is_judged_as_it_is_described(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = np.concatenate([rng.integers(classes - 1, size=60), np.repeat(np.arange(classes), 20)])
    told, expected = untold(labels, classes), slow_order(labels, classes)
    np.testing.assert_array_equal(told, expected)
    assert 0 < expected.sum() < len(labels)


@pytest.mark.parametrize("classes", [2, 3, 10, 40])
def test_mixed_labels_tell_something_nearly_always(classes: int) -> None:
    for seed in range(5):
        labels = np.random.default_rng(seed).integers(classes, size=2000)
        assert np.mean(untold(labels, classes)[100:]) < (
            0.02 if classes == 40 else 0.01
        )  # some labels are new


def test_rare_labels_are_not_taken_for_runs() -> None:
    for seed, share in enumerate((0.3, 0.1, 0.01, 0.001)):
        labels = (np.random.default_rng(seed).random(3000) < share).astype(int)
        assert np.mean(untold(labels, 2)) < 0.02


def test_runs_tell_nothing_from_their_third_pair_on() -> None:
    sorted_ = untold(np.repeat(np.arange(5), 200), 5)
    assert not sorted_[:10].any()  # of one label alone nobody knows whether it is a run
    assert all(np.all(sorted_[start + 2 : start + 200]) for start in (200, 400, 600, 800))
    pairs = np.concatenate([np.random.default_rng(1).choice([k, k + 1], 200) for k in (0, 2, 4)])
    assert np.mean(untold(pairs, 6)[220:]) > 0.9  # a batch of two classes is sorted too


def test_places_are_mixed_only_if_labels_come_in_runs() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 7):
        eye, places = np.eye(classes), np.arange(100, 400)
        mixed = eye[rng.integers(classes, size=500)]
        assert mixed_runs(mixed, places) is places
        blocks = eye[np.arange(500) // 25 % classes]
        found = mixed_runs(blocks, places)
        assert np.any(found != places) and np.array_equal(np.sort(found), places)
        assert np.array_equal(mixed_runs(blocks, places), found)
        assert mixed_runs(eye[np.zeros(500, int)], places) is places


def test_a_rare_label_counts_as_several_pairs() -> None:
    labels = np.zeros(3000, int)
    labels[999::1000] = 1
    times = np.asarray(_scanned(jnp.eye(2, dtype=jnp.float32)[labels][:, 1:]).times)
    assert set(times[labels == 0].tolist()) == {1.0}
    np.testing.assert_allclose(times[labels == 1], [999 / 20, 1998 / 2 / 20, 2997 / 3 / 20], rtol=1e-6)
    assert float(_scanned(jnp.eye(3, dtype=jnp.float32)[jnp.asarray([0] * 2500 + [1])]).times[-1]) == 100.0


# In the mixture.


def test_in_a_run_a_pair_is_learned_and_time_stands_still() -> None:
    unit = Normalizer(jnp.zeros(2), jnp.ones(2)), Normalizer(jnp.full(3, 0.3), jnp.full(3, 0.4))
    prior = ReadoutPrior.untrained(width=3, depth=1, x_norm=unit[0], y_norm=unit[1], key=jax.random.key(0))
    learner = ReadoutMixture(prior, max_tasks=2, candidates=3, classes=True)
    update = eqx.filter_jit(learner.update)
    rng, before, state = np.random.default_rng(0), learner.init(), learner.init()
    for label in [0] * 15 + [1] * 10:
        x = jnp.asarray(rng.normal(size=2), jnp.float32)
        before, (state, _) = state, update(state, x, jnp.eye(3)[label])
    assert before.order is not None and float(before.order.runs) > 0.9
    np.testing.assert_allclose(state.probability, before.probability, atol=1e-6)
    for name in ("switches", "steps", "kind_counts", "next_task"):
        assert bits(getattr(state, name)) == bits(getattr(before, name)), name
    lead = int(state.lead)
    gained = state.beliefs.shape[lead] - before.beliefs.shape[lead]
    np.testing.assert_allclose(gained, 0.5 * float(state.probability[lead]), rtol=0.05)
    # The covariance shrinks at all rates of drift: none of it is forgotten.
    cov = [np.trace(np.asarray(s.beliefs.cov[lead]), axis1=1, axis2=2) for s in (before, state)]
    assert np.all(cov[1] < cov[0])
    assert float(jax.nn.softmax(state.rate_scores[lead])[0]) > 0.9


def test_a_regression_has_no_order() -> None:
    unit = Normalizer(jnp.zeros(2), jnp.ones(2))
    prior = ReadoutPrior.untrained(width=3, depth=1, x_norm=unit, y_norm=unit, key=jax.random.key(0))
    assert ReadoutMixture(prior).init().order is None


# In the classifier.


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_batch_of_one_class_does_not_take_over(seed: int) -> None:
    rng, centres = np.random.default_rng(seed), np.array([[0.0, 0.0], [1.0, -1.0], [2.0, -2.0], [3.0, -3.0]])
    batches = [rng.choice(classes, n) for n, classes in ((40, [1]), (100, [1, 3]), (60, [2]))]
    y = np.concatenate(batches)
    model = learned(centres[y] + 0.3 * rng.normal(size=(200, 2)), y, memory=4096)
    asked = rng.choice([1, 2, 3], 300)
    assert model.score(centres[asked] + 0.3 * rng.normal(size=(300, 2)), asked) >= 0.95
    assert model.n_tasks_ == 1


@pytest.mark.parametrize("seed", [0])  # a minute each
def test_sorted_and_blocks_are_as_good_as_mixed(seed: int) -> None:
    rng, centres = clouds(5, 4, seed)
    y = np.repeat(np.arange(5), 200)
    x, asked = near(centres, y, rng), rng.integers(5, size=400)
    there = near(centres, asked, rng)
    blocks = np.arange(1000).reshape(5, 4, 50).swapaxes(0, 1).ravel()
    # The inputs are scaled by the kept rows, which must be more than those of the first class.
    orders = (rng.permutation(1000), np.arange(1000), blocks)
    scores = [learned(x[o], y[o], memory=1024).score(there, asked) for o in orders]
    assert scores[0] > 0.9 and min(scores[1:]) > scores[0] - 0.05, scores


@pytest.mark.parametrize("seed", [0, 1])
def test_turned_labels_are_regimes_in_any_order(seed: int) -> None:
    """Labels that are turned at every visit, mixed or in blocks of ten: two tasks that are recalled."""
    rng, centres = clouds(3, 3, seed)
    for base in (rng.integers(3, size=600), np.tile(np.repeat(np.arange(3), 10), 20)):
        y = (base + np.repeat(np.arange(6) % 2, 100)) % 3
        ends = learned(near(centres, base, rng), y).history_["task"].reshape(6, 100)[:, -1]
        assert len(set(ends[[2, 4]])) == len(set(ends[[3, 5]])) == 1 and ends[4] != ends[5], ends


@pytest.mark.parametrize("seed", [0, 1])
def test_a_label_of_one_row_in_a_thousand_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], 6.0 * np.array([np.cos(seed), np.sin(seed)])])
    y = np.zeros(3000, int)
    y[rng.choice(3000, 3, replace=False)] = 1
    model = learned(near(centres, y, rng), y)
    rare, usual = (model.predict(near(centres, np.full(200, label), rng)) for label in (1, 0))
    assert np.mean(rare == 1) > 0.5 and np.mean(usual == 0) > 0.98


@pytest.mark.parametrize("seed", [0])  # a minute each
def test_classes_may_arrive_one_by_one(seed: int) -> None:
    rng, centres = clouds(12, 6, seed)
    y = np.array(
        [t // 30 if t % 30 == 0 or rng.random() < 0.3 else rng.integers(t // 30 + 1) for t in range(360)]
    )
    x, asked = near(centres, y, rng), rng.integers(12, size=400)
    there, mixed = near(centres, asked, rng), rng.permutation(360)
    scores = [learned(x[o], y[o], memory=512).score(there, asked) for o in (np.arange(360), mixed)]
    assert scores[0] > scores[1] - 0.05, scores


def test_a_file_of_this_version_keeps_the_order(tmp_path: Path) -> None:
    rng, centres = clouds(3, 2, 0)
    y = np.repeat(np.arange(3), 30)
    model = learned(near(centres, y, rng), y)
    model.save(tmp_path / "model.mole")
    again = OnlineClassifier.load(tmp_path / "model.mole")
    assert bits(again._state.order) == bits(model._state.order) and float(again._state.order.runs) > 0.9
