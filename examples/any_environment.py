"""Any Gymnasium environment: a pendulum whose motor reverses every 100 steps. The reward is learned too."""

from pathlib import Path

from mole import MetaConfig
from mole.control import Agent, run_episode
from mole.control.training import TrainingConfig, train_priors
from mole.envs import spec_for
from mole.experiment.metrics import summarise
from mole.experiment.worlds import KnownTask, make_world, training_world
from mole.planning import CEM

WORLD, TASKS, SCHEDULE = "Pendulum-v1[gain]", "uniform:-1.5,1.5", "alternate:1,-1:100"
ROLLOUTS, ROUNDS, STEPS = 80, 3, 600

env = make_world(WORLD, schedule=SCHEDULE)
amounts = TrainingConfig(
    random_rollouts=ROLLOUTS,
    random_steps=150,
    rounds=ROUNDS,
    episodes=4,
    episode_steps=400,
    width=64,
    horizon=20,
    round_iterations=1000,
    meta=MetaConfig(window=8, iterations=2500),
)
prior, _ = train_priors(  # about a minute on one core; finished stages in the folder are not repeated
    lambda phase: training_world(WORLD, phase, TASKS, switch_every=100),
    spec_for(env),
    amounts,
    folder=Path("runs/pendulum"),
    seed=0,
    provenance={"env": WORLD},
)

planner = CEM(env.action_space.low, env.action_space.high, horizon=20)
agent = Agent.for_env(env, prior, planner=planner)
# `truth` is for the record alone. The agent never sees the task.
episode = run_episode(env, agent, steps=STEPS, seed=0, truth=KnownTask(env))
env.close()
for name, value in summarise(episode.record).items():
    print(f"{name:22s} {value:10.3f}")
