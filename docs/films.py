"""Draw the moving pictures: ``MUJOCO_GL=egl python docs/films.py``, three minutes of one core.

``docs/motors.webp`` (the first page): a half-cheetah whose motors change sign every 60 steps, the error of its model
beside that of k-shot adaptation, and the task that the mixture recognised. ``docs/env-*.webp``: each environment under
an agent with the prior of the package.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import mole.envs  # noqa: F401
from mole import KShot, load_prior
from mole.control import Agent, EpisodeRecord, run_episode
from mole.report.style import GRID, INK, MUTED, TASKS, method_colours

DOCS = Path(__file__).parent
WORLDS = {  # the name of a page → prior, environment, schedule
    "motors": ("motors-upright", "mole/HalfCheetahMotors-v0", "alternate:A,B:60"),
    "terrain": ("terrain", "mole/HalfCheetahTerrain-v0", "alternate:.3,-.3:30"),
    "legs": ("crawler", "mole/CrawlerLegs-v0", "alternate:healthy,invert-2,down-5:60"),
}
STEPS, EVERY = 240, 4


class Filmed(gymnasium.Wrapper):
    """Keeps every `EVERY`-th frame."""

    def __init__(self, env: gymnasium.Env) -> None:
        """No frame yet."""
        super().__init__(env)
        self.frames: list[np.ndarray] = []
        self.steps = 0

    def step(self, action: Any) -> Any:
        """One step, and its picture."""
        result = self.env.step(action)
        if self.steps % EVERY == 0:
            self.frames.append(np.asarray(self.env.render()))
        self.steps += 1
        return result


def film(name: str, steps: int) -> tuple[list[np.ndarray], EpisodeRecord]:
    """Frames and record of an agent in a world."""
    prior, world, schedule = WORLDS[name]
    made = gymnasium.make(world, schedule=schedule, render_mode="rgb_array", width=720, height=220)
    env = Filmed(made)
    episode = run_episode(env, Agent.for_env(env, load_prior(prior)), steps=steps, seed=0)
    env.close()
    return env.frames, episode.record


def save(target: str, frames: list[Image.Image], quality: int) -> None:
    """Write a film that repeats, and say how large it is."""
    path = DOCS / target
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=50 * EVERY, loop=0, quality=quality, method=6
    )
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {len(frames)} frames")


def explained(frames: list[np.ndarray], ours: EpisodeRecord, other: EpisodeRecord) -> list[Image.Image]:
    """The frames above what the two learners know at that step."""
    colours = method_colours(["mole", "kshot"])
    figure = Figure(figsize=(7.2, 5.2), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    robot = figure.add_axes((0.0, 0.5, 1.0, 0.42))
    robot.set_axis_off()
    shown = robot.imshow(frames[0], aspect="auto")
    axis = figure.add_axes((0.11, 0.09, 0.86, 0.33))
    lines = {
        name: axis.plot([], [], color=colours[name], lw=lw, label=label)[0]
        for name, lw, label in (("kshot", 1.2, "adapts anew"), ("mole", 1.6, "mole"))
    }
    axis.set(xlim=(0, STEPS), ylim=(5e-3, 9), yscale="log")
    axis.set_xlabel("step (20 a second)", color=MUTED)
    axis.set_title("error of the next observation, before it is seen", loc="left", fontsize=10, color=INK)
    axis.grid(color=GRID)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(
        frameon=False, loc="upper right", ncols=2, fontsize=9, bbox_to_anchor=(1.0, 1.22), borderaxespad=0
    )
    title = figure.text(0.03, 0.945, "", fontsize=13, color=INK, weight="bold")
    images, drawn = [], 0
    for number, frame in enumerate(frames):
        step = number * EVERY + 1
        shown.set_data(frame)
        for name, record in (("mole", ours), ("kshot", other)):
            lines[name].set_data(np.arange(step), np.maximum(record.loss[:step], 5e-3))
        for at in range(drawn, step):
            axis.axvspan(at, at + 1, color=TASKS[int(ours.task[at])], alpha=0.35, lw=0)
        drawn = step
        task, others = int(ours.task[step - 1]), np.flatnonzero(ours.task[:step] != ours.task[step - 1])
        known = "recalled" if task in ours.task[: others[-1] if others.size else 0] else "found"
        title.set_text(f"Motors turn round every 3 s. The agent: task {task + 1}, {known}.")
        canvas.draw()
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    return images


def main() -> None:
    """All films."""
    frames, ours = film("motors", STEPS)
    prior, world, schedule = WORLDS["motors"]
    env = gymnasium.make(world, schedule=schedule)
    prior = load_prior(prior)
    other = run_episode(env, Agent.for_env(env, prior, learner=KShot(prior)), steps=STEPS, seed=0).record
    env.close()
    save("motors.webp", explained(frames, ours, other), 50)
    for name in WORLDS:
        frames = frames if name == "motors" else film(name, STEPS * 3 // 4)[0]
        save(f"env-{name}.webp", [Image.fromarray(frame) for frame in frames[: STEPS // EVERY * 3 // 4]], 30)


if __name__ == "__main__":
    sys.exit(main())
