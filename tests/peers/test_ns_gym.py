"""Environments made with NS-Gym under our agent, in a virtual environment of its own (it pins an older MuJoCo)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ns_gym")

import gymnasium
import jax
import jax.numpy as jnp
from ns_gym.schedulers import ContinuousScheduler, PeriodicScheduler
from ns_gym.update_functions import CyclicUpdate, IncrementUpdate, RandomWalk
from ns_gym.wrappers import MujocoWrapper, NSClassicControlWrapper

from mole import Mixture
from mole.control.agent import Agent
from mole.control.episode import run_episode
from mole.envs import generic_spec
from mole.envs.wrappers.ns_gym import PlainNSGym
from mole.experiment.worlds import KnownTask
from mole.learning.models import MLP, Normalizer
from mole.learning.prior import MetaPrior
from mole.planning import CEM


def pendulum(updates, **settings):
    env = gymnasium.make("Pendulum-v1", max_episode_steps=1000)
    return NSClassicControlWrapper(env, updates, **settings)


def falling():
    return {"g": CyclicUpdate(PeriodicScheduler(3), [9.81, 3.7])}


def cheetah(updates):
    env = gymnasium.make(
        "HalfCheetah-v5", exclude_current_positions_from_observation=False, ctrl_cost_weight=0.05
    )
    return MujocoWrapper(env, updates)


@pytest.mark.parametrize("scalar", [True, False])
def test_the_state_and_the_reward_are_those_of_the_environment_inside(scalar):
    env = PlainNSGym(pendulum(falling(), scalar_reward=scalar, change_notification=True))
    plain = gymnasium.make("Pendulum-v1", max_episode_steps=1000)
    assert env.observation_space == plain.observation_space
    np.testing.assert_array_equal(env.reset(seed=4)[0], plain.reset(seed=4)[0])
    for step in range(12):
        action = plain.action_space.sample()
        plain.unwrapped.g = (9.81, 3.7)[step // 3 % 2]
        got, want = env.step(action), plain.step(action)
        np.testing.assert_array_equal(got[0], want[0])
        assert type(got[1]) is float
        assert got[1:4] == (float(want[1]), *want[2:4])


def test_the_evaluator_knows_the_task_before_and_after_a_step_and_looking_changes_nothing():
    looked, not_looked = (PlainNSGym(pendulum(falling())) for _ in range(2))
    for _ in range(2):  # in a second episode too
        assert looked.reset(seed=1)[1]["task"] == not_looked.reset(seed=1)[1]["task"] == 0
        for step in range(12):
            upcoming = [looked.upcoming_task() for _ in range(3)]
            info, other = (env.step(np.zeros(1, np.float32))[-1] for env in (looked, not_looked))
            assert upcoming == [step // 3 % 2] * 3
            assert info["task"] == other["task"] == step // 3 % 2
            assert info["parameters"] == other["parameters"] == {"g": (9.81, 3.7)[step // 3 % 2]}


def test_random_updates_are_foreseen_and_drift_makes_no_tasks():
    walk = PlainNSGym(
        pendulum(
            {"g": RandomWalk(PeriodicScheduler(2), seed=0), "m": IncrementUpdate(PeriodicScheduler(3), 0.1)}
        )
    )
    walk.reset(seed=0)
    tasks = [(walk.upcoming_task(), walk.step(np.zeros(1, np.float32))[-1]["task"]) for _ in range(12)]
    assert all(upcoming == task for upcoming, task in tasks)
    assert [task for _, task in tasks] == [0, 0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 7]
    drift = PlainNSGym(pendulum({"g": IncrementUpdate(ContinuousScheduler(), 0.01)}), drifts=True)
    assert drift.reset(seed=0)[1]["task"] == drift.upcoming_task() == -1
    assert drift.step(np.zeros(1, np.float32))[-1]["task"] == -1


def test_mujocos_gravity_is_a_vector():
    env = PlainNSGym(cheetah({"gravity": CyclicUpdate(PeriodicScheduler(2), [-9.81, -3.0])}))
    env.reset(seed=0)
    for step in range(6):
        assert env.upcoming_task() == step // 2 % 2
        info = env.step(np.zeros(6, np.float32))[-1]
        assert info["task"] == step // 2 % 2
        np.testing.assert_array_equal(info["parameters"]["gravity"], [0, 0, (-9.81, -3.0)[step // 2 % 2]])


def test_our_agent_runs_on_a_pendulum_of_theirs():
    def reward(obs, action, next_obs):
        return -(jnp.arctan2(obs[1], obs[0]) ** 2 + 0.1 * obs[2] ** 2 + 0.001 * action[0] ** 2)

    model = MLP(4, 3, width=8, depth=1, key=jax.random.key(0))
    norms = {"x_norm": Normalizer.identity(4), "y_norm": Normalizer.identity(3)}
    prior = MetaPrior(model, inner_rate=0.01, window=4, **norms)
    env = PlainNSGym(pendulum(falling()))
    planner = CEM(env.action_space.low, env.action_space.high, horizon=4, samples=16, iterations=1)
    agent = Agent(Mixture(prior), planner, generic_spec(3, 1, reward))
    meta = {"env": "Pendulum-v1", "method": "mole", "schedule": "ns_gym", "seed": 0, "step_seconds": 0.05}
    episode = run_episode(
        env, agent, steps=30, seed=0, key=jax.random.key(0), meta=meta, truth=KnownTask(env)
    )
    np.testing.assert_array_equal(episode.record.true_task, np.arange(30) // 3 % 2)


def test_the_example_keeps_a_cheetah_of_theirs_running_while_its_mass_changes(capsys):
    code = (Path(__file__).parents[2] / "examples" / "ns_gym.py").read_text()
    for old, new in {
        "STEPS = 1000": "STEPS = 100",
        "PeriodicScheduler(100)": "PeriodicScheduler(40)",
    }.items():
        assert old in code
        code = code.replace(old, new)
    space = {"__name__": "__main__"}
    exec(compile(code, "ns_gym.py", "exec"), space)
    record = space["episode"].record
    assert record.reward.sum() > 30  # of random actions: below 0
    np.testing.assert_array_equal(record.true_task, np.arange(100) // 40 % 2)
    assert "return_per_1000" in capsys.readouterr().out


def test_what_is_not_of_ns_gym_is_refused():
    with pytest.raises(
        ValueError, match="PendulumEnv, which has no `tunable_params`; expected an environment with"
    ):
        PlainNSGym(gymnasium.make("Pendulum-v1"))
    with pytest.raises(ValueError, match="expected NS-Gym's dictionary with a 'state'"):
        PlainNSGym(PlainNSGym(pendulum(falling())))


def test_nothing_begins_before_a_reset():
    with pytest.raises(gymnasium.error.ResetNeeded):
        PlainNSGym(pendulum(falling())).upcoming_task()
