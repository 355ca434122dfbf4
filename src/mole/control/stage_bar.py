"""One progress bar over stages of different kinds, with the time that remains for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["StageBar"]

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
