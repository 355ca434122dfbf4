"""A half-cheetah whose motors change sign every 100 steps; the agent is not told, and adapts."""

import gymnasium

import mole.envs  # noqa: F401 - registers the environments
from mole import load_prior
from mole.control import Agent, run_episode

env = gymnasium.make("mole/HalfCheetahMotors-v0", schedule="alternate:A,B:100")
agent = Agent.for_env(env, load_prior("motors"))
episode = run_episode(env, agent, steps=1000, seed=0)
env.close()

record = episode.record
print(f"return {record.reward.sum():.1f}, {record.n_tasks[-1]} tasks found")
