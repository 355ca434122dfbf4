"""`OnlineRegressor`: predict and learn one row at a time, with a prior or from nothing, and go on from a file."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest

from mole.estimators import OnlineClassifier, OnlineRegressor, StreamPrior
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.learning.inner import LayerRate
from mole.learning.models import MLP, Normalizer
from mole.learning.prior import MetaPrior
from mole.online import Mixture
from mole.priors.file import save_prior
from mole.readout import ReadoutPrior
from mole.rows.encoding import RowEncoder

Pair = tuple[Any, float]
SMALL = {"max_tasks": 4, "candidates": 4, "drift": (1e-6, 1e-2)}  # one compilation for most tests
START = dt.datetime(2026, 1, 5, 6)


def regressor(prior: Any = None, **settings: Any) -> OnlineRegressor:
    return OnlineRegressor(prior, **{"width": 8, "mixture": SMALL, **settings})


def pairs(
    n: int, slopes: tuple[float, float] = (1.0, -2.0), seed: int = 0, noise: float = 0.05
) -> Iterator[Pair]:
    rng = np.random.default_rng(seed)
    for _ in range(n):
        x = rng.normal(size=2)
        yield x, float(x @ slopes + 0.5 + noise * rng.normal())


def learn(model: Any, stream: Any) -> Any:
    for x, y in stream:
        model.learn_one(x, y)
    return model


def follow(model: OnlineRegressor, stream: Any) -> np.ndarray:
    """What the model predicts before it learns each pair."""
    out = []
    for x, y in stream:
        out.append(model.predict_one(x))
        model.learn_one(x, y)
    return np.asarray(out)


def file_of(model: Any, folder: Path) -> bytes:
    """All that the model knows: its file. How many pairs it refused is no part of that."""
    refused = model._faults.pop("refused", 0)
    model.save(folder / "fingerprint.mole")
    if refused:
        model._faults["refused"] = refused
    return (folder / "fingerprint.mole").read_bytes()


def meta_prior() -> MetaPrior:
    """y = W max(0, [x, -x]): W is zero, and learned so fast that a window nearly solves a linear regression."""
    model = MLP(2, 1, width=4, depth=1, key=jax.random.key(0))
    weights = (jnp.concatenate([jnp.eye(2), -jnp.eye(2)], axis=1), jnp.zeros((4, 1)))
    model = eqx.tree_at(lambda m: [layer.weight for layer in m.layers], model, weights)
    slow, fast = LayerRate(model, 1e-4), LayerRate(model, 0.4)
    rate = eqx.tree_at(lambda r: r.raw, slow, slow.raw.at[1].set(fast.raw[1]))
    norms = {"x_norm": Normalizer.identity(2), "y_norm": Normalizer.identity(1)}
    return MetaPrior(model, inner_rate=rate, window=8, residual_scale=0.3, **norms)


def readout_prior(dx: int = 2, dy: int = 1) -> ReadoutPrior:
    norms = {"x_norm": Normalizer.identity(dx), "y_norm": Normalizer.identity(dy)}
    return ReadoutPrior.untrained(width=4, depth=1, **norms, key=jax.random.key(2))


def stream_prior() -> StreamPrior:
    encoder = RowEncoder()
    for row in ({"a": 1.0, "b": None}, {"a": 2.0, "b": 0.5}):
        encoder.observe(row)
    return StreamPrior(readout_prior(3), schema=encoder.schema())  # a, b, and whether b is missing


# Before there is much to know.


def test_before_the_first_pairs_nothing_is_known_and_that_is_said() -> None:
    model = regressor()
    assert model.predict_one([1.0, 2.0]) == 0.0 and isinstance(model.predict_one([1.0, 2.0]), float)
    assert model.predict_interval_one([1.0, 2.0]) == (-np.inf, np.inf)
    assert (model.task_, model.n_tasks_, model.n_seen_, model.learner_) == (0, 1, 0, None)
    assert model.responsibilities_.tolist() == [1.0] and model.tasks_.tolist() == [0]
    assert all(len(values) == 0 for values in model.history_.values())
    with pytest.raises(ValueError, match="observe rows first"):
        _ = model.schema_
    with pytest.raises(ValueError, match=r"importance_ needs learned pairs; got 0"):
        model.importance_(0)


def test_the_first_pairs_are_predicted_by_their_mean() -> None:
    model, targets = regressor(), []
    for x, y in pairs(3):
        model.learn_one(x, y)
        targets.append(y)
        assert model.predict_one(x) == pytest.approx(np.mean(targets), rel=1e-6)
    assert np.isnan(model.history_["loss"]).all()


def test_a_few_pairs_are_enough_for_a_linear_map() -> None:
    stream = list(pairs(40))
    predictions = follow(regressor(), stream)
    errors = np.abs(predictions - [y for _, y in stream])
    assert np.mean(errors[12:]) < 0.2 and np.mean(errors[30:]) < 0.12


def test_numbers_and_vectors_of_one_entry_are_the_same(tmp_path: Path) -> None:
    numbers, vectors = regressor(), regressor()
    for value in (1, 2.5, np.float64(-0.5), True, 4, 0.3):
        numbers.learn_one(value, 2 * value)
        vectors.learn_one([value], np.asarray([2 * value]))
    assert file_of(numbers, tmp_path) == file_of(vectors, tmp_path)


# Predict, then learn.


def test_later_pairs_never_change_earlier_predictions() -> None:
    same, left, right = list(pairs(30)), list(pairs(10, (9.0, 9.0), seed=1)), list(pairs(10, seed=2))
    one, other = follow(regressor(), same + left), follow(regressor(), same + right)
    assert one[:30].tobytes() == other[:30].tobytes()
    assert one[31:].tobytes() != other[31:].tobytes()


def test_predicting_changes_nothing(tmp_path: Path) -> None:
    model = learn(regressor(), pairs(20))
    before = file_of(model, tmp_path)
    for x, _ in pairs(5, seed=8):
        model.predict_one(x), model.predict_interval_one(x), model.importance_(0), model.history_
    model.score(np.ones((2, 2)), [0.0, 1.0])
    assert file_of(model, tmp_path) == before


def test_the_same_seed_gives_the_same_model_and_another_one_does_not(tmp_path: Path) -> None:
    one, again, other = (learn(regressor(seed=seed), pairs(20)) for seed in (0, 0, 1))
    assert file_of(one, tmp_path) == file_of(again, tmp_path)
    assert one.predict_one([3.0, 1.0]) != other.predict_one([3.0, 1.0])


def test_many_rows_are_one_after_the_other(tmp_path: Path) -> None:
    stream = list(pairs(20))
    x, y = np.stack([x for x, _ in stream]), np.asarray([y for _, y in stream])
    whole = file_of(learn(regressor(), stream), tmp_path)
    assert file_of(regressor().learn_many(x, y), tmp_path) == whole
    assert (
        file_of(regressor().partial_fit(x[:7].tolist(), y[:7, None]).partial_fit(x[7:], y[7:]), tmp_path)
        == whole
    )
    framed = regressor().learn_many(pandas.DataFrame(x, columns=["x0", "x1"]), y)
    dicts = learn(regressor(), [({"x0": a, "x1": b}, t) for (a, b), t in zip(x, y, strict=True)])
    assert file_of(framed, tmp_path) == file_of(dicts, tmp_path)
    model = regressor().learn_many(x, y)
    expected = [model.predict_one(row) for row in x]
    np.testing.assert_array_equal(model.predict(x), expected)
    r2 = 1 - np.sum((y - expected) ** 2) / np.sum((y - y.mean()) ** 2)
    assert model.score(x, y) == pytest.approx(r2) == pytest.approx(model.score(x, y[:, None]))


def test_wrong_batches_are_refused() -> None:
    model = regressor()
    for x, y, message in (
        (np.ones((3, 2)), [1.0, 2.0], "got 3 rows and 2 targets; expected as many of each"),
        (np.ones(3), [1.0, 2.0, 3.0], r"array of shape \(3,\); expected rows \[n, dx\]"),
        ({"a": 1.0}, [1.0], "got dict; expected several rows"),
        ("abc", [1.0], "got str; expected several rows"),
        (np.ones((1, 2)), 1.0, "expected one target per row"),
    ):
        with pytest.raises(ValueError, match=message):
            model.learn_many(x, y)
    assert model.n_seen_ == 0


def test_several_targets() -> None:
    model, rng = regressor(), np.random.default_rng(0)
    for _ in range(40):
        x = rng.normal(size=2)
        model.learn_one(x, [x[0], 100.0 - 50 * x[1]])
    np.testing.assert_allclose(model.predict_one([0.5, -0.5]), [0.5, 125.0], rtol=0.1)
    low, high = model.predict_interval_one([0.5, -0.5])
    assert low.shape == high.shape == (2,) and (low < high).all()
    assert model.predict([[0.0, 0.0], [1.0, 1.0]]).shape == (2, 2)
    importance = model.importance_(0)
    assert importance.shape == (2, 2)
    assert importance[0, 0] > 5 * importance[0, 1] and importance[1, 1] > 5 * importance[1, 0]
    with pytest.raises(ValueError, match=r"got y=1\.0; expected 2 finite numbers"):
        model.learn_one([0.0, 0.0], 1.0)


# Tasks.


def regimes(visits: int, length: int, seed: int = 5) -> Iterator[tuple[int, Any, float]]:
    for visit in range(visits):
        for x, y in pairs(length, ((1.5, -1.0), (-1.5, 1.0))[visit % 2], seed=seed + visit):
            yield visit, x, y


def test_task_numbers_outlive_every_refresh() -> None:
    """Pairs 128 on are predicted by a trained prior; refreshes come at 32, 64 and 128, amid visits of 25."""
    model, told, errors = regressor(), [], []
    for visit, x, y in regimes(7, 25):
        errors.append((visit, abs(model.predict_one(x) - y)))
        model.learn_one(x, y)
        told.append((visit, model.task_))
        p = model.responsibilities_
        assert p.shape == model.tasks_.shape and p.sum() == pytest.approx(1.0, abs=1e-5)
    for visit in range(7):
        numbers = [task for v, task in told if v == visit][8:]  # a few pairs to notice
        assert set(numbers) == {visit % 2}, (visit, numbers)
    assert model.n_tasks_ == 2 and sorted(n for n in model.tasks_ if n >= 0) == [0, 1]
    history = model.history_
    assert history["task"].tolist() == [task for _, task in told]
    assert (history["probability"] <= 1.0 + 1e-6).all() and history["spawned"].dtype == bool
    first = np.mean([e for v, e in errors if v == 1][1:7])
    returned = np.mean([e for v, e in errors if v >= 2][1:7])
    assert returned < 0.5 * first
    slopes = [model.importance_(task) for task in (0, 1)]
    assert all(s.shape == (1, 2) and s[0, 0] > s[0, 1] for s in slopes)
    with pytest.raises(KeyError):
        model.importance_(99)


def test_a_stationary_stream_is_one_task_from_the_first_pair_to_the_last() -> None:
    model = regressor()
    for x, y in pairs(70):
        model.learn_one(x, y)
        assert (model.task_, model.n_tasks_) == (0, 1)


def test_the_input_that_matters_is_the_important_one() -> None:
    model = learn(regressor(), pairs(50, (0.0, 3.0)))
    importance = model.importance_(model.task_)
    assert importance.shape == (1, 2)
    assert (
        importance[0, 1] == pytest.approx(1.0, abs=0.15) and importance[0, 0] < 0.15
    )  # in standard deviations


def test_history_and_memory_are_bounded(tmp_path: Path) -> None:
    model = learn(regressor(history=7, memory=16), pairs(40))
    assert all(len(values) == 7 for values in model.history_.values()) and model.n_seen_ == 40
    assert len(model._rows) == len(model._targets) == len(model._tasks) == 16
    expected = [y for _, y in pairs(40)][-16:]
    np.testing.assert_allclose(np.ravel(list(model._targets)), expected, rtol=1e-6)
    assert learn(regressor(history=7, memory=16), pairs(40)).predict_one([1.0, 1.0]) == model.predict_one(
        [1.0, 1.0]
    )


# Rows of all kinds.


def rows(n: int, seed: int = 0) -> Iterator[tuple[dict[str, Any], float]]:
    """A colour that shifts y, an hour that turns it, a sensor with gaps, a constant, a late and a vanishing column."""
    rng = np.random.default_rng(seed)
    for t in range(n):
        colour, load, when = rng.choice(["red", "green", "blue"]), rng.normal(), START + dt.timedelta(hours=t)
        row: dict[str, Any] = {
            "colour": str(colour),
            "load": load,
            "at": when,
            "constant": 7,
            "on": bool(t % 2),
        }
        if t % 5 == 0:
            row["load"] = (None, np.nan, "", "NA")[t // 5 % 4]
        if t >= 20:
            row["late"] = rng.normal()
        if t < 30:
            row["early"] = 1.0
        shift = {"red": 0.0, "green": 2.0, "blue": -2.0}[str(colour)]
        known = 0.0 if t % 5 == 0 else load
        yield row, shift + known + 3.0 * row.get("late", 0.0) + 0.05 * rng.normal()


def test_rows_with_words_times_gaps_and_columns_that_come_and_go() -> None:
    model, stream = regressor(), list(rows(150))
    predictions, targets = follow(model, stream), np.asarray([y for _, y in stream])
    assert np.isfinite(predictions).all()
    # The late column, most of the variance, is known from the refresh at 32 on.
    rest = np.mean((predictions[70:] - targets[70:]) ** 2) / np.var(targets[70:])
    assert rest < 0.15, rest
    names = model.schema_.names
    assert {"colour=red", "load (missing)", "late", "constant", "at (sin of hour)"} <= set(names)
    importance = dict(zip(names, model.importance_(model.task_)[0], strict=True))
    assert importance["late"] > 3 * importance["constant"]
    assert np.isfinite(model.predict_one({"colour": "never seen"}))
    assert np.isfinite(model.predict_one({}))


def test_lists_may_hold_words_and_gaps() -> None:
    model, rng = regressor(), np.random.default_rng(1)
    for t in range(40):
        word, value = ("up", "down")[t % 2], None if t % 7 == 3 else rng.normal()
        model.learn_one([word, value], (5.0 if t % 2 else -5.0) + (value or 0.0))
    assert model.predict_one(["up", 0.0]) < -3 and model.predict_one(("down", 0.0)) > 3
    holes = learn(regressor(), [([np.nan if t % 4 == 0 else 1.0, t % 3], t % 3) for t in range(20)])
    assert holes.predict_one([np.nan, 2.0]) == pytest.approx(2.0, abs=0.3)


def test_rows_that_hold_nothing_yet_are_no_error() -> None:
    model = regressor()
    for _ in range(9):
        model.learn_one({"a": None}, 2.0)
        assert model.predict_one({"a": None}) == pytest.approx(2.0)
    for t in range(9, 40):
        model.learn_one({"a": t % 5}, 2.0 + t % 5)
    assert model.predict_one({"a": 4}) == pytest.approx(6.0, abs=0.5)


def test_values_of_all_sorts_survive_a_file(tmp_path: Path) -> None:
    odd = {
        "decimal": decimal.Decimal("1.5"), "infinite": np.inf, "when": np.datetime64("2026-01-05T06:00:00.000000000"),
        "day": dt.date(2026, 1, 5), "nat": np.datetime64("NaT"), "number": np.float32(0.1), "flag": np.bool_(True),
        "big": 10**400, "word": np.str_("a"),
    }  # fmt: skip
    model = learn(regressor(), [(odd, 1.0)] * 3)
    model.save(tmp_path / "model.mole")
    loaded = OnlineRegressor.load(tmp_path / "model.mole")
    assert learn(loaded, [(odd, 1.0)] * 3).predict_one(odd) == learn(model, [(odd, 1.0)] * 3).predict_one(odd)
    kinds = {column.name: column.kind for column in model.schema_.columns}
    assert (kinds["decimal"], kinds["when"], kinds["day"], kinds["nat"]) == (
        "number",
        "time",
        "time",
        "empty",
    )


@pytest.mark.parametrize(
    ("x_scale", "y_scale"), [(1e6, 1.0), (1e-6, 1.0), (1.0, 1e6), (1.0, 1e-6), (1e6, 1e-6)]
)
def test_units_do_not_matter(x_scale: float, y_scale: float) -> None:
    base = follow(regressor(), pairs(60))
    scaled = follow(regressor(), [(x_scale * x, y_scale * y) for x, y in pairs(60)]) / y_scale
    assert np.max(np.abs(scaled - base)) < 0.02 * np.std(base)


def test_a_large_offset_does_not_matter() -> None:
    base = follow(regressor(), pairs(40))
    moved = follow(regressor(), [(x + 1e4, y - 1e4) for x, y in pairs(40)]) + 1e4
    assert np.max(np.abs(moved[4:] - base[4:])) < 0.1 * np.std(base)


# Wrong pairs.

WRONG: list[tuple[Any, Any, str]] = [
    ([1.0, 2.0, 3.0], 1.0, r"got x of 3 values; expected 2, as before\. Nothing was learned; pass a dict"),
    ([[1.0, 2.0]], 1.0, r"got x=\[\[1\.0, 2\.0\]\]; expected one row.*learn_many takes several rows"),
    ([], 1.0, r"got x=\[\]; expected one row"),
    ([1.0, [2.0]], 1.0, r"got x=\[1\.0, \[2\.0\]\]"),
    ("text", 1.0, r"got x='text'"),
    (None, 1.0, r"got x=None"),
    ({"x0": [1.0], "x1": 0.0}, 1.0, "x0"),
    ({"new": object()}, 1.0, "new"),
    ({1: 2.0}, 1.0, "1"),
    ([1.0, 1j], 1.0, "x1"),
    ([1.0, 2.0], [1.0, 1.0], r"got y=\[1\.0, 1\.0\]; expected 1 finite numbers"),
    ([1.0, 2.0], np.nan, r"got y=nan; expected 1 finite numbers"),
    ([1.0, 2.0], np.inf, r"got y=inf"),
    ([1.0, 2.0], 1e300, r"got y=1e\+300"),
    ([1.0, 2.0], None, r"got y=None"),
    ([1.0, 2.0], "three", r"got y='three'"),
    ([1.0, 2.0], [[1.0]], r"got y=\[\[1\.0\]\]"),
    ([1.0, 2.0], [], r"got y=\[\]"),
]


@pytest.mark.parametrize("n", [2, 6], ids=["before there is a learner", "after"])
def test_a_wrong_pair_is_refused_and_nothing_is_learned(n: int, tmp_path: Path) -> None:
    model = learn(regressor(), pairs(n))
    before = file_of(model, tmp_path)
    for x, y, message in WRONG:
        with pytest.raises(ValueError, match=message):
            model.learn_one(x, y)
        assert file_of(model, tmp_path) == before, (x, y)
    assert model.faults_ == {"refused": len(WRONG)}
    following = list(pairs(20))[n:]
    assert file_of(learn(model, following), tmp_path) == file_of(learn(regressor(), pairs(20)), tmp_path)


def test_the_very_first_pair_is_checked_too(tmp_path: Path) -> None:
    model = regressor()
    for x, y in (([], 1.0), ([1.0], np.nan), (["a"], "b"), ({"a": object()}, [1.0, 2.0])):
        with pytest.raises(ValueError, match="OnlineRegressor got"):
            model.learn_one(x, y)
    assert file_of(model, tmp_path) == file_of(regressor(), tmp_path)
    model.learn_one([1.0, 2.0], [1.0, 2.0])  # sizes were not settled by what was refused


def test_a_plain_prior_wants_finite_vectors_of_its_size() -> None:
    model = learn(regressor(readout_prior()), pairs(3))
    for x in ([1.0], [np.nan, 1.0], {"a": 1.0, "b": 2.0}, [1e300, 0.0]):
        with pytest.raises(
            ValueError, match=r"got x=.*expected 2 finite numbers|got x of 1 values; expected 2"
        ):
            model.predict_one(x)
        with pytest.raises(ValueError, match="OnlineRegressor got x"):
            model.learn_one(x, 1.0)
    with pytest.raises(ValueError, match=r"expected 1 finite numbers"):
        regressor(readout_prior()).learn_one([1.0, 2.0], [1.0, 2.0])
    assert model.n_seen_ == 3


def test_wild_numbers_do_not_poison_it() -> None:
    model = learn(regressor(), pairs(40))
    for x, y in (([0.0, 0.0], 1e30), ([1e30, 0.0], 1.0), ([0.0, -np.inf], 1.0), ([0.0, 0.0], -3e38)):
        model.learn_one(x, y)
        assert np.isfinite(model.predict_one([1.0, 1.0]))
    predictions = follow(model, pairs(30, seed=9))
    errors = np.abs(predictions - [y for _, y in pairs(30, seed=9)])
    assert np.mean(errors[15:]) < 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": 1.0}, r"level=1\.0; expected a number above 0 and below 1"),
        ({"width": 0}, "width=0; expected a whole number from 1 on"),
        ({"memory": 3}, "memory=3; expected a whole number from 4 on"),
        ({"prior": readout_prior(), "mixture": {"max_tasks": 0}}, "ReadoutMixture got max_tasks=0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OnlineRegressor(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "high"}, r"level='high' \(str\); expected a number above 0 and below 1"),
        ({"memory": 2.5}, r"memory=2\.5 \(float\); expected a whole number from 4 on"),
        ({"history": True}, r"history=True \(bool\); expected a whole number from 1 on"),
        ({"mixture": [1]}, r"mixture=\[1\] \(list\); expected"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_of_another_type_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        OnlineRegressor(**settings)


@pytest.mark.usefixtures("unchecked")
def test_everything_that_can_be_learned_and_set_can_be_saved(tmp_path: Path) -> None:
    """JSON has neither infinity nor NaN, and knows no numbers but Python's."""
    settings = {
        "level": np.float32(0.5),
        "width": np.int64(8),
        "mixture": {**SMALL, "alpha": np.float32(1.5)},
    }
    model = OnlineRegressor(**settings)  # pyright: ignore[reportArgumentType]
    rows = [
        [1.0, np.inf],
        [1.0, None],
        [np.nan, -np.inf],
        ["a", 2.0],
        {"x0": np.inf, "x1": "inf"},
        [0.5, 1.0],
    ]
    for place, row in enumerate(rows):
        model.learn_one(row, float(place))
    model.save(tmp_path / "model.mole")
    back = OnlineRegressor.load(tmp_path / "model.mole")
    assert repr(list(back._rows)) == repr(list(model._rows))
    for row in rows:
        assert back.predict_one(row) == model.predict_one(row)
    assert file_of(learn(back, pairs(6)), tmp_path) == file_of(learn(model, pairs(6)), tmp_path)


