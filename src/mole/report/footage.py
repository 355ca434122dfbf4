"""Videos: runs drawn again from their actions, two of them side by side at the same moments.

A record holds no pictures: the same seed and actions give the same trajectory, so that pictures are made afterwards.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mole.control.records import EpisodeRecord
from mole.control.stages import load_segments
from mole.experiment.config import Cell
from mole.experiment.metrics import recall, switches
from mole.report.digest import Digest
from mole.report.groups import Group
from mole.report.page import video_cards
from mole.report.video import render_webp, rendering_available, side_by_side

__all__ = ["demo_video", "film", "replay_frames"]

Frames = Generator[np.ndarray, None, None]


def replay_frames(
    record: EpisodeRecord, actions: Path, *, steps: range, width: int = 480, height: int = 270
) -> Frames:
    """Frames ``[height, width, 3]`` uint8 of the given steps of a run. The environment is closed at the end.

    Args:
        record: the run; its header names environment, schedule and seed.
        actions: its actions (`mole.control.stages.save_segments`).
        steps: which steps to show.
        width: pixels.
        height: pixels.

    Raises:
        ValueError: if the record names a module that is not imported, there are fewer actions than steps, or the replay
            does not follow the record (because of another version of the simulator, say).
    """
    meta = record.meta
    module = str(meta["env"]).rpartition(":")[0]
    # The name comes from a file, and importing a module runs its code.
    if module and module not in sys.modules:
        raise ValueError(
            f"the record names an environment of the module {module!r:.80}, which is not imported; expected one "
            "that is: no file may name code to run. Import it first."
        )
    if meta.get("dropped"):
        raise ValueError(
            f"the record dropped {meta['dropped']} transitions that were not finite; expected none, since a replay "
            "needs all actions and theirs were not kept. Show another run."
        )
    from mole.experiment.worlds import make_world  # only a video needs a simulator, not the rest of a report

    env = make_world(
        meta["env"],
        schedule=meta["schedule"],
        episode_limit=meta.get("configuration", {}).get("episode_limit", "none"),
        render_mode="rgb_array",
        width=width,
        height=height,
    )
    try:
        commands = np.concatenate([segment.actions for segment in load_segments(actions)])
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
            # Physics diverges from the smallest difference on: a reward that is the same tells that all of it is.
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


def _beside(
    frames: Sequence[Generator[np.ndarray, None, None]], names: tuple[str, str], path: Path, **how: Any
) -> Path:
    """Render two replays side by side."""
    with ExitStack() as stack:
        # One of them ends first, or fails: the other's environment would stay open.
        for replay in frames:
            stack.callback(replay.close)
        return render_webp(side_by_side(frames[0], frames[1], names), path, **how)


_DEMO = range(180, 420)
"""Steps: two switches, both back to tasks seen before."""


def demo_video(
    records: Sequence[EpisodeRecord], folder: Path, methods: tuple[str, str] = ("mole", "kshot")
) -> tuple[dict[str, Path], str]:
    """Render two runs side by side.

    Args:
        records: runs of the demo; their actions are beside them in ``folder``.
        folder: of the demo.
        methods: left and right.

    Returns:
        The video by its caption and an empty reason, or no video and the reason.
    """
    able, reason = rendering_available()
    if not able:
        return {}, reason.removeprefix("no video: ")
    runs = {record.meta["method"]: record for record in records}
    shown = range(_DEMO.start, min(_DEMO.stop, *(len(runs[m]) for m in methods)))
    if len(shown) < 40:
        return {}, f"the runs are too short ({shown.stop} steps) to show a return of a task"
    frames = []
    for method in methods:
        cell = Cell(method, runs[method].meta["schedule"], runs[method].meta["seed"])
        frames.append(replay_frames(runs[method], folder / f"{cell.name}.actions.npz", steps=shown))
    path = _beside(frames, methods, folder / "video.webp", fps=20)
    caption = f"{methods[0]} beside {methods[1]}, steps {shown.start} to {shown.stop}; broken motors are red"
    return {caption: path}, ""


_BASELINES = ("kshot", "continuous", "supervised")
_BEFORE, _AFTER = 40, 120  # steps shown around the moment
_SIZE = (400, 225)  # pixels of one run
_BYTES_PER_SECOND = 80_000  # several videos share a page that should stay small


def film(group: Group, target: Path, *, wanted: bool) -> str:
    """A card with the video of a group, or one line that says why there is none.

    Args:
        group: its runs; those with actions beside their records can be shown.
        target: the page; the video is kept beside it, and not made again while it is newer than its runs.
        wanted: whether there should be one.
    """
    if not wanted:
        return _none("not asked for")
    pair = _pair(group)
    if pair is None:
        return _none(
            f"no setting has mole and one of {', '.join(_BASELINES)} with the same seed and their actions kept"
        )
    able, reason = rendering_available()
    if not able:
        return _none(reason.removeprefix("no video: "))
    try:
        return video_cards(_video(group, pair, target))
    # A video that fails (another simulator, no space left) must not cost the page; the reason is shown in its place.
    except (ValueError, RuntimeError, OSError, ArithmeticError) as error:
        return _none(f"{type(error).__name__}: {error}")


def _none(reason: str) -> str:
    return f'<p class="note">No video: {escape(reason.rstrip("."))}.</p>'


def _actions(run: Digest) -> Path | None:
    """The file of the actions of a complete run, if they were kept."""
    if run.source is None or not run.meta["complete"]:
        return None
    path = run.source.with_name(f"{run.source.stem}.actions.npz")
    return path if path.is_file() else None


def _pair(group: Group) -> tuple[Digest, Digest] | None:
    """Runs of mole and of a baseline with the same seed; where tasks return, if possible."""
    shown = {
        (run.setting, str(run.meta["method"]), str(run.meta["seed"])): run
        for run in sorted(group.runs, key=lambda run: str(run.meta["seed"]).zfill(9))
        if _actions(run) is not None
    }
    pairs = [
        (run, shown[setting, other, seed])
        for (setting, method, seed), run in shown.items()
        if method == "mole"
        for other in _BASELINES
        if (setting, other, seed) in shown
    ]
    return max(pairs, key=lambda pair: len(pair[0].recall.step) > 0, default=None)  # the first of equals


def _video(group: Group, pair: Sequence[Digest], target: Path) -> dict[str, Path]:
    records = [EpisodeRecord.load(run.source) for run in pair if run.source is not None]
    steps, moment = _shown(records[0], min(len(record) for record in records))
    names = tuple(str(run.meta["method"]) for run in pair)
    setting, seed = pair[0].setting, pair[0].meta["seed"]
    caption = f"{' beside '.join(names)}: {setting}, seed {seed}, steps {steps.start} to {steps.stop}{moment}"
    stem = "-".join([target.stem, group.name, setting, *names, str(seed), str(steps.start)])
    # Names of settings and methods may hold what is no part of a file name.
    path = target.with_name(re.sub(r"[^\w.+-]+", "-", stem) + ".webp")
    actions = [found for run in pair if (found := _actions(run)) is not None]
    if not path.is_file() or path.stat().st_mtime < max(file.stat().st_mtime for file in actions):
        frames = [
            replay_frames(record, file, steps=steps, width=_SIZE[0], height=_SIZE[1])
            for record, file in zip(records, actions, strict=True)
        ]
        fps = min(1.0 / float(pair[0].meta["step_seconds"]), 50.0)
        _beside(frames, (names[0], names[1]), path, fps=fps, bytes_per_second=_BYTES_PER_SECOND)
    return {caption: path}


def _shown(record: EpisodeRecord, length: int) -> tuple[range, str]:
    """Steps around the first return of a task, or the first switch, or from the start; and what is to be seen."""
    returns, at = recall(record).step, switches(record.true_task)
    for found, what in ((returns, "a known task returns"), (at, "the task switches")):
        early = [int(step) for step in found if step + _AFTER // 2 <= length]
        if early:
            start = max(0, early[0] - _BEFORE)
            return range(start, min(early[0] + _AFTER, length)), f"; {what} at step {early[0]}"
    return range(min(_BEFORE + _AFTER, length)), ""
