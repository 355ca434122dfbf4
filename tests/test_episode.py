"""The loop: the record says what happened, errors keep what was recorded, and the agent is told nothing."""

from __future__ import annotations

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import tiny_prior
from mole.control import episode as module
from mole.control.agent import Agent
from mole.control.episode import EpisodeError, Segment, run_episode
from mole.control.records import EpisodeRecord
from mole.control.stages import load_segments, save_segments
from mole.datasets.steps import DroppedWarning
from mole.datasets.transitions import random_rollout, to_trajectories
from mole.envs import spec_for
from mole.online import Oracle, Static
from mole.planning import CEM
from point_mass import HIGH, LOW, META, SPEC, PointMass, PointTruth, make_agent

AGENT = make_agent(margin=5.0, candidate_window=4)
KEY = jax.random.key(0)


def run(env, agent=AGENT, **settings):
    return run_episode(env, agent, **{"steps": 25, "seed": 1, "key": KEY, "meta": META, **settings})


def test_the_record_is_what_happened():
    env = PointMass(length=10)
    record, segments = run(env, truth=PointTruth(env))
    assert len(record) == 25 and record.meta["complete"] and record.meta["error"] is None
    np.testing.assert_allclose(record.reward, [step["reward"] for step in env.log])
    np.testing.assert_allclose(record.position, [step["next"][0] for step in env.log], rtol=1e-6)
    assert np.isnan(record.upright).all()
    np.testing.assert_array_equal(record.true_task, [step["task"] for step in env.log])
    assert set(record.true_task) == {0, 1}
    assert np.all(record.seconds > 0) and not record.rejected.any()
    assert [len(s.actions) for s in segments] == [10, 10, 5] == [len(s.obs) - 1 for s in segments]
    np.testing.assert_array_equal(
        np.concatenate([s.actions for s in segments]), [step["action"] for step in env.log]
    )
    for at, name in ((slice(None, -1), "obs"), (slice(1, None), "next")):
        seen = np.concatenate([s.obs[at] for s in segments])
        np.testing.assert_allclose(seen, [step[name] for step in env.log], rtol=1e-6)
    assert env.resets == [(0, 1), (10, None), (20, None)]


def test_the_agent_predicts_before_it_learns_and_keeps_what_it_learned_over_a_reset():
    """The recorded losses and tasks are those of the learner run alone over the recorded pairs, resets ignored."""
    env = PointMass(length=10)
    record, segments = run(env)
    pairs = to_trajectories(segments, SPEC)
    state, update = AGENT.learner.init(), jax.jit(lambda s, x, y: AGENT.learner.update(s, x, y))
    for t, (x, y) in enumerate(pair for p in pairs for pair in zip(p.x, p.y, strict=True)):
        state, info = update(state, x, y)
        assert record.loss[t] == pytest.approx(float(info.loss), rel=1e-3, abs=1e-6)
        assert record.task[t] == info.task and record.n_tasks[t] == info.n_tasks
    assert np.all(record.true_task == -1)  # nobody told the record


def test_the_planner_restarts_after_a_reset():
    """The action after a reset is that of a fresh plan, whatever was planned before."""
    agent = make_agent(Static)
    env = PointMass(length=5)
    run(env, agent, steps=6)
    obs, state = env.log[5]["obs"].astype(np.float32), agent.init()
    _, expected = agent.act(state, jnp.asarray(obs), jax.random.fold_in(KEY, 5))
    np.testing.assert_allclose(env.log[5]["action"], expected, rtol=1e-5)


def test_the_same_seed_gives_the_same_run_another_key_another_one():
    runs = [
        run(PointMass(), action_noise=noise, key=key)
        for noise, key in ((0.3, KEY), (0.3, KEY), (0.3, jax.random.key(9)))
    ]
    first, again, other = (episode.segments[0] for episode in runs)
    np.testing.assert_array_equal(first.obs, again.obs)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert not np.array_equal(first.actions, other.actions)


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_actions_stay_within_bounds(noise):
    env = PointMass()
    run(env, action_noise=noise)
    actions = np.stack([step["action"] for step in env.log])
    assert actions.dtype == np.float32
    assert np.all(actions >= LOW) and np.all(actions <= HIGH)
    assert bool(np.mean((actions == LOW) | (actions == HIGH)) > 0.3) == (noise > 0)


def test_nobody_reads_the_info_but_the_evaluator():
    env = PointMass(length=10)
    run(env)
    assert env.reads == []
    run(env, truth=PointTruth(env))
    assert env.reads == ["task"] * 25
    env.reads.clear()
    random_rollout(env, 30, np.random.default_rng(0))
    assert env.reads == []


