"""Environments of other packages, broken in one line each. `info` holds the hidden task, for the evaluator alone."""

import gymnasium

from mole.envs import (
    set_attribute,
    set_friction,
    set_gain,
    set_gravity,
    set_mass,
    switching,
    switching_by_name,
)

# A pendulum on the moon and back; a hopper on ice; an ant that tires slowly and recovers.
pendulum = switching(gymnasium.make("Pendulum-v1"), set_gravity, "alternate:9.81,1.62:50")
hopper = switching(
    gymnasium.make("Hopper-v5"), set_friction, "alternate:original,0.05:50", through_resets=True
)
ant = switching(gymnasium.make("Ant-v5"), set_gain, "drift:1,0.3:100")
# Two parameters at once, any number of an environment, and the names of the command line.
heavy = switching(gymnasium.make("Hopper-v5"), set_mass, "uniform:0.5,2:50", through_resets=True)
heavy_and_weak = switching(heavy, set_gain, "alternate:1,0.7:50", through_resets=True)
longer = switching(gymnasium.make("Pendulum-v1"), set_attribute("l"), "alternate:1,1.5:50")
late = switching_by_name(
    gymnasium.make("Reacher-v5"), "observation-delay", "alternate:0,3:60", through_resets=True
)

for env in (pendulum, hopper, ant, heavy_and_weak, longer, late):
    env.action_space.seed(0)
    _, info = env.reset(seed=0)
    print(f"\n{env}\n  step   0: task {info['task']:2d}  {info['parameters']}")
    for step in range(1, 151):
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        if step % 30 == 0:
            print(f"  step {step:3d}: task {info['task']:2d}  {info['parameters']}")
        if terminated or truncated:
            env.reset()
    env.close()
