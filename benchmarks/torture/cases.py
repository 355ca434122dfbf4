"""What is tortured: commands of small size, and what must be the same at their end."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mole.control.records import EpisodeRecord
from mole.files import checkpoint

TIMES = (
    "wall_seconds",
    "processor_seconds",
    "seconds",
    "ms_per_step",
)  # of a log's line or an episode's: how long it took is not what it computed


class Case(NamedTuple):
    """One command.

    Attributes:
        name: of the case.
        command: which command it is, for the counts.
        share: of all kills.
        args: of the command.
        prepare: makes its input in a folder.
        differences: between the folders of two runs.
    """

    name: str
    command: str
    share: float
    args: tuple[str, ...]
    prepare: Callable[[Path], None]
    differences: Callable[[Path, Path], Iterator[str]]


def _table(folder: Path, rows: int = 60) -> None:
    """Two regimes that return, a column of words, holes and bad rows."""
    draw = random.Random(0)
    lines = ["a,b,c,y"]
    for row in range(rows):
        a, b, sign = draw.gauss(0, 1), draw.gauss(0, 1), 1 if row // 20 % 2 else -1
        y = f"{sign * (2 * a - b) + draw.gauss(0, 0.1):.4f}" if row % 17 != 9 else "?"
        lines.append(f"{a:.4f},{'' if row % 23 == 5 else f'{b:.4f}'},{'red' if row % 3 else 'blue'},{y}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")


def _labels(folder: Path, rows: int = 60) -> None:
    draw = random.Random(1)
    lines = []
    for row in range(rows):
        a, b, sign = draw.gauss(0, 1), draw.gauss(0, 1), 1 if row // 20 % 2 else -1
        lines.append(json.dumps({"a": a, "b": b, "y": "up" if sign * (a + b) > 0 else "down"}))
    (folder / "data.jsonl").write_text("\n".join(lines) + "\n")


def _nothing(folder: Path) -> None:
    pass


def _stream_differences(one: Path, other: Path) -> Iterator[str]:
    for name in ("p.csv", "p.jsonl"):
        if (one / name).exists() or (other / name).exists():
            yield from _bytes(one / name, other / name)
            yield from _counted(other / name)
    yield from _bytes(
        one / "run.mole", other / "run.mole"
    )  # mixture, normalisers, counts, keys, place in the input
    yield from _left_over(other)


def _counted(path: Path) -> Iterator[str]:
    """Every row once."""
    if path.suffix == ".csv":
        rows = [int(line.split(",")[0]) for line in path.read_text().splitlines()[1:]]
    else:
        rows = [json.loads(line)["row"] for line in path.read_text().splitlines()]
    if rows != list(range(1, len(rows) + 1)):
        yield f"{path.name}: rows lost or twice"


def _train_differences(one: Path, other: Path) -> Iterator[str]:
    yield from _names(one / "train", other / "train")
    for path in sorted((one / "train").glob("*")):
        if path.name == "log.jsonl" or path.match("data-*.json"):
            logs = [_log(folder / "train" / path.name) for folder in (one, other)]
            if logs[0] != logs[1]:
                yield f"{path.name}: {len(logs[0])} and {len(logs[1])} events, or other numbers in them"
        elif path.name != ".lock":
            yield from _bytes(path, other / "train" / path.name)
    yield from _left_over(other / "train")


def _log(path: Path) -> list[dict[str, Any]]:
    """The events of a file with one JSON object a line, without their times."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def _eval_differences(one: Path, other: Path) -> Iterator[str]:
    folders = sorted(path.parent for path in one.rglob("eval.json"))
    for folder in folders:
        there = other / folder.relative_to(one)
        yield from _names(folder, there)
        for path in sorted(folder.glob("*.npz")):
            if path.name.endswith(".actions.npz"):
                yield from _bytes(path, there / path.name)
            else:
                yield from _records(path, there / path.name)
        yield from _left_over(there)


def _records(one: Path, other: Path) -> Iterator[str]:
    a, b = EpisodeRecord.load(one), EpisodeRecord.load(other)
    if a.meta != b.meta:
        yield f"{one.name}: another header"
    for name in ("reward", "loss", "responsibilities", "task", "n_tasks", "spawned", "at_capacity", "rejected",
                 "true_task", "position", "upright"):  # fmt: skip
        if getattr(a, name).tobytes() != getattr(b, name).tobytes():
            yield f"{one.name}: another {name}"
    if len(b) and not np.isfinite(b.seconds).all():
        yield f"{one.name}: steps without a time"


def _names(one: Path, other: Path) -> Iterator[str]:
    a, b = ({path.name for path in folder.iterdir()} for folder in (one, other))
    if a != b:
        yield f"{one.name}: other files: {sorted(a ^ b)}"


def _bytes(one: Path, other: Path) -> Iterator[str]:
    if not one.exists() or not other.exists() or one.read_bytes() != other.read_bytes():
        yield f"{one.name}: other bytes"


def _left_over(folder: Path) -> Iterator[str]:
    left = [path.name for path in folder.glob(".*.tmp")]
    if left:
        yield f"left over: {left}"
    for path in folder.glob("[!.]*.mole*"):
        try:
            checkpoint.verify(path)
        except checkpoint.CheckpointError as error:
            yield str(error)


_STREAM = ("--every", "4", "--every-seconds", "0.5", "--checkpoint", "run.mole", "--resume")
_SMALL = ("--planner.samples", "16", "--planner.elites", "4", "--planner.iterations", "1")
CASES = (
    Case("regression", "stream", 0.35, ("stream", "data.csv", "--target", "y", "--out", "p.csv", *_STREAM),
         _table, _stream_differences),
    Case("classification", "stream", 0.25, ("stream", "data.jsonl", "--target", "y", "--out", "p.jsonl", *_STREAM),
         _labels, _stream_differences),
    Case("train", "train", 0.25,
         ("train", "motors", "--out", "train", "--random-rollouts", "6", "--random-steps", "40", "--rounds", "1",
          "--episodes", "2", "--episode-steps", "60", "--width", "8", "--depth", "1", "--samples", "12", "--horizon",
          "3", "--iterations", "1", "--meta.window", "8", "--meta.iterations", "1000", "--round-iterations", "500",
          "--meta.batch", "4", "--meta.evaluate-every", "250", "--every-seconds", "0.1"),
         _nothing, _train_differences),
    Case("eval", "eval", 0.1,
         ("eval", "motors", "--methods", "mole", "kshot", "--seeds", "1", "--steps", "100", "--probe-steps", "0",
          "--workers", "1", "--keep-actions", "--out", "eval", "--every-seconds", "0.2", *_SMALL),
         _nothing, _eval_differences),
    Case("suite", "eval", 0.05,
         ("eval", "--suite", "quick", "--families", "motors", "terrain", "--methods", "mole", "--seeds", "1", "--steps",
          "40", "--workers", "1", "--out", "suite", "--every-seconds", "0.2"),
         _nothing, _eval_differences),
)  # fmt: skip
"""All of them."""
