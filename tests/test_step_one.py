"""`step_one`: to the bit `predict_one` and then `learn_one`, in one compiled call; and learners of every kind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_prior
from mole.estimators import Fleet, OnlineClassifier, OnlineRegressor, StreamPrior
from mole.estimators import step as steps
from mole.files.checkpoint import CheckpointError
from mole.learning.models import Normalizer
from mole.online import Continuous, Fault, KShot, Mixture, Oracle
from mole.pipeline.runner import StreamRun, StreamSettings
from mole.pipeline.sources import Row
from mole.readout import ReadoutMixture, ReadoutPrior
from mole.rows import checks, encoding, values
from mole.rows.encoding import RowEncoder

SMALL = {"max_tasks": 4, "candidates": 4, "drift": (1e-6, 1e-2)}
META = {"max_tasks": 3, "candidate_window": 4, "margin": 1.0}
ROWS = 40


def readout_prior(dx: int = 2, dy: int = 1) -> ReadoutPrior:
    norms = {"x_norm": Normalizer.identity(dx), "y_norm": Normalizer(jnp.full(dy, 0.3), jnp.full(dy, 1.7))}
    return ReadoutPrior.untrained(width=4, depth=1, **norms, key=jax.random.key(2))


def meta_prior() -> Any:
    return tiny_prior(jax.random.key(0), 2, 1, window=4, rate="rank1", residual_scale=0.1)


def vectors(n: int = ROWS, dy: int = 1) -> Iterator[tuple[Any, Any]]:
    """A linear map, another one from the middle on, and one number that is far out."""
    rng = np.random.default_rng(0)
    for place in range(n):
        x = rng.normal(size=2)
        y = np.array([x.sum(), x[0] - x[1]]) if place < n // 2 else np.array([2 - x[0], 3 * x[1]])
        y = y + (1e3 if place == n - 5 else 0.0)
        yield x, float(y[0]) if dy == 1 else y


def tables(labels: bool = False) -> Iterator[tuple[Any, Any]]:
    """Words, times, gaps, text that is a number, and a column that comes late."""
    rng = np.random.default_rng(1)
    for place in range(ROWS):
        a = float(rng.normal())
        row = {"a": a, "word": ["up", "down"][place % 2], "at": f"2026-01-{place % 28 + 1:02}T12:00"}
        row["b"] = None if place % 7 == 3 else f"{place / 10}"
        if place > 10:
            row["late"] = float("inf") if place == 20 else place % 3
        label = "late" if place > 25 and a > 0.5 else row["word"]
        yield row, label if labels else 2 * a + place % 2


def stream_prior() -> StreamPrior:
    encoder = RowEncoder()
    for row in ({"a": 1.0, "b": None}, {"a": 2.0, "b": 0.5}):
        encoder.observe(row)
    return StreamPrior(readout_prior(3), schema=encoder.schema())


def label_prior() -> StreamPrior:
    return StreamPrior(readout_prior(2, 3), "classification", labels=("up", "down", "late"))


def labelled() -> Iterator[tuple[Any, Any]]:
    for (x, y), (_, label) in zip(vectors(), tables(labels=True), strict=True):
        yield x + y, label


KINDS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "vectors, no prior": (lambda: OnlineRegressor(width=4, mixture=SMALL), vectors),
    "rows, no prior": (lambda: OnlineRegressor(width=4, mixture=SMALL), tables),
    "two outputs, no prior": (lambda: OnlineRegressor(width=4, mixture=SMALL), lambda: vectors(dy=2)),
    "readout prior": (lambda: OnlineRegressor(readout_prior(), mixture=SMALL), vectors),
    "prior with a schema": (lambda: OnlineRegressor(stream_prior(), mixture=SMALL), tables),
    "network prior": (lambda: OnlineRegressor(meta_prior(), mixture=META), vectors),
    "k-shot": (lambda: OnlineRegressor(KShot(meta_prior())), vectors),
    "labels, no prior": (lambda: OnlineClassifier(width=4, mixture=SMALL), lambda: tables(labels=True)),
    "labels, prior": (lambda: OnlineClassifier(label_prior(), mixture=SMALL), labelled),
}


def file_of(model: Any, folder: Path) -> bytes:
    model.save(folder / "fingerprint.mole")
    return (folder / "fingerprint.mole").read_bytes()


def predicted(model: Any, x: Any) -> tuple[Any, ...]:
    if isinstance(model, OnlineClassifier):
        return model.predict_one(x), None, None, model.predict_proba_one(x)
    return (model.predict_one(x), *model.predict_interval_one(x), None)


@pytest.mark.parametrize(("make", "stream"), KINDS.values(), ids=KINDS)
def test_it_is_predict_one_and_learn_one_to_the_bit(make: Any, stream: Any, tmp_path: Path) -> None:
    apart, whole = make(), make()
    for x, y in stream():
        expected = predicted(apart, x)
        apart.learn_one(x, y)
        found = whole.step_one(x, y)
        assert repr(found[:4]) == repr(expected)
        last = {name: values[-1] for name, values in apart.history_.items()}
        assert repr(found.loss) == repr(float(last["loss"]))
        assert (found.task, found.n_tasks, found.spawned) == (apart.task_, apart.n_tasks_, last["spawned"])
        assert found.probability == last["probability"]
        shares = dict.fromkeys(apart.tasks_.tolist(), 0.0)
        for task, share in zip(apart.tasks_.tolist(), apart.responsibilities_.tolist(), strict=True):
            shares[task] += share
        if found.task not in shares:
            shares[found.task] = shares.pop(-1, 0.0)
        assert found.shares == pytest.approx(shares, abs=0.0)
    np.testing.assert_array_equal(whole.tasks_, apart.tasks_)
    np.testing.assert_array_equal(whole.responsibilities_, apart.responsibilities_)
    assert file_of(whole, tmp_path) == file_of(apart, tmp_path)
    # What came with the last step is what the state says.
    back = type(whole).load(tmp_path / "fingerprint.mole")
    np.testing.assert_array_equal(whole.tasks_, back.tasks_)
    np.testing.assert_array_equal(whole.responsibilities_, back.responsibilities_)


FUSED = """
import test_step_one as tests
for make, stream in (tests.KINDS["readout prior"], tests.KINDS["network prior"]):
    apart, whole = make(), make()
    for x, y in stream():
        expected = tests.predicted(apart, x)
        apart.learn_one(x, y)
        assert repr(whole.step_one(x, y)[:4]) == repr(expected), (x, y)
