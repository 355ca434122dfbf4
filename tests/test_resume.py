"""Episodes, trainings and evaluations that are stopped anywhere go on as if nothing had happened, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import bits, linear_tasks, tiny_mlp
from mole._types import Trajectory
from mole.control.episode import EpisodeError, run_episode
from mole.control.records import EpisodeRecord
from mole.control.resume import EpisodeFile
from mole.control.stages import TrainingLog
from mole.datasets.steps import DroppedWarning
from mole.files import checkpoint
from mole.files.generations import Periodic, RecoveryWarning
from mole.files.processes import Terminated
from mole.meta import MetaConfig, meta_train, training
from mole.meta.resume import TrainingFile, TrainingState, described
from point_mass import META, PointMass, PointTruth, make_agent

AGENT = make_agent(margin=5.0, candidate_window=4)
STEPS = 25
DATA = linear_tasks(np.random.default_rng(0), 6, 30)
CONFIG = MetaConfig(window=3, iterations=40, batch=4, evaluate_every=20, first_order=True)


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
    assert [bits(a) for a in one.segments] == [bits(b) for b in other.segments]


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


def test_a_killed_episode_that_dropped_a_transition_goes_on_bit_for_bit(tmp_path):
    def env():
        return PointMass(length=10, fail=7, how="nan observation")

    with pytest.warns(DroppedWarning):
        whole = episode(env=env())
    file = tmp_path / "e.mole"
    for kill in (8, 20):
        with pytest.raises(Killed):
            episode(file, env=env(), kill=kill)
    with pytest.warns(DroppedWarning, match="1 of 3 episodes"):
        assert_same_episode(episode(file, env=env()), whole)
    # An environment that is finite where the recorded one was not does not repeat it.
    other = tmp_path / "other.mole"
    with pytest.raises(Killed):
        episode(other, env=env(), kill=20)
    with pytest.warns(RecoveryWarning, match="was not finite at step 7: the episode begins again"):
        episode(other, env=PointMass(length=10))


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


def test_an_environment_that_fails_while_steps_are_repeated_costs_nothing(whole, tmp_path):
    """The file was removed, and with it all that had been done."""
    file = tmp_path / "e.mole"
    with pytest.raises(Killed):
        episode(file, kill=20)
    content = file.read_bytes()

    class Passing(PointMass):
        def step(self, action):
            if self.steps == 5:
                raise OSError("the simulator's licence server does not answer")
            return super().step(action)

    with pytest.raises(OSError, match="licence") as caught:
        episode(file, env=Passing(length=10))
    assert "e.mole were repeated; it is kept" in caught.value.__notes__[0]
    assert file.read_bytes() == content
    assert_same_episode(whole, episode(file))


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


@pytest.fixture
def go(monkeypatch):
    """A small training of chunks of 10 iterations."""
    monkeypatch.setattr(training, "_CHUNK", 10)

    def run(**settings):
        model = tiny_mlp(jax.random.key(1), 2, 1, width=4, depth=1)
        return meta_train(model, DATA, config=CONFIG, key=jax.random.key(2), **settings)

    return run


def test_a_killed_training_goes_on_bit_for_bit(go, tmp_path):
    events, again, file = [], [], tmp_path / "t.part"
    prior = go(callback=events.append)

    class Dying(TrainingFile):
        def save(self, state, about):
            super().save(state, about)
            if state.done in (20, 30):  # before the last evaluation, and within a segment between two
                raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            go(checkpoint=Dying(file, Periodic(1)))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["t.part", "t.part.1", "t.part.2"]
    assert [done(tmp_path / f"t.part{age}") for age in ("", ".1", ".2")] == [30, 20, 10]
    file.write_bytes(file.read_bytes()[:-3])
    kept = TrainingFile(file, Periodic(1))
    with pytest.warns(RecoveryWarning, match=r"Going on from the one before: t\.part\.1"):
        assert bits(go(checkpoint=kept, callback=again.append)) == bits(prior)
    assert [event[:4] for event in again] == [event[:4] for event in events[-1:]]
    kept.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_training_saves_at_a_signal(go, tmp_path):
    file = TrainingFile(tmp_path / "t.part", Periodic())
    with pytest.raises(Terminated):
        go(callback=lambda event: signal.raise_signal(signal.SIGTERM), checkpoint=file)
    assert done(tmp_path / "t.part") == 20


def test_a_file_of_another_training_is_passed_over(go, tmp_path, monkeypatch):
    file, start = TrainingFile(tmp_path / "t.part", Periodic()), TrainingState(jnp.ones(2), 0, 0, 1.0, 0, 0)
    about = {
        name: described(config, jax.random.key(key), [data], [1.0], fit)
        for name, (config, key, data, fit) in {
            "it": (CONFIG, 0, DATA, jnp.ones(2)),
            "config": (dataclasses.replace(CONFIG, batch=5), 0, DATA, jnp.ones(2)),
            "key": (CONFIG, 1, DATA, jnp.ones(2)),
            "data": (CONFIG, 0, DATA[:-1], jnp.ones(2)),
            "numbers": (CONFIG, 0, [*DATA[:-1], Trajectory(DATA[-1].x + 1, DATA[-1].y)], jnp.ones(2)),
            "start": (CONFIG, 0, DATA, jnp.zeros(2)),
        }.items()
    }
    later = start._replace(done=9)
    for name, other in about.items():
        file.save(later, about["it"])
        if name == "it":
            assert file.resume(start, other).done == 9
            continue
        with pytest.warns(
            RecoveryWarning, match=r"t\.part was written by another training: this training begins"
        ):
            assert file.resume(start, other) is start
        assert not (tmp_path / "t.part").exists()
    file.save(later, about["it"])
    monkeypatch.setattr(checkpoint, "libraries", lambda: {"mole": "9"})
    with pytest.warns(
        RecoveryWarning, match=r"was written with .*, now {'mole': '9'}: this training begins again"
    ):
        assert file.resume(start, about["it"]) is start


def done(path):
    """Iterations in a file of a training."""
    return checkpoint.read_header(path).leaves[-1].value


def test_a_log_has_every_event_once(tmp_path):
    path = tmp_path / "log.jsonl"
    log = TrainingLog(path)
    log.append({"wall_seconds": 1.0}, {"stage": "meta", "round": 0, "iteration": 5, "loss": 1.0})
    log.append({"wall_seconds": 2.0}, {"round": 0, "episode": 1})
    path.write_bytes(path.read_bytes() + b'{"wall_seconds": 3, "sta')
    log = TrainingLog(path)
    log.append({"wall_seconds": 9.0}, {"stage": "meta", "round": 0, "iteration": 5, "loss": 1.0})
    log.append({"wall_seconds": 9.0}, {"stage": "meta", "round": 1, "iteration": 5, "loss": 1.0})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["wall_seconds"] for line in lines] == [1.0, 2.0, 9.0]
    empty = tmp_path / "torn.jsonl"
    empty.write_bytes(b"{")
    TrainingLog(empty).append({}, {"stage": "x"})
    assert json.loads(Path(empty).read_text())["stage"] == "x"


@pytest.mark.parametrize("line", [b"[1]", b"{half", b"\xff\xfe"])
def test_a_damaged_line_of_a_log_is_told_with_its_number(tmp_path, line):
    path = tmp_path / "log.jsonl"
    content = b'{"stage": "meta", "round": 0}\n' + line + b"\n"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"log\.jsonl is damaged in line 2: got .*Remove that line"):
        TrainingLog(path)
    assert path.read_bytes() == content
