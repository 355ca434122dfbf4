"""`OnlineRegressor`: predict and learn one pair at a time, with a prior or from nothing, and go on from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import bits
from mole import checkpoint, estimators
from mole._types import Trajectory
from mole.checkpoint import CheckpointError
from mole.estimators import OnlineRegressor
from mole.inner import LayerRate
from mole.meta import MetaConfig
from mole.models import MLP, Normalizer
from mole.online import Mixture
from mole.prior import MetaPrior
from mole.prior_file import save_prior

WARMUP = 80
Pair = tuple[np.ndarray, np.ndarray]


def hand_made_prior() -> MetaPrior:
    """y = W max(0, [x, -x]): W is zero, and learned so fast that a window nearly solves a linear regression."""
    model = MLP(2, 1, width=4, depth=1, key=jax.random.key(0))
    weights = (jnp.concatenate([jnp.eye(2), -jnp.eye(2)], axis=1), jnp.zeros((4, 1)))
    model = eqx.tree_at(lambda m: [layer.weight for layer in m.layers], model, weights)
    slow, fast = LayerRate(model, 1e-4), LayerRate(model, 0.4)
    rate = eqx.tree_at(lambda r: r.raw, slow, slow.raw.at[1].set(fast.raw[1]))
    one = Normalizer.identity(1)
    return MetaPrior(
        model, inner_rate=rate, window=8, x_norm=Normalizer.identity(2), y_norm=one, residual_scale=0.3
    )


@pytest.fixture(scope="module")
def prior() -> MetaPrior:
    return hand_made_prior()


@pytest.fixture
def quick_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prior that depends on network, data and key as a trained one does, in no time."""

    def meta_train(network: MLP, data: list[Trajectory], *, config: MetaConfig, key: Any) -> MetaPrior:
        (trajectory,) = data
        rate = hand_made_prior().inner_rate
        assert isinstance(rate, LayerRate)
        noise = jax.random.normal(key, (2,)) + network.layers[0].weight[0, 0]
        x_norm, y_norm = (Normalizer.fit(np.asarray(values)) for values in trajectory)
        return eqx.tree_at(
            lambda p: (p.x_norm, p.y_norm, p.inner_rate.raw),  # pyright: ignore
            hand_made_prior(),
            (x_norm, y_norm, rate.raw + 0.01 * noise),
        )

    monkeypatch.setattr(estimators, "meta_train", meta_train)


def pairs(n: int, slopes: tuple[float, float] = (1.0, -2.0), seed: int = 0) -> Iterator[Pair]:
    rng = np.random.default_rng(seed)
    for _ in range(n):
        x = rng.normal(size=2)
        yield x, np.asarray([x @ slopes + 0.02 * rng.normal()])


def learn(model: OnlineRegressor, stream: Iterator[Pair]) -> OnlineRegressor:
    for x, y in stream:
        model.learn_one(x, y)
    return model


def same(one: OnlineRegressor, other: OnlineRegressor) -> bool:
    """Whether two models are equal bit for bit, in all that they know."""
    return one._settings == other._settings and all(
        bits(a) == bits(b)
        for a, b in (
            (one.prior, other.prior),
            (one._state, other._state),
            (one.info, other.info),
            ([np.asarray(v) for v in one._first_x], [np.asarray(v) for v in other._first_x]),
            ([np.asarray(v) for v in one._first_y], [np.asarray(v) for v in other._first_y]),
        )
    )


def test_it_is_the_mixture_with_a_state_that_it_holds_itself(prior: MetaPrior) -> None:
    model, learner = OnlineRegressor(prior, mixture={"margin": 3.0}), Mixture(prior, margin=3.0)
    state, predict, update = learner.init(), eqx.filter_jit(learner.predict), eqx.filter_jit(learner.update)
    info = None
    for x, y in pairs(20):
        x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
        np.testing.assert_allclose(model.predict_one(x), predict(state, x).mean, rtol=1e-5, atol=1e-6)
        assert model.learn_one(x, y) is model
        state, info = update(state, x, y)
        assert model.info is not None
        np.testing.assert_allclose(model.info.loss, info.loss, rtol=1e-4, atol=1e-6)
    assert info is not None
    np.testing.assert_allclose(model.responsibilities_, info.responsibilities, atol=1e-5)
    assert (model.task_, model.n_tasks_) == (int(info.task), int(info.n_tasks))
    assert model.prior is prior


