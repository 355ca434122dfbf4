"""``log.jsonl`` of a training: every event once, however often the training was stopped and gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mole.files.atomic import atomic_file, naming

__all__ = ["StageBar", "TrainingLog"]

_IDENTITY = ("stage", "round", "episode", "iteration")


class TrainingLog:
    """Appends events to a file of one JSON object per line.

    A stage that goes on from a checkpoint has some of its events again; these are left out. Whoever logs an event
    before keeping what it tells of loses none.

    Args:
        path: the file. A last line that was written in part is removed.
    """

    def __init__(self, path: Path) -> None:
        """See the class."""
        self.path, self._seen = path, set[str]()
        if not path.exists():
            return
        whole, _, torn = path.read_bytes().rpartition(b"\n")
        if torn:
            with atomic_file(path) as file:
                file.write(whole + b"\n" if whole else b"")
        self._seen = {_identity(json.loads(line)) for line in whole.splitlines()}

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
            os.fsync(file.fileno())


def _identity(entry: dict[str, Any]) -> str:
    return json.dumps([entry.get(name) for name in _IDENTITY])


# One progress bar over stages of different kinds, with the time that remains for all of them.


_SECONDS_PER_STEP = {"explore": 1e-4, "control": 5e-3, "meta": 1.2e-2, "supervised": 5e-3}
"""Rough cost of a step on one CPU core. They only weigh the stages against each other."""


class StageBar:
    """A bar over all stages of a training, in proportion to the time that they take.

    Args:
        planned: steps of each stage: "explore" and "control" in environment steps, the others in gradient steps.
        workers: processes that share the control.
        enabled: whether to show anything.
    """

    def __init__(self, planned: Mapping[str, int], *, workers: int = 1, enabled: bool) -> None:
        """See the class."""
        self._seconds = dict(_SECONDS_PER_STEP)
        self._seconds["control"] /= max(1, workers)
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