@pytest.mark.usefixtures("unchecked")
def test_priors_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match=r"got a prior of type dict; expected one from mole\.fit_prior"):
        OnlineRegressor({})  # pyright: ignore[reportArgumentType]
    classes = StreamPrior(readout_prior(2, 2), "classification", labels=("a", "b"))
    with pytest.raises(ValueError, match=r"got a prior for classification; expected one for regression"):
        OnlineRegressor(classes)


# With a prior.


def test_with_a_meta_trained_prior_it_is_the_mixture_with_a_state_of_its_own() -> None:
    prior = meta_prior()
    model, learner = OnlineRegressor(prior, mixture={"margin": 3.0}), Mixture(prior, margin=3.0)
    state, predict, update = learner.init(), eqx.filter_jit(learner.predict), eqx.filter_jit(learner.update)
    assert model.predict_one([0.5, -1.0]) == 0.0
    np.testing.assert_array_equal(model.responsibilities_, [1.0, 0.0, 0.0, 0.0, 0.0])
    info = None
    for x, y in pairs(20):
        row, target = jnp.asarray(x, jnp.float32), jnp.asarray([y], jnp.float32)
        np.testing.assert_allclose(model.predict_one(x), predict(state, row).mean[0], rtol=1e-5, atol=1e-6)
        assert model.learn_one(x, y) is model
        state, info = update(state, row, target)
        np.testing.assert_allclose(model.history_["loss"][-1], info.loss, rtol=1e-4, atol=1e-6)
    assert info is not None
    np.testing.assert_allclose(model.responsibilities_, info.responsibilities, atol=1e-5)
    assert (model.task_, model.n_tasks_) == (int(info.task), int(info.n_tasks))
    assert model.tasks_[: model.n_tasks_].tolist() == list(range(model.n_tasks_))
    assert model.importance_(0).shape == (1, 2)