def test_before_the_first_pair_a_prior_predicts_and_there_is_one_task(prior: MetaPrior) -> None:
    model = OnlineRegressor(prior)
    np.testing.assert_array_equal(model.predict_one([0.5, -1.0]), [0.0])
    np.testing.assert_array_equal(model.responsibilities_, [1.0, 0.0, 0.0, 0.0, 0.0])
    assert (model.task_, model.n_tasks_, model.info) == (0, 1, None)


def test_it_discovers_two_regimes_and_recalls_them_when_they_return(prior: MetaPrior) -> None:
    model, visit, slots, first_errors = OnlineRegressor(prior), 80, [], []
    for number in range(6):
        slopes = ((1.5, -1.0), (-1.5, 1.0))[number % 2]
        errors = []
        for x, y in pairs(visit, slopes, seed=number):
            errors.append(float(np.abs(model.predict_one(x) - y)[0]))
            model.learn_one(x, y)
            assert model.responsibilities_.shape == (5,)
            assert model.responsibilities_.sum() == pytest.approx(1.0, abs=1e-5)
        slots.append(model.task_)
        first_errors.append(np.mean(errors[2:10]))  # one pair to notice, one to spare
    assert slots[2] != slots[3], "two regimes share a slot"
    assert slots[4:] == slots[2:4], "a returning regime got another slot"
    assert model.n_tasks_ <= 3
    assert np.mean(first_errors[4:]) < 0.5 * np.mean(first_errors[:2]), first_errors


def test_without_a_prior_the_first_pairs_make_one_and_are_then_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = dataclasses.replace(estimators._WARMUP, iterations=20, evaluate_every=20)
    monkeypatch.setattr(estimators, "_WARMUP", few)
    model, stream = OnlineRegressor(warmup=WARMUP, width=8), list(pairs(WARMUP))
    targets = []
    for x, y in stream[:-1]:
        model.learn_one(x, y)
        targets.append(y)
        np.testing.assert_allclose(model.predict_one(x), np.mean(targets, axis=0), rtol=1e-4, atol=1e-5)
    assert model._learner is None
    assert (model.task_, model.n_tasks_, model.responsibilities_.tolist()) == (0, 1, [1.0])

    model.learn_one(*stream[-1])
    prior = model.prior
    assert prior is not None
    np.testing.assert_allclose(prior.x_norm.mean, np.mean([x for x, _ in stream], axis=0), atol=1e-4)
    assert (prior.input_size, prior.target_size, prior.window) == (2, 1, 8)
    assert isinstance(prior.model, MLP)
    assert [layer.weight.shape for layer in prior.model.layers] == [(2, 8), (8, 8), (8, 1)]
    # The same as a model that had the prior from the start and saw the same pairs.
    assert same(model, learn(OnlineRegressor(prior, warmup=WARMUP, width=8), iter(stream)))
    assert not np.allclose(model.predict_one([3.0, 0.0]), model.predict_one([-3.0, 0.0]))


def test_the_same_seed_gives_the_same_model_and_another_one_does_not(quick_training: None) -> None:
    one, again, other = (
        learn(OnlineRegressor(warmup=WARMUP, seed=seed), pairs(WARMUP)) for seed in (0, 0, 1)
    )
    assert same(one, again)
    assert bits(one.prior) != bits(other.prior)


def test_the_shortest_warmup_is_enough_and_a_shorter_one_is_refused(quick_training: None) -> None:
    with pytest.raises(ValueError, match=r"got warmup=79; expected at least 80 pairs, or a prior\."):
        OnlineRegressor(warmup=WARMUP - 1)
    assert learn(OnlineRegressor(warmup=WARMUP), pairs(WARMUP)).prior is not None


def test_numbers_and_vectors_of_one_entry_are_the_same() -> None:
    numbers, vectors = OnlineRegressor(), OnlineRegressor()
    for value in (1, 2.5, np.float64(-0.5), True):
        numbers.learn_one(value, 2 * value)
        vectors.learn_one([value], np.asarray([2 * value]))
    assert same(numbers, vectors)
    np.testing.assert_allclose(numbers.predict_one(7), [2 * (1 + 2.5 - 0.5 + 1) / 4])


def test_before_the_first_pair_the_prediction_is_zero() -> None:
    np.testing.assert_array_equal(OnlineRegressor().predict_one([1.0]), [0.0])


