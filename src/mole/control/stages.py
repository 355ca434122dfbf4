"""The folder of a training: whose it is, the data in it, its log, and the bar that shows how far it is.

Every stage of a training writes one file. A folder belongs to one configuration, so that results of different ones are
never mixed, and a file that was damaged since is set aside, so that its stage is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mole.datasets.transitions import Segment
from mole.files import checkpoint
from mole.files.atomic import atomic_file, atomic_text, naming
from mole.files.checkpoint import DamagedError
from mole.files.generations import set_aside
from mole.files.npz import read_npz

__all__ = ["StageBar", "TrainingLog", "claim_folder", "load_segments", "save_segments", "set_damaged_aside"]

_REMEDY = "choose another folder, or delete this one."
_IDENTITY = ("stage", "round", "episode", "iteration")
_SECONDS_PER_STEP = {"explore": 1e-4, "control": 5e-3, "meta": 1.2e-2, "supervised": 5e-3}
"""Rough cost of a step on one CPU core. They only weigh the stages against each other."""


def claim_folder(folder: Path, name: str, description: Mapping[str, Any]) -> None:
    """Make ``folder`` and write ``description`` to the JSON file ``name``, or check that it says the same already.

    Raises:
        ValueError: if the folder holds something with another description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / name, json.dumps(dict(description), indent=2, sort_keys=True)
    if not path.exists():
        atomic_text(path, text + "\n")
        return
    try:
        # The new one goes through JSON too, which makes lists of tuples.
        old, new = json.loads(path.read_text("utf-8")), json.loads(text)
    # ValueError also for bytes that are not text; RecursionError for brackets without end.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); {_REMEDY}") from error
    if not isinstance(old, dict):
        raise ValueError(f"{path} holds a {type(old).__name__}, expected names with values; {_REMEDY}")  # noqa: TRY004
    if old != new:
        differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        raise ValueError(
            f"{folder} holds results of another configuration: {name} differs in {', '.join(differing)[:300]}. "
            f"{_REMEDY.capitalize()}"
        )


def save_segments(path: Path, segments: Sequence[Segment]) -> None:
    """Write segments to one ``.npz`` file, atomically: all end to end, and how long each is."""
    # Three arrays instead of two for each segment: an archive of thousands of members is slow to read.
    arrays = {
        "obs": np.concatenate([s.obs for s in segments]),
        "actions": np.concatenate([s.actions for s in segments]),
        "lengths": np.asarray([len(s.actions) for s in segments]),
    }
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_segments(path: Path) -> list[Segment]:
    """Read what `save_segments` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or holds something else.
    """
    found = read_npz(path)
    if set(found) != {"obs", "actions", "lengths"}:
        raise ValueError(
            f"{path} has the arrays {sorted(found)[:20]}, expected actions, lengths and obs of a training"
        )
    obs, actions, lengths = found["obs"], found["actions"], found["lengths"]
    if (
        # Files may be damaged or a stranger's: nothing is indexed by their numbers before all fit together.
        (obs.dtype.kind, actions.dtype.kind, lengths.dtype.kind) != ("f", "f", "i")
        or (obs.ndim, actions.ndim, lengths.ndim) != (2, 2, 1)
        or not len(lengths)
        # Each by itself: lengths that are too large could add up to the right sum by overflow.
        or not ((lengths >= 0) & (lengths <= len(actions))).all()
        or (len(actions), len(obs)) != (int(lengths.sum()), int(lengths.sum()) + len(lengths))
    ):
        raise ValueError(
            f"{path} holds obs {obs.dtype}{list(obs.shape)}, actions {actions.dtype}{list(actions.shape)} and "
            f"lengths {lengths.dtype}{list(lengths.shape)}, which do not fit each other: record it again"
        )
    obs = np.split(obs, np.cumsum(lengths + 1)[:-1])
    actions = np.split(actions, np.cumsum(lengths)[:-1])
    return [Segment(o, a) for o, a in zip(obs, actions, strict=True)]


def set_damaged_aside(folder: Path) -> None:
    """Rename every prior and all data of a training that are not whole, with a `RecoveryWarning` each.

    A stage is a function of the seed and of the stages before it: made again, it has the same bytes, and those after it
    stay as they are.

    Raises:
        mole.files.checkpoint.CheckpointError: if a prior is of a newer format.
    """
    # Files of running stages end in .part: whoever goes on from one checks it.
    for names, read, damaged in (
        ("*.mole", checkpoint.verify, DamagedError),
        ("data-*.npz", load_segments, ValueError),
    ):
        for path in sorted(folder.glob(names)):
            try:
                read(path)
            except damaged as error:
                set_aside(path, error, "this stage")


class TrainingLog:
    """``log.jsonl`` of a training: one JSON object per line, every event once.

    A stage that goes on from a checkpoint makes some of its events again; these are left out. So an event may be logged
    before the checkpoint that follows it is written, and none is lost.

    Args:
        path: the file. A last line that was written in part is removed.
    """

    def __init__(self, path: Path) -> None:
        """See the class."""
        self.path, self._seen = path, set[str]()
        if not path.exists():
            return
        # A process that was killed may have left half a line.
        whole, _, torn = path.read_bytes().rpartition(b"\n")
        if torn:
            with atomic_file(path) as file:
                file.write(whole + b"\n" if whole else b"")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
            except ValueError:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
                entry = None
            if not isinstance(entry, dict):
                raise ValueError(  # noqa: TRY004  a wrong file is wrong data
                    f"{path} is damaged in line {number}: got {line[:60]!r}, expected one JSON object. Remove that "
                    "line to go on; it only tells what was done."
                )
            self._seen.add(_identity(entry))

    def append(self, seconds: dict[str, float], entry: dict[str, Any]) -> None:
        """Write an event, unless it is there.

        Args:
            seconds: since this process began, of the clock and of processors; not part of what the event is.
            entry: of which ``stage``, ``round``, ``episode`` and ``iteration`` say which event it is.
        """
        if _identity(entry) in self._seen:
            return
        self._seen.add(_identity(entry))
        with naming(self.path), self.path.open("a") as file:
            file.write(json.dumps({**seconds, **entry}) + "\n")
            file.flush()
            # Stages that are done are not done again: an event that a power cut takes would be missing for good.
            os.fsync(file.fileno())


def _identity(entry: dict[str, Any]) -> str:
    return json.dumps([entry.get(name) for name in _IDENTITY])


class StageBar:
    """One bar over all stages of a training, in proportion to the time that they take.

    Args:
        planned: steps of each stage: "explore" and "control" in environment steps, the others in gradient steps.
        workers: processes that share the control.
        enabled: whether to show anything.
    """

    def __init__(self, planned: Mapping[str, int], *, workers: int = 1, enabled: bool) -> None:
        """See the class."""
        self._seconds = dict(_SECONDS_PER_STEP)
        self._seconds["control"] /= max(1, workers)
        # In seconds, since a step of meta-training takes a hundred times as long as one of exploration.
        total = sum(self._seconds[stage] * steps for stage, steps in planned.items())
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, disable=not enabled)
        self._task = self._progress.add_task("training", total=total)

    def __enter__(self) -> StageBar:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Stop drawing."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """Name the stage."""
        self._progress.update(self._task, description=text)

    def advance(self, stage: str, steps: int) -> None:
        """Count ``steps`` steps of ``stage`` as done."""
        self._progress.advance(self._task, steps * self._seconds[stage])
