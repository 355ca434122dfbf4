"""Pictures of a run, made afterwards: the same seed and actions give the same trajectory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mole.control.records import EpisodeRecord
from mole.control.stages import load_stretches
from mole.experiment.worlds import make_world

__all__ = ["replay_frames"]


def replay_frames(
    record: EpisodeRecord, actions: Path, *, steps: range, width: int = 480, height: int = 270
) -> Iterator[np.ndarray]:
    """Frames ``[height, width, 3]`` uint8 of the given steps of a run.

    Args:
        record: the run; its header names environment, schedule and seed.
        actions: its actions (`mole.control.stages.save_stretches`).
        steps: which steps to show.
        width: pixels.
        height: pixels.

    Raises:
        ValueError: if the record names a module that is not imported, the replay does not follow the record (another
            version of the simulator, say), or there are
            fewer actions than steps.
    """
    meta = record.meta
    module = str(meta["env"]).rpartition(":")[0]
    if module and module not in sys.modules:
        raise ValueError(
            f"the record names an environment of the module {module!r:.80}, which is not imported; expected one "
            "that is: no file may name code to run. Import it first."
        )
    env = make_world(
        meta["env"],
        schedule=meta["schedule"],
        render_mode="rgb_array",
        width=width,
        height=height,
    )
    try:
        commands = np.concatenate([stretch.actions for stretch in load_stretches(actions)])
        if len(commands) < steps.stop:
            raise ValueError(
                f"{actions.name} has {len(commands)} actions, expected at least {steps.stop}: show earlier steps"
            )
        env.reset(seed=int(meta["seed"]))
        ended = False
        for step in range(steps.stop):
            if ended:
                env.reset()
            _, reward, terminated, truncated, _ = env.step(commands[step])
            ended = terminated or truncated
            if abs(float(reward) - record.reward[step]) > 1e-6 * max(1.0, abs(record.reward[step])):
                raise ValueError(
                    f"the replay left the record at step {step}: reward {float(reward)}, recorded "
                    f"{record.reward[step]}. Replay with the versions in the record's header."
                )
            if step in steps:
                frame = env.render()
                assert isinstance(frame, np.ndarray)
                yield frame
    finally:
        env.close()
