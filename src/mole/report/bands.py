"""The band of a mixture: which task ruled, and which slot the learner believed in."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mole.control.records import EpisodeRecord
from mole.report.drawing import SMALL
from mole.report.style import INK, MUTED, TASKS

__all__ = ["draw_band", "slot_colours"]

_UNKNOWN = MUTED
_BINS = 200


def draw_band(axes: Axes, run: EpisodeRecord) -> None:
    """Draw the true task as a strip over the stacked probabilities of the slots, in matching colours.

    A slot has the colour of the true task that it served most, if it is that task's main slot; otherwise a
    colour of its own. Triangles mark the steps at which a task was added.
    """
    starts, shares = _shares(run.responsibilities)
    below = np.zeros(len(starts))
    for slot, colour in slot_colours(run).items():
        above = below + shares[:, slot]
        at, low, high = _outline(starts, below, above)
        axes.fill_between(
            np.append(at, len(run)),
            np.append(low, low[-1]),
            np.append(high, high[-1]),
            step="post",
            color=colour,
            linewidth=0,
        )
        below = above
    changes = (np.flatnonzero(np.diff(run.true_task)) + 1).tolist()
    for start, stop in zip([0, *changes], [*changes, len(run)], strict=True):
        task = int(run.true_task[start])
        axes.fill_between(
            [start, stop], 1.12, 1.38, color=TASKS[task % len(TASKS)] if task >= 0 else _UNKNOWN, linewidth=0
        )
    for step in np.flatnonzero(run.spawned):
        axes.plot(step, 1.055, "v", color=INK, markersize=3.6, clip_on=False)
    axes.set_xlim(0, len(run))
    axes.set_ylim(-0.02, 1.4)
    axes.grid(False)
    axes.set_yticks([0.5, 1.25], ["learner", "truth"], fontsize=SMALL)


def _outline(starts: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
    """Starts, lower and upper edge of a slot, without the stretches over which it is absent or stays the same."""
    present = high > low
    last = np.maximum.accumulate(np.where(present, np.arange(len(starts)), 0))
    low, high = low[last], np.where(present, high, low[last])
    kept = np.append(True, (np.diff(low) != 0) | (np.diff(high) != 0))
    return starts[kept], low[kept], high[kept]


def _shares(responsibilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First step and shares of the slots for every stretch over which they stay the same (to a hundredth).

    Where that leaves too many stretches for a page, steps are averaged first.
    """
    for size in (1, max(1, -(-len(responsibilities) // _BINS))):
        starts = np.arange(0, len(responsibilities), size)
        shares = np.add.reduceat(responsibilities, starts, axis=0)
        shares = np.round(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12), 2)
        kept = np.append(True, (np.diff(shares, axis=0) != 0).any(axis=1))
        if kept.sum() <= _BINS:
            break
    return starts[kept], shares[kept]


def slot_colours(run: EpisodeRecord) -> dict[int, str]:
    """Slot → colour for every slot that was ever believed in (mass above a thousandth of the run)."""
    mass = run.responsibilities.sum(axis=0)
    used = [int(slot) for slot in np.flatnonzero(mass > 1e-3 * len(run))]
    tasks = [int(task) for task in np.unique(run.true_task) if task >= 0]
    served = np.array(
        [[run.responsibilities[run.true_task == task, slot].sum() for task in tasks] for slot in used]
    )
    colours: dict[int, str] = {}
    for row, slot in enumerate(used):
        if tasks and served[:, served[row].argmax()].argmax() == row:
            colours[slot] = TASKS[tasks[int(served[row].argmax())] % len(TASKS)]
    spare = [colour for colour in reversed(TASKS) if colour not in colours.values()] or [_UNKNOWN]
    for index, slot in enumerate(slot for slot in used if slot not in colours):
        colours[slot] = spare[index % len(spare)]
    return dict(sorted(colours.items()))
