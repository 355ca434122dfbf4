"""An environment of NS-Gym's, unchanged, under our agent, unchanged: the shipped prior of the half-cheetah adapts.

Needs `pip install mole-online ns-gym==1.0.12` in an environment of its own: NS-Gym wants MuJoCo below 3.4.
"""

import gymnasium
import jax
from ns_gym.schedulers import PeriodicScheduler
from ns_gym.update_functions import CyclicUpdate
from ns_gym.wrappers import MujocoWrapper

from mole import Mixture, load_prior
from mole.control.agent import Agent
from mole.control.episode import run_episode
from mole.envs.cheetah.motors import DYNAMICS, ENV_ID
from mole.envs.wrappers.ns_gym import PlainNSGym
from mole.experiment.metrics import summarise
from mole.experiment.worlds import KnownTask
from mole.planning import CEM

STEPS = 1000
# The same body, observations and reward as ours; what changes is NS-Gym's: the torso's mass, every 100 steps.
cheetah = gymnasium.make(
    "HalfCheetah-v5",
    exclude_current_positions_from_observation=False,
    ctrl_cost_weight=0.05,
    max_episode_steps=STEPS + 1,
)
heavy = CyclicUpdate(PeriodicScheduler(100), [6.25, 25.0])
env = PlainNSGym(MujocoWrapper(cheetah, {"torso_mass": heavy}))

prior = load_prior(ENV_ID)
agent = Agent(Mixture(prior), CEM(env.action_space.low, env.action_space.high), DYNAMICS)
meta = {"env": "HalfCheetah-v5", "method": "mole", "schedule": "ns_gym", "seed": 0, "step_seconds": 0.05}
episode = run_episode(env, agent, steps=STEPS, seed=0, key=jax.random.key(0), meta=meta, truth=KnownTask(env))
for name, value in summarise(episode.record).items():
    print(f"{name:22s} {value:10.3f}")