def test_a_prior_over_a_module_of_ones_own() -> None:
    network = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
    norms = {"x_norm": Normalizer.identity(2), "y_norm": Normalizer.identity(1)}
    model = learn(OnlineRegressor(MetaPrior(network, inner_rate=0.1, window=4, **norms)), pairs(5))
    assert np.isfinite(model.predict_one([1.0, 2.0]))


def test_a_schema_takes_dicts_and_missing_values() -> None:
    model = regressor(stream_prior())
    stream = [({"a": a, "b": None if t % 3 else b}, 2 * a) for t, ((a, b), _) in enumerate(pairs(40))]
    assert np.mean(np.abs(follow(model, stream)[20:] - [y for _, y in stream[20:]])) < 0.3
    assert model.schema_ == stream_prior().schema
    assert model.importance_(model.task_).shape == (1, 3)


# Files.

PRIORS = {"none": lambda: None, "meta": meta_prior, "readout": readout_prior, "stream": stream_prior}
CASES = [("none", n) for n in (0, 3, 5, 130)] + [
    (name, n) for name in ("meta", "readout", "stream") for n in (0, 5)
]


@pytest.mark.parametrize(("name", "n"), CASES, ids=[f"{name}, {n}" for name, n in CASES])
def test_a_saved_model_goes_on_bit_for_bit(name: str, n: int, tmp_path: Path) -> None:
    settings = {} if name == "meta" else SMALL
    model = OnlineRegressor(PRIORS[name](), width=8, seed=3, level=0.8, history=50, mixture=settings)
    stream = list(pairs(n + 6))
    if name == "stream":
        stream = [({"a": x[0], "b": x[1]}, y) for x, y in stream]
    learn(model, stream[:n])
    path = tmp_path / "model.mole"
    model.save(path)
    loaded = OnlineRegressor.load(path)
    assert file_of(loaded, tmp_path) == path.read_bytes()
    for x, y in stream[n:]:
        assert loaded.predict_one(x) == model.predict_one(x)
        assert loaded.predict_interval_one(x) == model.predict_interval_one(x)
        model.learn_one(x, y), loaded.learn_one(x, y)
    assert file_of(loaded, tmp_path) == file_of(model, tmp_path)
    assert loaded.schema_ == model.schema_ if name in ("none", "stream") else loaded.n_seen_ == n + 6
    np.testing.assert_array_equal(loaded.tasks_, model.tasks_)


