"""A half-cheetah whose motors change sign every 100 steps; the agent is not told, and adapts."""

import gymnasium
import jax

from mole import Mixture, load_prior
from mole.control.agent import Agent
from mole.control.episode import run_episode
from mole.envs import spec_for
from mole.experiment.metrics import summarise
from mole.experiment.worlds import KnownTask
from mole.planning import CEM

ENV, SCHEDULE, STEPS = "mole/HalfCheetahMotors-v0", "alternate:A,B:100", 1000
env = gymnasium.make(ENV, schedule=SCHEDULE, episode_steps=None)
prior = load_prior(ENV)
agent = Agent(Mixture(prior), CEM(env.action_space.low, env.action_space.high), spec_for(env))
meta = {"env": ENV, "method": "mole", "schedule": SCHEDULE, "seed": 0, "step_seconds": 0.05}
# `truth` is for the record alone: the agent never sees the task.
episode = run_episode(env, agent, steps=STEPS, seed=0, key=jax.random.key(0), meta=meta, truth=KnownTask(env))
for name, value in summarise(episode.record).items():
    print(f"{name:22s} {value:10.3f}")
