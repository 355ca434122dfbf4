"""The demo's video: mole beside a baseline at the same moments, after the motors have changed and changed back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mole.control.records import EpisodeRecord
from mole.experiment.config import Cell
from mole.report.replay import replay_frames
from mole.report.video import render_webp, rendering_available, side_by_side

__all__ = ["demo_video"]

_SHOWN = range(180, 420)
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
    shown = range(_SHOWN.start, min(_SHOWN.stop, *(len(runs[m]) for m in methods)))
    if len(shown) < 40:
        return {}, f"the runs are too short ({shown.stop} steps) to show a return of a task"
    frames = []
    for method in methods:
        cell = Cell(method, runs[method].meta["schedule"], runs[method].meta["seed"])
        frames.append(replay_frames(runs[method], folder / f"{cell.name}.actions.npz", steps=shown))
    path = render_webp(side_by_side(frames[0], frames[1], methods), folder / "video.webp", fps=20)
    caption = f"{methods[0]} beside {methods[1]}, steps {shown.start} to {shown.stop}; broken motors are red"
    return {caption: path}, ""