def test_the_oracle_is_told_the_task_before_each_step():
    env = PointMass(switch=5)
    oracle = Agent(Oracle(tiny_prior(jax.random.key(0), 3, 2), 2), AGENT.planner, SPEC)
    record, _ = run(env, oracle, truth=PointTruth(env), steps=12)
    np.testing.assert_array_equal(record.task, record.true_task)
    np.testing.assert_array_equal(record.n_tasks, [1] * 5 + [2] * 7)


def test_a_failing_environment(tmp_path):
    path, how = tmp_path / "run.npz", OSError("the simulator is gone")
    message = "episode stopped at step 7 of 25: OSError: the simulator is gone. What was recorded until"
    with pytest.raises(EpisodeError, match=message) as caught:
        run(PointMass(fail=7, how=how), record_to=path)
    partial = caught.value.episode
    assert len(partial.record) == 7 and len(partial.segments[0].actions) == 7
    assert not partial.record.meta["complete"]
    saved = EpisodeRecord.load(path)
    np.testing.assert_array_equal(saved.reward, partial.record.reward)
    np.testing.assert_array_equal(saved.reward, run(PointMass(), steps=7).record.reward)
    assert saved.meta["error"] == partial.record.meta["error"] and "Error" in saved.meta["error"]


@pytest.mark.parametrize(
    "how", ["nan observation", "nan reward", FloatingPointError("the simulation became unstable")], ids=str
)
def test_a_transition_that_is_not_finite_ends_its_episode_and_is_dropped(how, tmp_path):
    class Passing(PointMass):  # a failure that is raised does not count the step: the next one is another
        def step(self, action):
            try:
                return super().step(action)
            except FloatingPointError:
                self.fail = None
                raise

    path, env = tmp_path / "run.npz", Passing(fail=7, how=how)
    with pytest.warns(
        DroppedWarning, match="1 of 2 episodes ended in numbers that are not finite: those tran"
    ):
        record, segments = run(env, record_to=path, truth=PointTruth(env))
    assert len(record) == 25 and record.meta["complete"] and record.meta["dropped"] == 1
    assert EpisodeRecord.load(path).meta["dropped"] == 1
    assert [len(s.actions) for s in segments] == [7, 18] and np.isfinite(record.reward).all()
    assert env.resets[0][0] == 0 and len(env.resets) == 2 and env.resets[1][1] is None
    clean = run(PointMass(), steps=7)
    np.testing.assert_array_equal(record.reward[:7], clean.record.reward)
    np.testing.assert_array_equal(segments[0].obs, clean.segments[0].obs)


def test_an_environment_that_is_mostly_not_finite_ends_the_run_with_what_to_do():
    class Broken(PointMass):
        def step(self, action):
            obs, *rest = super().step(action)
            return (obs * np.inf, *rest)

    message = (
        "FloatingPointError: 10 of 10 episodes ended in numbers that are not finite, the last one because: .*"
    )
    with pytest.raises(
        EpisodeError, match=message + r"not finite in entries \[0, 1\].* Take smaller time steps"
    ):
        run(Broken())
    with pytest.raises(FloatingPointError, match="10 of 10 episodes"):
        random_rollout(Broken(), 30, np.random.default_rng(0))


def test_numbers_beyond_float32_are_not_finite():
    class Huge(PointMass):
        def reset(self, **settings):
            return np.array([1e39, 0.0]), {}

    message = r"an observation at reset that is beyond the largest float32 number in entries \[0\]"
    with pytest.raises(EpisodeError, match=message):
        run(Huge())


