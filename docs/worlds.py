"""Draw the three families side by side: ``MUJOCO_GL=egl python docs/worlds.py docs/worlds.png``."""

import sys

import gymnasium
import numpy as np
from PIL import Image

import mole.envs  # noqa: F401

WORLDS = (
    ("mole/HalfCheetahMotors-v0", "alternate:A,B:100"),
    ("mole/HalfCheetahTerrain-v0", "alternate:.3,-.3:60"),
    ("mole/CrawlerLegs-v0", "fixed:0/3/0/0/2/0"),
)


def main(target: str) -> None:
    """One frame of each world after a few small random actions."""
    frames = []
    for name, schedule in WORLDS:
        env = gymnasium.make(name, schedule=schedule, render_mode="rgb_array", width=480, height=320)
        env.reset(seed=4)
        rng = np.random.default_rng(0)
        for _ in range(30):
            env.step(0.6 * rng.uniform(env.action_space.low, env.action_space.high).astype(np.float32))
        frames.append(np.asarray(env.render()))
        env.close()
    Image.fromarray(np.concatenate(frames, axis=1)).save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