WRONG = [
    (([1.0, 2.0, 3.0], [1.0]), r"got x of shape \(3,\), finite: True; expected 2 finite numbers"),
    (([1.0, 2.0], [1.0, 1.0]), r"got y of shape \(2,\), finite: True; expected 1 finite numbers"),
    (
        ([1.0, np.nan], [1.0]),
        r"got x of shape \(2,\), finite: False; .* Drop or impute missing values; nothing",
    ),
    (([1.0, 2.0], [np.inf]), r"got y of shape \(1,\), finite: False"),
    (([1.0, 2.0], 1e300), r"got y of shape \(1,\), finite: False"),
    (([[1.0, 2.0]], [1.0]), r"got x of shape \(1, 2\)"),
    (([], [1.0]), r"got x of shape \(0,\)"),
    (([1.0, 2.0], None), r"got y=None; expected 1 finite numbers"),
    (([1.0, 2.0], "3.5"), r"got y='3.5'; .* Convert text and objects to numbers first; nothing was learned"),
    (([1.0, [2.0]], [1.0]), r"got x=\[1\.0, \[2\.0\]\]; expected 2 finite numbers"),
    (([1.0, 2.0], 1 + 2j), r"got y=\(1\+2j\); expected 1 finite numbers"),
]


@pytest.mark.parametrize("warm", [True, False])
def test_a_wrong_pair_is_refused_and_nothing_is_learned(prior: MetaPrior, warm: bool) -> None:
    model, untouched = (learn(OnlineRegressor(prior if warm else None), pairs(3)) for _ in range(2))
    for (x, y), message in WRONG:
        with pytest.raises(ValueError, match=f"OnlineRegressor {message}"):
            model.learn_one(x, y)
        assert same(model, untouched), message
    with pytest.raises(ValueError, match=r"got x of shape \(1,\).*expected 2"):
        model.predict_one(1.0)


def test_the_very_first_pair_is_checked_too() -> None:
    model = OnlineRegressor()
    for (x, y), message in (
        (([], [1.0]), r"got x of shape \(0,\), finite: True; expected a vector of finite numbers"),
        (([1.0], np.nan), r"got y of shape \(1,\), finite: False"),
        ((["a"], [1.0]), r"got x=\['a'\]; expected a vector of finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            model.learn_one(x, y)
    assert same(model, OnlineRegressor())


def test_settings_of_the_mixture_are_checked_by_it(prior: MetaPrior) -> None:
    with pytest.raises(ValueError, match="Mixture got max_tasks=0"):
        OnlineRegressor(prior, mixture={"max_tasks": 0})
    assert OnlineRegressor(prior, mixture={"max_tasks": 2}).responsibilities_.shape == (2,)


@pytest.mark.parametrize("when", [0, 1, 40, WARMUP, WARMUP + 15], ids=lambda n: f"after {n}")
def test_a_saved_model_goes_on_bit_for_bit(quick_training: None, tmp_path: Path, when: int) -> None:
    stream = list(pairs(WARMUP + 30))
    model = OnlineRegressor(warmup=WARMUP, seed=3, mixture={"margin": 2.0, "max_tasks": 5})
    learn(model, iter(stream[:when]))
    model.save(tmp_path / "model.mole")
    loaded = OnlineRegressor.load(tmp_path / "model.mole")
    assert same(loaded, model)
    assert (loaded.prior is None) == (when < WARMUP)
    for x, y in stream[when:]:
        one, other = model.learn_one(x, y).predict_one(x), loaded.learn_one(x, y).predict_one(x)
        assert one.tobytes() == other.tobytes()
    assert same(loaded, model)


def test_a_model_with_a_prior_is_saved_whatever_its_warmup(prior: MetaPrior, tmp_path: Path) -> None:
    model = OnlineRegressor(prior, warmup=1)
    for _ in range(2):  # before the first pair, and after
        model.save(tmp_path / "model.mole")
        assert same(OnlineRegressor.load(tmp_path / "model.mole"), model)
        learn(model, pairs(2))


def test_files_that_hold_no_whole_regressor_are_refused(prior: MetaPrior, tmp_path: Path) -> None:
    path = tmp_path / "model.mole"
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*model\.mole"):
        OnlineRegressor.load(path)

    save_prior(path, prior, {})
    with pytest.raises(CheckpointError, match=r"model\.mole holds a 'prior', expected an 'online-regressor'"):
        OnlineRegressor.load(path)

    checkpoint.save(path, (), kind="online-regressor", config={"warmup": 400, "units": 8})
    with pytest.raises(CheckpointError, match=r"header that differs in .*'first'.*'units'.*another version"):
        OnlineRegressor.load(path)

    learn(OnlineRegressor(prior), pairs(2)).save(path)
    whole = path.read_bytes()
    for damaged, message in ((whole[:-10], "truncated"), (whole[:-1] + bytes([whole[-1] ^ 1]), "altered")):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=message):
            OnlineRegressor.load(path)
