"""Quality against wall time of trainings: ``python docs/training_speed.py NAME=LOG.jsonl … docs/training-speed.png``.

Reads the logs that `mole train` leaves. Quality is what the agent earns while it gathers data (mean over the episodes
of a round, exploration noise included), and the error on held-out windows after adaptation.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

from mole.report.style import GRID, INK, MUTED


def entries(path: str) -> list[dict]:
    """The lines of a log."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def returns(log: list[dict]) -> tuple[list[float], list[float]]:
    """Minutes at the end of each round's control, and the mean return of its episodes."""
    rounds = defaultdict(list)
    for entry in log:
        if "return_per_1000" in entry:
            rounds[entry["round"]].append(entry)
    ends = [max(e["wall_seconds"] for e in group) / 60 for group in rounds.values()]
    return ends, [sum(e["return_per_1000"] for e in group) / len(group) for group in rounds.values()]


def losses(log: list[dict]) -> tuple[list[float], list[float]]:
    """Minutes at the end of each meta-training, and its held-out loss after adaptation."""
    last = {entry["round"]: entry for entry in log if entry.get("stage") == "meta"}
    return [e["wall_seconds"] / 60 for e in last.values()], [e["loss_after"] for e in last.values()]


def main(*arguments: str) -> None:
    """Draw both, a line for each log."""
    *named, target = arguments
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    titles = ("return per 1,000 steps while it trains", "held-out error after adaptation")
    for axis, measure, title in zip(axes, (returns, losses), titles, strict=True):
        for number, text in enumerate(named):
            name, _, path = text.partition("=")
            minutes, values = measure(entries(path))
            axis.plot(
                minutes,
                values,
                "o-",
                ms=3,
                lw=1.6,
                color=("#8d8a86", "#0a5fb4", "#c97a06")[number % 3],
                label=name,
            )
        axis.set_title(title, loc="left", fontsize=10, color=INK)
        axis.set_xlabel("minutes since the first random action", color=MUTED)
        axis.set_xlim(0, None)
        axis.grid(color=GRID)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].set_yscale("log")
    axes[0].legend(frameon=False)
    figure.savefig(target, dpi=110, facecolor="white")


if __name__ == "__main__":
    main(*sys.argv[1:])
