"""The rows of ``mole stream``, its output and its checkpoint: begun, gone through, and gone on with."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from mole import estimators
from mole.commands.stream_prior import GivenPrior
from mole.commands.stream_series import SeriesEstimator
from mole.commands.stream_view import StreamView
from mole.files.atomic import remove_leftovers
from mole.files.generations import Periodic, file_lock, newest
from mole.pipeline.dialect import Dialect
from mole.pipeline.events import EventWriter
from mole.pipeline.keyed import KeyedRun
from mole.pipeline.predictions import CLASSIFICATION, KEYED, REGRESSION, PredictionWriter, open_predictions
from mole.pipeline.run_file import SavedRun, load_run, run_of, save_run
from mole.pipeline.runner import Outcome, StreamRun, StreamSettings
from mole.pipeline.sources import Row

__all__ = ["Loop", "begin", "check_options", "locked_newest", "make_event_writer", "make_writer"]


_BATCH = 512  # rows of many keys that are learned together


class Loop:
    """Rows through the run, to the writer, and from time to time into the checkpoint."""

    def __init__(
        self,
        run: StreamRun,
        writer: PredictionWriter | None,
        name: str | None,
        checkpoint: Path | None,
        keep: int,
        periodic: Periodic,
        strict: bool,
        position: dict[str, Any] | None,
        dialect: Dialect,
        events: tuple[str, EventWriter] | None = None,
        *,
        live: bool = False,
    ) -> None:
        """See `mole.commands.stream.stream` for the options; ``position`` is that of the last row, None before it.

        ``events`` is the name and the writer of the file of events.
        """
        self.run_, self.view = run, StreamView(run)
        self._writer, self._name, self._checkpoint = writer, name, checkpoint
        self._keep, self._periodic, self._strict, self._position = keep, periodic, strict, position
        self._dialect, self._events = dialect, events
        # Of a pipe the next row may not come before the prediction of this one is asked for.
        self._batch = 1 if live else _BATCH

    def run(self, rows: Iterable[Row]) -> None:
        """Until the rows end."""
        if isinstance(self.run_, KeyedRun):
            rows = iter(rows)
            while some := list(itertools.islice(rows, self._batch)):
                outcomes = self.run_.steps(some, strict=self._strict)
                self._put(outcomes, some[-1].position)
            return
        for row in rows:
            self._put([self.run_.step(row, strict=self._strict)], row.position)

    def _put(self, outcomes: list[Outcome], position: dict[str, Any]) -> None:
        """Write what some rows gave, and the checkpoint if it is due."""
        self._position = position
        for outcome in outcomes:
            if self._writer is not None:
                self._writer.write(outcome)
            if self._events is not None:
                for event in outcome.events:
                    self._events[1].write(event)
            self.view.update(outcome)
        due = [
            self._periodic.due(outcome.row) for outcome in outcomes
        ]  # of all, since seconds count from the last
        if any(due):
            self.save()

    def save(self) -> None:
        """Write the checkpoint, after the predictions that it counts are on disk."""
        # In the other order a crash could leave a checkpoint that counts more bytes of output than there are.
        length = 0 if self._writer is None else self._writer.sync()
        name, told = (None, 0) if self._events is None else (self._events[0], self._events[1].sync())
        if self._checkpoint is not None:
            saved = SavedRun(self.run_, self._position, self._name, length, self._dialect, name, told)
            save_run(self._checkpoint, saved, keep=self._keep)


def check_options(checkpoint: Path | None, keep: int, resume: bool, new_input: bool) -> None:
    """Raise ValueError for options that contradict each other."""
    if keep < 1:
        raise ValueError(f"got --keep {keep}, expected at least 1 checkpoint")
    if (resume or new_input) and checkpoint is None:
        raise ValueError(
            "got --resume without --checkpoint FILE, expected both: say which file to go on from"
        )
    if new_input and not resume:
        raise ValueError("got --new-input without --resume, expected both: it says how to go on")


def locked_newest(stack: ExitStack, checkpoint: Path | None, resume: bool) -> Path | None:
    """Lock the checkpoint, and choose the generation of it to go on from; None for a new run.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: if there is a checkpoint and the run is not to go on from it.
        mole.files.generations.InUseError: if another process has the lock.
    """
    if checkpoint is None:
        return None
    if not checkpoint.resolve().parent.is_dir():
        raise FileNotFoundError(f"cannot write {checkpoint}: its folder does not exist; create it first")
    stack.enter_context(file_lock(checkpoint))
    # Under the lock: a temporary file that is there now is of a process that was killed.
    remove_leftovers(checkpoint.parent, checkpoint.name)
    last = newest(checkpoint)
    if last and not resume:
        raise ValueError(
            f"the checkpoint {checkpoint} is there already: add --resume to go on from it, or delete it (and its older "
            "ones) to start again"
        )
    return last


def begin(
    settings: StreamSettings,
    ready: GivenPrior | None,
    checkpoint: Path | None,
    name: str | None,
    events: str | None,
) -> SavedRun:
    """The run of the checkpoint, or a new one."""
    others = {"classification": estimators.OnlineClassifier, "forecast": SeriesEstimator}
    made: Any = others.get(settings.kind, estimators.OnlineRegressor)
    if settings.key is not None:
        made = estimators.KeyedFleet
    if checkpoint is None:
        prior = None if ready is None else ready.prior
        beside = {} if settings.kind == "forecast" else {"background": settings.background}
        if settings.key is not None:
            beside = {"key": settings.key}
        estimator = made(prior, level=settings.level, seed=settings.seed, **beside)
        return SavedRun(run_of(settings, estimator), None, name, 0, events=events)
    saved = load_run(checkpoint, settings, made.load)
    for option, before, now in (("out", saved.output, name), ("events", saved.events, events)):
        if before != now:
            raise ValueError(
                f"{checkpoint} was written with --{option} {before}, now {now}; give the same, so that no row is lost"
            )
    return saved


def make_writer(
    stack: ExitStack,
    settings: StreamSettings,
    name: str | None,
    to_stdout: bool,
    saved: SavedRun,
    again: bool,
    *,
    live: bool,
) -> PredictionWriter | None:
    """The writer of predictions, if there are to be any; its file ends where the run stood if it goes on ``again``."""
    columns = CLASSIFICATION if settings.kind == "classification" else REGRESSION
    columns = columns if settings.key is None else KEYED
    if to_stdout:
        return PredictionWriter(sys.stdout.buffer, columns, jsonl=False, live=live, header=not again)
    if name is None:
        return None
    file = _opened(stack, name, saved.length if again else None)
    jsonl = Path(name).suffix.lower() in (".jsonl", ".ndjson")
    return PredictionWriter(file, columns, jsonl=jsonl, live=live, header=not again, length=saved.length)


def make_event_writer(
    stack: ExitStack, name: str | None, saved: SavedRun, again: bool
) -> tuple[str, EventWriter] | None:
    """Name and writer of the file of events, if there is to be one; its file ends as that of `make_writer`."""
    if name is None:
        return None
    file = _opened(stack, name, saved.events_length if again else None)
    return name, EventWriter(file, saved.events_length)


def _opened(stack: ExitStack, name: str, length: int | None) -> BinaryIO:
    file = open_predictions(name, length)
    # Not `enter_context`: to close the file writes what is left of it, which may fail as the run just did.
    stack.push(lambda error, *_: _close(file, failed=error is not None))
    return file


def _close(file: Any, *, failed: bool) -> None:
    try:
        file.close()
    except OSError:  # the same full disk once more; the first error is told
        if not failed:
            raise