def test_a_model_of_dicts_goes_on_bit_for_bit(tmp_path: Path) -> None:
    stream = list(rows(40))
    model = learn(regressor(), stream[:25])
    model.save(tmp_path / "model.mole")
    loaded = OnlineRegressor.load(tmp_path / "model.mole")
    assert file_of(learn(loaded, stream[25:]), tmp_path) == file_of(learn(model, stream[25:]), tmp_path)


def test_files_that_hold_no_whole_regressor_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.mole"
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*model\.mole"):
        OnlineRegressor.load(path)
    save_prior(path, meta_prior(), {})
    with pytest.raises(
        CheckpointError, match=r"model\.mole holds a 'prior', expected a.? 'online-regressor'"
    ):
        OnlineRegressor.load(path)
    OnlineClassifier().save(path)
    with pytest.raises(
        CheckpointError, match=r"holds a 'online-classifier', expected a.? 'online-regressor'"
    ):
        OnlineRegressor.load(path)
    checkpoint.save(path, (), kind="online-regressor", config={"warmup": 400, "units": 8})
    with pytest.raises(CheckpointError, match=r"header that differs in .*'seen'.*'warmup'.*another version"):
        OnlineRegressor.load(path)
    learn(regressor(), pairs(5)).save(path)
    whole = path.read_bytes()
    for damaged, message in ((whole[:-10], "truncated"), (whole[:-1] + bytes([whole[-1] ^ 1]), "altered")):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=message):
            OnlineRegressor.load(path)


def test_a_header_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.mole"
    learn(regressor(), pairs(2)).save(path)
    header = checkpoint.read_header(path)
    arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in header.config["arrays"].items()}
    for changed, message in (
        ({"settings": {**header.config["settings"], "width": 0}}, "width=0"),
        ({"encoder": {}}, "format"),
        ({"version": 99}, "version"),
        ({"learner": {"type": "readout"}}, "learner"),
        ({"given": "?"}, "prior"),
        ({"arrays": {"rows": "?"}}, "array 'rows'"),
    ):
        config = {**dataclasses.asdict(header)["config"], **changed}
        checkpoint.save(path, (None, None, arrays), kind="online-regressor", config=config)
        with pytest.raises(CheckpointError, match=message):
            OnlineRegressor.load(path)
