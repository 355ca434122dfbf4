"""Episodes, trainings and evaluations that are stopped anywhere go on as if nothing had happened, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

from helpers import bits, linear_tasks, tiny_mlp
from mole import checkpoint
from mole.control.episode import EpisodeError, run_episode
from mole.control.episode_file import EpisodeFile
from mole.control.records import EpisodeRecord
from mole.control.training_log import TrainingLog
from mole.generations import Periodic, RecoveryWarning
from mole.interrupts import Terminated
from mole.meta import MetaConfig, meta_train, supervised_train
from mole.meta.resume import TrainingFile
from point_mass import META, PointMass, PointTruth, make_agent

AGENT = make_agent(margin=5.0, candidate_window=4)
STEPS = 25
CONFIG = MetaConfig(window=3, iterations=300, batch=4, evaluate_every=150)


class Killed(BaseException):
    """Nobody catches it: what is on disk then is all there is."""


def episode(file=None, env=None, kill=None, noise=0.2, act=None, **settings):
    env = PointMass(length=10) if env is None else env

    def on_step(recorder):
        if len(recorder) == kill:
            act() if act else (_ for _ in ()).throw(Killed)

    settings = {"steps": STEPS, "seed": 1, "key": jax.random.key(0), "meta": META, **settings}
    return run_episode(
        env,
        AGENT,
        truth=PointTruth(env),
        action_noise=noise,
        on_step=on_step,
        checkpoint=file and EpisodeFile(file, Periodic(3)),
        **settings,
    )


def assert_same_episode(one, other):
    for field in dataclasses.fields(EpisodeRecord):
        if field.name not in ("seconds", "meta"):
            np.testing.assert_array_equal(getattr(one.record, field.name), getattr(other.record, field.name))
    assert one.record.meta == other.record.meta
    assert [bits(a) for a in one.stretches] == [bits(b) for b in other.stretches]


@pytest.fixture(scope="module")
def whole():
    return episode()


def test_a_killed_episode_goes_on_bit_for_bit(whole, tmp_path):
    file = tmp_path / "e.mole"
    for kill in (2, 4, 10, 11, 24):  # before the first file, between two, around a reset, at the end
        with pytest.raises(Killed):
            episode(file, kill=kill)
    steps = []
    result = run_episode(
        env := PointMass(length=10),
        AGENT,
        steps=STEPS,
        seed=1,
        key=jax.random.key(0),
        meta=META,
        truth=PointTruth(env),
        action_noise=0.2,
        on_step=lambda recorder: steps.append(len(recorder)),
        checkpoint=(kept := EpisodeFile(file, Periodic(3))),
    )
    assert steps == [22, 23, 24, 25]  # the file is of step 21
    assert_same_episode(whole, result)
    assert np.isfinite(result.record.seconds).all()
    kept.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_ends_an_episode_after_a_step_and_saves_it(whole, tmp_path, number, error):
    file, record = tmp_path / "e.mole", tmp_path / "r.npz"
    with pytest.raises(error):
        episode(file, kill=7, act=lambda: signal.raise_signal(number), record_to=record)
    assert len(checkpoint.read_header(file).config["lengths"]) == 1
    assert checkpoint.read_header(file).config["lengths"] == [7]
    assert EpisodeRecord.load(record).meta["error"] == "interrupted"
    assert_same_episode(whole, episode(file))


def test_an_environment_that_does_not_repeat_itself_is_found_out(whole, tmp_path):
    file = tmp_path / "e.mole"
    with pytest.raises(Killed):
        episode(file, kill=20)
    other = PointMass(length=10)
    other.steps = 5  # its hidden task changes at other steps now
    with pytest.warns(
        RecoveryWarning, match=r"e\.mole is of an environment that gave another reward at step \d+: the"
    ):
        result = episode(file, env=other)
    again = PointMass(length=10)
    again.steps = other.steps - STEPS
    assert len(result.record) == STEPS
    assert result.record.meta["complete"]
    assert not np.array_equal(result.record.reward, whole.record.reward)


def test_a_file_of_something_else_is_passed_over(whole, tmp_path, monkeypatch):
    file = tmp_path / "e.mole"
    with pytest.raises(Killed):
        episode(file, kill=20)
    content = file.read_bytes()
    with pytest.warns(RecoveryWarning, match="was written by something else: the episode begins again"):
        assert_same_episode(whole, episode(file, seed=1, steps=STEPS, noise=0.1) and whole)
    file.write_bytes(content)
    monkeypatch.setattr(checkpoint, "libraries", lambda: {"mole": "9"})
    with pytest.warns(
        RecoveryWarning, match=r"was written with .*jax.*, now {'mole': '9'}: the episode begins again"
    ):
        assert_same_episode(whole, episode(file))


def test_what_failed_is_tried_again_from_the_beginning(tmp_path):
    file = tmp_path / "e.mole"
    with pytest.raises(EpisodeError):
        episode(file, env=PointMass(length=10, fail=20, how=RuntimeError("out of power")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("train", [meta_train, supervised_train])
def test_a_killed_training_goes_on_bit_for_bit(train, tmp_path):
    data, model = linear_tasks(np.random.default_rng(0), 6, 30), tiny_mlp(jax.random.key(1), width=4, depth=1)
    events, file = [], tmp_path / "t.part"

    def go(callback=None, kept=None):
        return train(model, data, config=CONFIG, key=jax.random.key(2), callback=callback, checkpoint=kept)

    prior = go(callback=events.append)

    class Dying(TrainingFile):
        def save(self, state, about):
            super().save(state, about)
            raise Killed

    saved = []
    for _ in range(4):  # after 125, 150, 275 and 300 iterations
        with pytest.raises(Killed):
            go(kept=Dying(file, Periodic(1)))
        saved.append(checkpoint.read_header(file).leaves[-1].value)
    assert saved == [125, 150, 275, 300]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["t.part", "t.part.1", "t.part.2"]
    kept = TrainingFile(file, Periodic(1))
    array = eqx.filter(prior, eqx.is_array)
    assert bits(eqx.filter(go(kept=kept), eqx.is_array)) == bits(array)
    file.write_bytes(file.read_bytes()[:-3])
    again = []
    with pytest.warns(RecoveryWarning, match=r"Going on from the one before: t\.part\.1"):
        assert bits(eqx.filter(go(kept=kept, callback=again.append), eqx.is_array)) == bits(array)
    assert [e[:4] for e in again] == [e[:4] for e in events[-1:]]
    kept.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_training_saves_at_a_signal_and_belongs_to_its_data(tmp_path):
    data, model = linear_tasks(np.random.default_rng(0), 6, 30), tiny_mlp(jax.random.key(1), width=4, depth=1)
    file = TrainingFile(tmp_path / "t.part", Periodic())

    def go(callback=None, config=CONFIG, data=data):
        return meta_train(
            model, data, config=config, key=jax.random.key(2), callback=callback, checkpoint=file
        )

    with pytest.raises(Terminated):
        go(lambda event: signal.raise_signal(signal.SIGTERM))
    assert checkpoint.read_header(tmp_path / "t.part").leaves[-1].value == 150
    content = (tmp_path / "t.part").read_bytes()
    for change in (
        {"config": dataclasses.replace(CONFIG, batch=5)},
        {"data": linear_tasks(np.random.default_rng(0), 6, 31)},
    ):
        (tmp_path / "t.part").write_bytes(content)
        seen = []
        with pytest.warns(
            RecoveryWarning, match=r"t\.part was written by another training: this training begins"
        ):
            go(seen.append, **change)
        assert [event.iteration for event in seen] == [150, 300]


def test_a_log_has_every_event_once(tmp_path):
    path = tmp_path / "log.jsonl"
    log = TrainingLog(path)
    log.append(1.0, {"stage": "meta", "round": 0, "iteration": 5, "loss": 1.0})
    log.append(2.0, {"round": 0, "episode": 1})
    path.write_bytes(path.read_bytes() + b'{"wall_seconds": 3, "sta')
    log = TrainingLog(path)
    log.append(9.0, {"stage": "meta", "round": 0, "iteration": 5, "loss": 1.0})
    log.append(9.0, {"stage": "meta", "round": 1, "iteration": 5, "loss": 1.0})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["wall_seconds"] for line in lines] == [1.0, 2.0, 9.0]
    empty = tmp_path / "torn.jsonl"
    empty.write_bytes(b"{")
    TrainingLog(empty).append(1.0, {"stage": "x"})
    assert json.loads(Path(empty).read_text())["stage"] == "x"
