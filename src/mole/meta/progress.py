"""What training tells the person who waits: a bar with the held-out loss before and after adaptation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["TrainProgress", "training_bar"]


class TrainProgress(NamedTuple):
    """One evaluation during training.

    Attributes:
        iteration: meta-gradient steps done.
        iterations: steps planned.
        loss_before: held-out query loss of θ, without adaptation.
        loss_after: held-out query loss after one inner step (the same number for supervised training).
        seconds: wall time since training began.
    """

    iteration: int
    iterations: int
    loss_before: float
    loss_after: float
    seconds: float


class _Bar:
    def __init__(self, progress: Progress | None, iterations: int) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task("training", total=iterations, losses="")

    def advance(self, steps: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, steps)

    def show(self, event: TrainProgress) -> None:
        if self._progress is not None and self._task is not None:
            losses = f"held-out loss {event.loss_before:.4f} → {event.loss_after:.4f} adapted"
            self._progress.update(self._task, losses=losses)


@contextmanager
def training_bar(iterations: int, *, enabled: bool) -> Iterator[_Bar]:
    """A bar over ``iterations`` steps; a silent stand-in when not ``enabled``."""
    if not enabled:
        yield _Bar(None, iterations)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns) as progress:
        yield _Bar(progress, iterations)
