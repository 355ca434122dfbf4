"""`OnlineClassifier`: labels of all kinds, late labels, probabilities, regimes, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mole._types import Trajectory
from mole.estimators import OnlineClassifier, OnlineRegressor, fit_prior
from mole.files.checkpoint import CheckpointError
from mole.readout import ReadoutConfig

SMALL = {"max_tasks": 4, "candidates": 4, "drift": (1e-6, 1e-2)}  # one compilation per number of outputs
DIRECTIONS = np.array([[1.0, 0.0], [-1.0, 0.4], [0.0, -1.0], [0.3, 1.0], [-0.5, -0.8]])


def classifier(prior: Any = None, **settings: Any) -> OnlineClassifier:
    return OnlineClassifier(prior, **{"width": 8, "mixture": SMALL, **settings})


def pairs(n: int, classes: int, seed: int = 0) -> list[tuple[np.ndarray, int]]:
    """The class is the direction that points most as x does; no point is close to a border."""
    rng, out = np.random.default_rng(seed), []
    while len(out) < n:
        x = 2 * rng.normal(size=2)
        first, second = np.sort(DIRECTIONS[:classes] @ x)[-1:-3:-1]
        if first - second > 0.5:
            out.append((x, int(np.argmax(DIRECTIONS[:classes] @ x))))
    return out


def follow(model: OnlineClassifier, stream: Any) -> np.ndarray:
    """Whether each label was predicted before it was learned; probabilities are checked on the way."""
    right = []
    for x, y in stream:
        chances = model.predict_proba_one(x)
        assert list(chances) == model.classes_
        if chances:
            assert sum(chances.values()) == pytest.approx(1.0) and min(chances.values()) >= 0
            assert model.predict_one(x) == max(chances, key=chances.__getitem__)
        right.append(model.predict_one(x) == y)
        assert model.learn_one(x, y) is model
    return np.asarray(right)


def file_of(model: OnlineClassifier, folder: Path) -> bytes:
    """All that the model knows: its file. How many pairs it refused is no part of that."""
    refused = model._faults.pop("refused", 0)
    model.save(folder / "fingerprint.mole")
    if refused:
        model._faults["refused"] = refused
    return (folder / "fingerprint.mole").read_bytes()


def test_before_the_first_label_there_is_none() -> None:
    model = classifier()
    assert model.predict_one([1.0, 2.0]) is None and model.predict_proba_one([1.0, 2.0]) == {}
    assert model.classes_ == [] and model.predict_proba(np.ones((3, 2))).shape == (3, 0)


def test_first_labels_are_predicted_by_their_shares() -> None:
    model = classifier()
    for label in ("a", "b", "a"):
        model.learn_one([0.0, 1.0], label)
    assert model.predict_proba_one([5.0, 5.0]) == pytest.approx({"a": 2 / 3, "b": 1 / 3})


def test_one_label_alone_is_certain_and_a_second_may_come_at_any_time() -> None:
    model = classifier()
    for x, _ in pairs(12, 2):
        model.learn_one(x, "same")
        assert model.predict_proba_one(x) == {"same": pytest.approx(1.0)}
    assert np.mean(follow(model, [(x, ("same", "new")[y]) for x, y in pairs(80, 2)])[40:]) > 0.85


@pytest.mark.parametrize(
    "labels",
    [("no", "yes"), (False, True), (7, -3), (np.str_("u"), np.str_("v")), (np.int64(1), np.int64(2))],
)
def test_two_classes_with_labels_of_all_types(labels: tuple[Any, Any]) -> None:
    model = classifier()
    right = follow(model, [(x, labels[y]) for x, y in pairs(60, 2)])
    assert np.mean(right[20:]) > 0.9
    assert set(model.classes_) == set(labels) and {type(label) for label in model.classes_} <= {
        int,
        str,
        bool,
    }
    x = np.stack([x for x, _ in pairs(20, 2, seed=3)])
    truth = [labels[y] for _, y in pairs(20, 2, seed=3)]
    assert model.score(x, truth) > 0.9
    assert model.predict_proba(x).shape == (20, 2)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1.0)


def test_labels_may_appear_late_and_beyond_a_power_of_two(tmp_path: Path) -> None:
    """Two classes, then a third and a fourth at once, then a fifth: 1, 4 and 8 outputs."""
    model = classifier()
    stream = [*pairs(40, 2), *pairs(60, 4, seed=1), *pairs(120, 5, seed=2)]
    late = next(i for i, (_, y) in enumerate(stream) if y == 4)
    follow(model, stream[:late])
    before = model.n_seen_
    model.learn_one(*stream[late])
    assert model.n_seen_ == before + 1 and len(model.classes_) == 5
    assert len(model.history_["loss"]) == before + 1
    right = follow(model, stream[late + 1 :])
    assert np.mean(right[-40:]) > 0.8
    model.save(tmp_path / "model.mole")
    loaded = OnlineClassifier.load(tmp_path / "model.mole")
    for x, _ in pairs(5, 5, seed=9):
        assert loaded.predict_proba_one(x) == model.predict_proba_one(x)


def test_a_late_label_and_a_late_column_may_come_together() -> None:
    model = classifier()
    for x, y in pairs(20, 2):
        model.learn_one({"a": x[0], "b": x[1]}, y)
    wide = {f"new {i}": 1.0 for i in range(4)}
    model.learn_one({"a": 0.0, "b": 0.0, **wide}, 1)
    for place in range(2, 6):  # new rooms: the columns are in the schema from then on
        model.learn_one({"a": 0.0, "b": 0.0, **wide}, place)
        assert model.classes_[-1] == place
    assert model.n_seen_ == 25 and sum(model.predict_proba_one({"a": 1.0}).values()) == pytest.approx(1.0)


def test_permuted_labels_are_regimes_that_are_recalled() -> None:
    """Three streams; in one of them the refresh at 256 pairs may split a regime in two."""
    first, returned, recalled = [], [], 0
    for seed in (0, 10, 20):
        model, right = classifier(), []
        for visit in range(6):
            turned = [(x, (y + visit % 2) % 3) for x, y in pairs(50, 3, seed=seed + visit)]
            right.append(follow(model, turned)[3:18])  # three pairs to notice
        first.append(right[1])
        returned += right[3:]
        ends = model.history_["task"].reshape(6, 50)[:, -1]
        recalled += len(set(ends[[1, 3, 5]])) == len(set(ends[[2, 4]])) == 1 and ends[4] != ends[5]
        assert model.responsibilities_.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.mean(returned) > 0.85 and np.mean(returned) > np.mean(first) + 0.2
    assert recalled >= 2


def test_noisy_labels_make_probabilities_that_say_so() -> None:
    rng, model, chances = np.random.default_rng(0), classifier(memory=64), []
    for _ in range(400):
        x, label = rng.normal(size=2), bool(rng.random() < 0.8)
        chances.append(model.predict_proba_one(x).get(True, 0.5))
        model.learn_one(x, label)
    assert np.mean(chances[200:]) == pytest.approx(0.8, abs=0.07)
    assert model.n_tasks_ <= 2  # noise is no regime


@pytest.mark.parametrize("n", [0, 3, 5, 20])
def test_a_saved_model_goes_on_bit_for_bit(n: int, tmp_path: Path) -> None:
    stream = [(x, ("a", "b")[y]) for x, y in pairs(n + 20, 2)]
    model = classifier(seed=2)
    for x, y in stream[:n]:
        model.learn_one(x, y)
    model.save(tmp_path / "model.mole")
    loaded = OnlineClassifier.load(tmp_path / "model.mole")
    for x, y in stream[n:]:
        assert loaded.predict_proba_one(x) == model.predict_proba_one(x)
        model.learn_one(x, y), loaded.learn_one(x, y)
    assert file_of(loaded, tmp_path) == file_of(model, tmp_path)


def test_many_are_one_after_the_other(tmp_path: Path) -> None:
    stream = pairs(20, 2)
    x, y = np.stack([x for x, _ in stream]), np.asarray([y for _, y in stream])
    one = classifier()
    for row, label in stream:
        one.learn_one(row, label)
    for model in (classifier().learn_many(x, y), classifier().partial_fit(x, y.tolist())):
        assert file_of(model, tmp_path) == file_of(one, tmp_path)
    with pytest.raises(ValueError, match="got 20 rows and 19 labels"):
        one.learn_many(x, y[:-1])


@pytest.mark.usefixtures("unchecked")
def test_wrong_labels_and_rows_change_nothing(tmp_path: Path) -> None:
    for n in (0, 2, 6):
        model = classifier()
        for x, y in pairs(n, 2):
            model.learn_one(x, y)
        before = file_of(model, tmp_path)
        for x, y, message in (
            ([0.0, 1.0], None, "got the label None of type NoneType; expected an int, a str or a bool"),
            ([0.0, 1.0], 1.5, r"got the label 1\.5 of type float"),
            ([0.0, 1.0], np.nan, "got the label nan"),
            ([0.0, 1.0], ["a"], r"got the label \['a'\] of type list"),
            ({"a": object()}, "new", "column 'a'"),
            ([[0.0, 1.0]], "new", "expected one row"),
        ):
            with pytest.raises(ValueError, match=message):
                model.learn_one(x, y)
            assert file_of(model, tmp_path) == before, (n, x, y)


@pytest.fixture(scope="module")
def prior() -> Any:
    """Three classes, from a history whose labels are turned from segment to segment."""
    data = []
    for turn in range(4):
        stream = pairs(30, 3, seed=turn)
        x, y = np.stack([x for x, _ in stream]), np.asarray([(y + turn) % 3 for _, y in stream])
        data.append(Trajectory(x.astype(np.float32), np.eye(3, dtype=np.float32)[y]))
    config = ReadoutConfig(window=16, iterations=60, batch=8)
    return fit_prior(data, kind="classification", width=6, labels=("a", "b", "c"), config=config)


def test_with_a_prior_its_labels_are_known_and_no_others(prior: Any, tmp_path: Path) -> None:
    model = classifier(prior)
    assert model.classes_ == ["a", "b", "c"]
    assert sum(model.predict_proba_one([0.0, 1.0]).values()) == pytest.approx(1.0)
    right = follow(model, [(x, "abc"[y]) for x, y in pairs(60, 3, seed=8)])
    assert np.mean(right[20:]) > 0.85
    before = file_of(model, tmp_path)
    with pytest.raises(ValueError, match=r"got the label 'd'; expected one of \['a', 'b', 'c'\]"):
        model.learn_one([0.0, 1.0], "d")
    assert file_of(model, tmp_path) == before
    loaded = OnlineClassifier.load(tmp_path / "fingerprint.mole")
    for x, y in pairs(5, 3, seed=9):
        assert loaded.learn_one(x, "abc"[y]).predict_proba_one(x) == model.learn_one(
            x, "abc"[y]
        ).predict_proba_one(x)


def test_a_prior_of_two_classes(prior: Any) -> None:
    stream = pairs(40, 2)
    x, y = np.stack([x for x, _ in stream]).astype(np.float32), np.asarray([y for _, y in stream])
    config = ReadoutConfig(window=16, iterations=5, batch=4)
    two = fit_prior(
        [Trajectory(x, np.eye(2, dtype=np.float32)[y])],
        kind="classification",
        width=6,
        labels=(0, 1),
        config=config,
    )
    assert np.mean(follow(classifier(two), pairs(50, 2, seed=4))[15:]) > 0.85


@pytest.mark.usefixtures("unchecked")
def test_priors_of_another_kind_are_refused(prior: Any) -> None:
    for wrong in (prior.prior, {}):
        with pytest.raises(
            (ValueError, TypeError), match=r"got a prior without labels; expected one from mole\.fit_prior"
        ):
            OnlineClassifier(wrong)


def test_files_of_strangers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.mole"
    with pytest.raises(FileNotFoundError):
        OnlineClassifier.load(path)
    OnlineRegressor().save(path)
    with pytest.raises(
        CheckpointError, match=r"holds a 'online-regressor', expected a.? 'online-classifier'"
    ):
        OnlineClassifier.load(path)
    path.write_bytes(b"label,x\n1,2\n")
    with pytest.raises(CheckpointError, match="mole"):
        OnlineClassifier.load(path)