def test_an_interrupt_keeps_the_record(tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        run(PointMass(fail=4, how=KeyboardInterrupt()), record_to=path)
    saved = EpisodeRecord.load(path)
    assert (len(saved), saved.meta["complete"], saved.meta["error"]) == (4, False, "interrupted")
    early = tmp_path / "early.npz"
    with pytest.raises(KeyboardInterrupt):
        run(PointMass(fail=0, how=KeyboardInterrupt()), record_to=early)
    assert not early.exists()  # nothing happened


def test_a_failing_planner(monkeypatch):
    def broken(*args):
        raise FloatingPointError("no plan")

    monkeypatch.setattr(module, "jit_act", broken)
    with pytest.raises(EpisodeError, match="step 0 of 25: FloatingPointError: no plan") as caught:
        run(PointMass())
    assert len(caught.value.episode.record) == 0 and caught.value.episode.segments == []


def test_on_step_is_called_after_every_step(tmp_path):
    lengths = []
    run(PointMass(), steps=4, on_step=lambda recorder: lengths.append(len(recorder)))
    assert lengths == [1, 2, 3, 4]


def test_an_environment_that_does_not_fit():
    class Wrong(PointMass):
        observation_space = type(PointMass.observation_space)(-1.0, 1.0, (3,))

    with pytest.raises(
        ValueError, match=r"observations of shape \(3,\); the agent's spec expects \(2,\). Pass"
    ):
        run(Wrong())
    with pytest.raises(ValueError, match=r"run_episode got steps=0; expected a whole number from 1 on"):
        run(PointMass(), steps=0)


def test_what_the_record_is_not_told_it_takes_from_the_environment_the_learner_and_the_seed():
    agent = Agent.for_env(PointMass(), AGENT.learner.prior, planner=AGENT.planner, spec=SPEC)
    made = run_episode(PointMass(), agent, steps=3, seed=7)
    expected = {"env": "PointMass", "method": "Mixture", "schedule": "", "seed": 7, "step_seconds": 1.0}
    assert made.record.meta == {**expected, "complete": True, "error": None}
    same = run_episode(PointMass(), agent, steps=3, seed=7, key=jax.random.key(7), meta={"method": "mine"})
    assert same.record.meta == {**made.record.meta, "method": "mine"}
    np.testing.assert_array_equal(same.segments[0].actions, made.segments[0].actions)


def test_the_record_of_an_environment_with_an_id_says_its_schedule_and_its_step():
    env = gymnasium.make("mole/HalfCheetahMotors-v0", schedule="alternate:A,B:2")
    spec = spec_for(env)
    prior = tiny_prior(jax.random.key(0), spec.feature_dim, spec.delta_dim)
    planner = CEM(env.action_space.low, env.action_space.high, samples=4, elites=2, iterations=1, horizon=2)
    record, _ = run_episode(env, Agent.for_env(env, prior, planner=planner), steps=1, seed=0)
    env.close()
    about = {name: record.meta[name] for name in ("env", "schedule", "step_seconds")}
    assert about == {"env": "mole/HalfCheetahMotors-v0", "schedule": "alternate:A,B:2", "step_seconds": 0.05}


def test_random_rollouts_cover_the_bounds_and_are_cut_at_resets():
    actions = []
    for seed in range(20):
        env = PointMass(length=20)
        segments = random_rollout(env, 50, np.random.default_rng(seed))
        assert [len(s.actions) for s in segments] == [20, 20, 10]
        for segment in segments:
            assert segment.obs.shape == (len(segment.actions) + 1, 2)
            assert segment.obs.dtype == segment.actions.dtype == np.float32
        np.testing.assert_allclose(segments[1].obs[:-1], [step["obs"] for step in env.log[20:40]], rtol=1e-6)
        actions.append(np.concatenate([s.actions for s in segments]))
    every = np.stack(actions)
    assert np.all(every >= LOW) and np.all(every <= HIGH)
    assert every.min() < -0.9 and every.max() > 0.4
    again = random_rollout(PointMass(length=20), 50, np.random.default_rng(19))
    np.testing.assert_array_equal(np.concatenate([s.actions for s in again]), actions[-1])
    held = [
        np.mean(a[1:] == a[:-1]) > 0.3 for a in actions
    ]  # held uniform actions in about half of the rollouts
    assert 0.1 < np.mean(held) < 0.9
    assert np.mean([np.corrcoef(a[1:, 0], a[:-1, 0])[0, 1] for a in actions]) > 0.3  # actions last


def test_segments_survive_a_file(tmp_path):
    rng = np.random.default_rng(0)
    segments = [
        Segment(rng.normal(size=(n + 1, 2)).astype(np.float32), rng.normal(size=(n, 1)).astype(np.float32))
        for n in (5, 1, 3)
    ]
    path = tmp_path / "data.npz"
    save_segments(path, segments)
    loaded = load_segments(path)
    assert len(loaded) == 3
    for a, b in zip(segments, loaded, strict=True):
        np.testing.assert_array_equal(a.obs, b.obs)
        np.testing.assert_array_equal(a.actions, b.actions)
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]
    for segment, (x, y) in zip(segments, to_trajectories(loaded, SPEC), strict=True):
        np.testing.assert_allclose(x, np.concatenate([segment.obs[:-1], segment.actions], axis=1), rtol=1e-6)
        np.testing.assert_allclose(y, segment.obs[1:] - segment.obs[:-1], rtol=1e-5, atol=1e-6)
