"""An unchanged environment of NS-Gym with our unchanged agent: the shipped prior of the half-cheetah adapts.

Needs `pip install mole-online ns-gym==1.0.12` in its own environment, since NS-Gym needs MuJoCo below 3.4.
"""

import gymnasium
from ns_gym.schedulers import PeriodicScheduler
from ns_gym.update_functions import CyclicUpdate
from ns_gym.wrappers import MujocoWrapper

from mole import load_prior
from mole.control import Agent, run_episode
from mole.envs.cheetah.motors import DYNAMICS
from mole.envs.wrappers.ns_gym import PlainNSGym
from mole.experiment.metrics import summarise
from mole.experiment.worlds import KnownTask

STEPS = 1000
# Body, observations and reward are those of our half-cheetah. NS-Gym changes the torso's mass every 100 steps.
cheetah = gymnasium.make(
    "HalfCheetah-v5",
    exclude_current_positions_from_observation=False,
    ctrl_cost_weight=0.05,
    max_episode_steps=STEPS + 1,
)
heavy = CyclicUpdate(PeriodicScheduler(100), [6.25, 25.0])
env = PlainNSGym(MujocoWrapper(cheetah, {"torso_mass": heavy}))

agent = Agent.for_env(env, load_prior("motors"), spec=DYNAMICS)
# `truth` is for the record alone. The agent never sees the task.
episode = run_episode(env, agent, steps=STEPS, seed=0, truth=KnownTask(env))
env.close()
for name, value in summarise(episode.record).items():
    print(f"{name:22s} {value:10.3f}")