"""


def test_it_is_to_the_bit_also_where_xla_fuses_as_it_does_for_users() -> None:
    """The tests' own flags switch off what rounds otherwise from program to program."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    environment["XLA_FLAGS"] = ""
    done = subprocess.run([sys.executable, "-c", FUSED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_a_target_nothing_is_learned(tmp_path: Path) -> None:
    model = OnlineRegressor(readout_prior(), mixture=SMALL)
    first = model.step_one([1.0, 2.0])
    assert (first.task, first.n_tasks, first.spawned, first.fault) == (0, 1, False, Fault(0))
    last = first
    for x, y in vectors():
        last = model.step_one(x, y)
    before = file_of(model, tmp_path)
    found = model.step_one([0.5, -0.5])
    assert file_of(model, tmp_path) == before
    assert found[:4] == predicted(model, [0.5, -0.5])
    assert np.isnan(found.loss) and not found.spawned
    assert (found.task, found.n_tasks, found.shares) == (last.task, last.n_tasks, last.shares)


def test_a_step_is_one_call_and_what_is_asked_afterwards_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = OnlineRegressor(readout_prior(), mixture=SMALL), []
    for x, y in vectors(12):  # after the pairs in which the first regime is told
        model.step_one(x, y)
    programs = model._engine._programs  # pyright: ignore[reportOptionalMemberAccess]
    counted = {
        name: lambda *args, name=name: calls.append(name) or getattr(programs, name)(*args)
        for name in programs._fields
    }
    monkeypatch.setattr(model._engine, "_programs", steps._Programs(**counted))
    monkeypatch.setattr(steps, "_unpack", None)
    model.step_one([0.1, 0.2], 0.3)
    model.learn_one([0.1, 0.2], 0.3)
    assert model.tasks_.shape == model.responsibilities_.shape == (8,)
    assert (model.task_, model.n_tasks_) == (0, 1)
    assert calls == ["step", "step"]


@pytest.mark.parametrize("prior", [None, stream_prior()], ids=["no prior", "prior"])
def test_a_row_of_a_stream_is_read_once_and_encoded_once(prior: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = StreamRun(StreamSettings("y", "regression"), OnlineRegressor(prior, width=4, mixture=SMALL))
    rows = [Row(n, {"a": f"{n % 7}", "b": f"{n / 3}", "y": f"{n % 5}"}, "", {}) for n in range(20)]
    for row in rows[:18]:
        run.step(row)
    calls: list[str] = []

    def counting(owner: Any, name: str) -> None:
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args: calls.append(name) or real(*args))

    for room in (checks, encoding, values):
        counting(room, "read_value")
    counting(encoding.Schema, "encode")
    counting(steps.Engine, "step")
    counting(steps.Engine, "predict")
    run.step(rows[18])
    assert sorted(calls) == ["encode", "read_value", "read_value", "read_value", "step"]


def test_faults_are_told_and_wrong_rows_are_errors() -> None:
    model = OnlineRegressor(readout_prior(), mixture=SMALL)
    assert model.step_one([0.1, 0.2], 0.3).fault == Fault(0)
    assert model.step_one([0.1, 0.2], 0.3).fault == Fault.REPEATED
    refused = model.step_one([0.1, 0.2], 1e30)
    assert refused.fault == Fault.OUT_OF_REACH and np.isnan(refused.loss)
    for x, y in (([0.1], 0.3), ([0.1, np.nan], 0.3), ([0.1, 0.2], np.nan), ({"a": 1.0}, 0.3)):
        with pytest.raises(ValueError, match=r"(N|n)othing was learned"):
            model.step_one(x, y)
    assert model.faults_ == {"repeated": 1, "out_of_reach": 1, "refused": 4}
    assert model.n_seen_ == 3


# Learners of every kind.


LEARNERS: dict[str, Callable[[], Any]] = {
    "mixture": lambda: Mixture(meta_prior(), **META),
    "readout": lambda: ReadoutMixture(readout_prior(), **SMALL),
    "k-shot": lambda: KShot(meta_prior(), window=3, steps=2),
    "continuous": lambda: Continuous(meta_prior(), step_scale=0.5),
}
every_learner = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)


@every_learner
def test_a_learner_can_stand_for_a_prior(make: Callable[[], Any], tmp_path: Path) -> None:
    learner = make()
    model, state = OnlineRegressor(learner), learner.init()
    predict, update = eqx.filter_jit(learner.predict), eqx.filter_jit(learner.update)
    for x, y in vectors():
        pair = jnp.asarray(x, jnp.float32), jnp.asarray([y], jnp.float32)
        expected = predict(state, pair[0]).mean
        state, info = update(state, *pair)
        found = model.step_one(x, y)
        assert found.prediction == pytest.approx(float(expected[0]), rel=1e-4, abs=1e-5)
        assert (found.task, found.n_tasks) == (int(info.task), int(info.n_tasks))
    np.testing.assert_array_equal(model.tasks_, np.asarray(learner.task_numbers(state)))
    assert model.importance_(model.task_).shape == (1, 2)
    model.save(tmp_path / "model.mole")
    back = OnlineRegressor.load(tmp_path / "model.mole")
    assert type(back.learner_) is type(learner)
    assert eqx.tree_equal(back.learner_, learner)
    for x, y in vectors(8):
        assert repr(back.step_one(x, y)) == repr(model.step_one(x, y))  # NaN is not NaN
    assert file_of(back, tmp_path) == file_of(model, tmp_path)


@every_learner
def test_a_fleet_takes_a_learner(make: Callable[[], Any], tmp_path: Path) -> None:
    learner = make()
    fleet = Fleet(learner, 3)
    x = np.stack([x for x, _ in vectors(12)])
    y = np.asarray([y for _, y in vectors(12)])
    fleet.learn_many(np.broadcast_to(x, (3, *x.shape)), np.broadcast_to(y, (3, *y.shape)))
    fleet.save(tmp_path / "fleet.mole")
    back = Fleet.load(tmp_path / "fleet.mole")
    np.testing.assert_array_equal(back.predict(x[:3]), fleet.predict(x[:3]))
    assert fleet.responsibilities(1).shape == learner.responsibilities(learner.init()).shape


def test_a_learner_has_its_own_settings() -> None:
    for make in (OnlineRegressor, lambda learner, mixture: Fleet(learner, 2, mixture=mixture)):
        with pytest.raises(
            ValueError, match="beside a learner; expected none: a learner has its own settings"
        ):
            make(KShot(meta_prior()), mixture={"max_tasks": 3})  # pyright: ignore[reportCallIssue]


def test_a_learner_that_no_file_can_describe_is_told(tmp_path: Path) -> None:
    model = OnlineRegressor(Oracle(meta_prior(), 2))
    with pytest.raises(
        CheckpointError, match="cannot save a learner of type Oracle; expected one of Continuous, KShot"
    ):
        model.save(tmp_path / "model.mole")
