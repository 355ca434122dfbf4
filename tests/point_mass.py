"""A point on a line, pushed by an action times a hidden gain: a fake environment in NumPy, and an agent for it."""

from __future__ import annotations

import os

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np

from helpers import tiny_prior
from mole.control.agent import Agent
from mole.control.config import TrainingConfig
from mole.envs import generic_spec
from mole.meta import MetaConfig
from mole.online import Mixture
from mole.planning import CEM

LOW, HIGH = np.array([-1.0], np.float32), np.array([0.5], np.float32)
META = {"env": "point", "method": "mole", "schedule": "test", "seed": 0, "step_seconds": 0.1}
TINY_TRAINING = TrainingConfig(
    random_rollouts=4,
    random_steps=24,
    rounds=1,
    episodes=2,
    episode_steps=20,
    width=6,
    depth=1,
    horizon=2,
    samples=12,
    iterations=1,
    round_iterations=4,
    meta=MetaConfig(window=4, iterations=6, batch=4, evaluate_every=6, held_out=0.5),
)
"""A training of seconds."""


def reward(obs, action, following):
    return following[0] - 0.01 * jnp.sum(jnp.square(action))


def position(obs):
    return obs[0]


SPEC = generic_spec(2, 1, reward)
SPEC = type(SPEC)(**{**vars(SPEC), "position": position})


class WatchedInfo(dict):
    """Notes who reads it."""

    def __init__(self, task, reads):
        super().__init__(task=task)
        self._reads = reads

    def __getitem__(self, name):
        self._reads.append(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self._reads.append(name)
        return super().get(name, default)

    def __iter__(self):
        self._reads.append("all")
        return super().__iter__()

    keys = values = items = __iter__


class PointMass(gym.Env):
    """Position and velocity; the gain changes sign every ``switch`` steps of an episode (counted over resets).

    Args:
        switch: steps between changes.
        length: an episode terminates after so many steps; None never.
        fail: step of the run at which ``how`` happens.
        how: an exception to raise, or "nan observation", "nan reward".
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Box(LOW, HIGH)

    def __init__(self, *, switch=10, length=None, fail=None, how=None):
        self.switch, self.length, self.fail, self.how = switch, length, fail, how
        self.reads, self.log, self.resets = [], [], []
        self.steps = self.age = 0

    @property
    def task(self):
        return self.steps // self.switch % 2

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets.append((self.steps, seed))
        self.age, self.state = 0, self.np_random.normal(size=2) * 0.1
        return self.state.copy(), WatchedInfo(self.task, self.reads)

    def step(self, action):
        task = self.task
        failing = self.steps == self.fail
        if failing and not isinstance(self.how, str):
            raise self.how
        before = self.state.copy()
        gain = 1.0 if task == 0 else -1.0
        velocity = 0.9 * self.state[1] + 0.2 * gain * float(action[0])
        self.state = np.array([self.state[0] + 0.1 * velocity, velocity])
        value = self.state[0] - 0.01 * float(action[0]) ** 2
        self.log.append(
            {"obs": before, "action": np.array(action), "next": self.state, "reward": value, "task": task}
        )
        self.steps += 1
        self.age += 1
        obs = self.state.copy()
        if failing and self.how == "nan observation":
            obs[1] = np.nan
        if failing and self.how == "nan reward":
            value = np.nan
        ended = self.length is not None and self.age >= self.length
        return obs, value, ended, False, WatchedInfo(task, self.reads)


def make_point_mass(phase):
    """For `train_priors`, also in another process."""
    return PointMass(length=15 if phase == "explore" else None)


def make_deadly_point_mass(armed, phase):
    """`make_point_mass`; but where the file ``armed`` is, and an episode of round 1 beside it, the process ends."""
    if armed.exists() and (armed.parent / "data-01-00.npz").exists():
        armed.unlink()
        os._exit(1)
    return make_point_mass(phase)


class PointTruth:
    """The evaluator's knowledge of a `PointMass`."""

    def __init__(self, env):
        self.env = env

    def governing(self, info):
        return info["task"]

    def upcoming(self):
        return self.env.task


def make_agent(learner=Mixture, **settings):
    """Tiny networks and a tiny planner."""
    prior = tiny_prior(jax.random.key(0), 3, 2, window=4, normalised=True)
    return Agent(
        learner(prior, **settings), CEM(LOW, HIGH, samples=8, elites=2, iterations=2, horizon=3), SPEC
    )
