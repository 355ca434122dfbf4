"""`Fleet`: the same as one learner per stream, with streams that skip, join and leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_prior
from mole.estimators import Fleet, OnlineRegressor, StreamPrior
from mole.files.checkpoint import CheckpointError
from mole.learning.models import Normalizer
from mole.online import Mixture
from mole.readout import ReadoutMixture, ReadoutPrior

DX, DY, SIZE, STEPS = 3, 2, 5, 36
SETTINGS = {"max_tasks": 3, "candidates": 3, "drift": (1e-5,), "found_after": 3.0}
META = {"max_tasks": 3, "candidate_window": 4, "margin": 1.0}


def readout_prior() -> ReadoutPrior:
    x_norm = Normalizer(jnp.asarray([0.0, 1.0, -1.0]), jnp.asarray([1.0, 2.0, 0.5]))
    y_norm = Normalizer(jnp.asarray([5.0, 0.0]), jnp.asarray([2.0, 0.1]))
    return ReadoutPrior.untrained(width=4, depth=1, x_norm=x_norm, y_norm=y_norm, key=jax.random.key(3))


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "readout": (readout_prior(), SETTINGS),
    "meta": (tiny_prior(jax.random.key(0), DX, DY, window=4, rate="rank1", residual_scale=0.1), META),
}
every_kind = pytest.mark.parametrize(("prior", "settings"), KINDS.values(), ids=KINDS)


def streams(size: int = SIZE, steps: int = STEPS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A linear map per stream, another one from the middle on."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, steps, DX))
    W = rng.normal(size=(2, size, DX, DY))
    half = np.arange(steps) >= steps // 2
    y = np.where(half[None, :, None], np.einsum("snx,sxy->sny", x, W[1]), np.einsum("snx,sxy->sny", x, W[0]))
    return x.astype(np.float32), (y + np.array([5.0, 0.0])).astype(np.float32)


@eqx.filter_jit
def one_step(learner: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    return learner.predict(state, x).mean, *learner.update(state, x, y)


@every_kind
def test_it_is_one_learner_per_stream_also_when_streams_skip(prior: Any, settings: dict[str, Any]) -> None:
    learner: Any = (ReadoutMixture if isinstance(prior, ReadoutPrior) else Mixture)(prior, **settings)
    fleet, states = Fleet(prior, SIZE, mixture=settings), [learner.init() for _ in range(SIZE)]
    (x, y), rng = streams(), np.random.default_rng(1)
    tasks, counts = np.zeros(SIZE, int), np.ones(SIZE, int)
    for t in range(STEPS):
        there = rng.random(SIZE) < 0.7
        row = np.where(
            there[:, None], x[:, t], np.float32(np.nan)
        )  # what it says for the others does not matter
        predicted = fleet.predict(x[:, t])
        losses = fleet.learn(row, y[:, t], there=None if there.all() else there)
        for s in range(SIZE):
            mean, after, info = one_step(learner, states[s], jnp.asarray(x[s, t]), jnp.asarray(y[s, t]))
            np.testing.assert_allclose(predicted[s], mean, rtol=1e-3, atol=1e-3)
            if not there[s]:
                assert np.isnan(losses[s])
                continue
            states[s], tasks[s], counts[s] = after, int(info.task), int(info.n_tasks)
            np.testing.assert_allclose(losses[s], info.loss, rtol=2e-3, atol=1e-3)
        assert fleet.tasks_.tolist() == tasks.tolist() and fleet.n_tasks_.tolist() == counts.tolist()
    for s in range(SIZE):
        chance = states[s].probability if isinstance(prior, ReadoutPrior) else states[s].responsibilities
        np.testing.assert_allclose(fleet.responsibilities(s), chance, atol=2e-3)
    assert counts.max() > 1  # so that new tasks are among what was compared


@every_kind
def test_many_steps_at_once_are_one_after_the_other(prior: Any, settings: dict[str, Any]) -> None:
    one, many, (x, y) = Fleet(prior, SIZE, mixture=settings), Fleet(prior, SIZE, mixture=settings), streams()
    expected = []
    for t in range(STEPS):
        expected.append((one.predict(x[:, t]), one.learn(x[:, t], y[:, t])))
    means, losses = many.learn_many(x, y)
    assert means.shape == (SIZE, STEPS, DY) and losses.shape == (SIZE, STEPS)
    np.testing.assert_allclose(means, np.stack([m for m, _ in expected], axis=1), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(losses, np.stack([loss for _, loss in expected], axis=1), rtol=2e-3, atol=1e-3)
    assert many.tasks_.tolist() == one.tasks_.tolist() and many.n_tasks_.tolist() == one.n_tasks_.tolist()
    np.testing.assert_allclose(many.predict(x[:, 0]), one.predict(x[:, 0]), rtol=1e-3, atol=1e-3)


def ready(steps: int = 20) -> tuple[Fleet, np.ndarray, np.ndarray]:
    fleet, (x, y) = Fleet(readout_prior(), SIZE, mixture=SETTINGS), streams()
    for t in range(steps):
        fleet.learn(x[:, t], y[:, t])
    return fleet, x, y


def test_who_joins_begins_anew_and_the_others_go_on() -> None:
    fleet, x, _ = ready()
    before, new = fleet.predict(x[:, 25]), Fleet(readout_prior(), SIZE, mixture=SETTINGS).predict(x[:, 25])
    fleet.reset([1, 3])
    after = fleet.predict(x[:, 25])
    np.testing.assert_array_equal(after[[0, 2, 4]], before[[0, 2, 4]])
    np.testing.assert_array_equal(after[[1, 3]], new[[1, 3]])
    assert not np.allclose(before[[1, 3]], new[[1, 3]])
    assert fleet.tasks_[[1, 3]].tolist() == [0, 0] and fleet.n_tasks_[[1, 3]].tolist() == [1, 1]
    fleet.reset([])
    np.testing.assert_array_equal(fleet.predict(x[:, 25]), after)
    fleet.reset(np.array([True, False, False, False, True]))  # a mask, as of `learn`
    np.testing.assert_array_equal(fleet.predict(x[:, 25])[[0, 4]], new[[0, 4]])
    np.testing.assert_array_equal(fleet.predict(x[:, 25])[2], after[2])


def test_a_pair_that_is_not_finite_is_a_skipped_one() -> None:
    fleet, x, y = ready()
    before = fleet.predict(x[:, 25])
    bad = y[:, 20].copy()
    bad[2, 0] = np.nan
    losses = fleet.learn(x[:, 20], bad)
    assert np.isnan(losses[2]) and np.isfinite(losses[[0, 1, 3, 4]]).all()
    np.testing.assert_array_equal(fleet.predict(x[:, 25])[2], before[2])


@every_kind
def test_a_saved_fleet_goes_on_bit_for_bit(prior: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    fleet, (x, y) = Fleet(prior, SIZE, mixture=settings), streams()
    for t in range(STEPS):
        if t in (0, 22):
            fleet.save(tmp_path / "fleet.mole")
            loaded = Fleet.load(tmp_path / "fleet.mole")
            assert loaded.tasks_.tolist() == fleet.tasks_.tolist()
        assert loaded.predict(x[:, t]).tobytes() == fleet.predict(x[:, t]).tobytes()
        assert loaded.learn(x[:, t], y[:, t]).tobytes() == fleet.learn(x[:, t], y[:, t]).tobytes()
    fleet.save(tmp_path / "one.mole")
    loaded.save(tmp_path / "other.mole")
    assert (tmp_path / "one.mole").read_bytes() == (tmp_path / "other.mole").read_bytes()


def test_a_stream_prior_will_do_and_one_target_needs_no_axis() -> None:
    norms = {"x_norm": Normalizer.identity(1), "y_norm": Normalizer.identity(1)}
    prior = StreamPrior(ReadoutPrior.untrained(width=2, depth=1, **norms, key=jax.random.key(0)))
    flat, whole = (Fleet(prior, 2, mixture=SETTINGS) for _ in range(2))
    x, y = np.array([0.5, -1.0]), np.array([1.0, 2.0])
    np.testing.assert_array_equal(flat.learn(x, y), whole.learn(x[:, None], y[:, None]))
    np.testing.assert_array_equal(flat.predict(x), whole.predict(x[:, None]))


@pytest.mark.usefixtures("unchecked")
def test_wrong_shapes_are_refused_and_nothing_is_learned() -> None:
    fleet, x, y = ready()
    before = fleet.predict(x[:, 25])
    for call, message in (
        (
            lambda: fleet.learn(x[:3, 0], y[:, 0]),
            r"got x of shape \(3, 3\); expected \[5, 3\]. Nothing was learned",
        ),
        (lambda: fleet.learn(x[:, 0], y[:, 0, :1]), r"got y of shape \(5, 1\); expected \[5, 2\]"),
        (
            lambda: fleet.learn(x[:, 0], y[:, 0], there=np.ones(4, bool)),
            r"there of shape \(4,\) and type bool",
        ),
        (
            lambda: fleet.learn(x[:, 0], y[:, 0], there=np.ones(5)),
            r"type float64; expected one truth value per",
        ),
        (lambda: fleet.predict(x), r"got x of shape \(5, 36, 3\)"),
        (lambda: fleet.learn_many(x[:, 0], y[:, 0]), r"expected \[5, n, 3\]"),
        (lambda: fleet.learn_many(x[:, :4], y[:, :3]), "got 4 inputs and 3 targets; expected as many"),
        (lambda: fleet.learn_many(x[:, :0], y[:, :0]), "got 0 inputs and 0 targets"),
    ):
        with pytest.raises(ValueError, match=f"Fleet.*{message}"):
            call()
    for places in ([5], [-1], [0, 99]):
        with pytest.raises(IndexError, match=r"expected places from 0 to 4"):
            fleet.reset(places)
    for wrong in ([0.9], 0.0, ["1"], [[0, 1]]):  # a float is no place, and is not rounded to one
        with pytest.raises(TypeError, match=r"expected places from 0 to 4, or one truth value per stream"):
            fleet.reset(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(IndexError, match=r"got truth values \(2,\); expected \[5\]"):
        fleet.reset(np.array([True, False]))
    np.testing.assert_array_equal(fleet.predict(x[:, 25]), before)


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (2.0, TypeError)]
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_sizes_are_refused(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"expected a whole number from 1 on\. It is the number of streams"):
        Fleet(readout_prior(), size)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.mole"
    with pytest.raises(FileNotFoundError):
        Fleet.load(path)
    OnlineRegressor().save(path)
    with pytest.raises(CheckpointError, match=r"holds a 'online-regressor', expected a 'fleet'"):
        Fleet.load(path)
    Fleet(readout_prior(), 2, mixture=SETTINGS).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(CheckpointError, match="truncated"):
        Fleet.load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="altered"):
        Fleet.load(path)
