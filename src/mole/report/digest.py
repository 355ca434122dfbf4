"""What a report keeps of a run: its figures and a few short curves, so that a thousand runs fit in little memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mole.control.records import EpisodeRecord
from mole.experiment.metrics import Recall, recall, summarise, switches
from mole.files.npz import array_names

__all__ = ["AFTER", "BEFORE", "Digest", "Found", "around", "digest_of", "find_records", "setting_of"]

BEFORE, AFTER = 5, 50
"""Steps shown before and after a switch."""
_BINS = 150  # of a curve over a run: about as many as a figure has points to show
_NO_RETURN = Recall(np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool), np.zeros(0))


@dataclass(frozen=True, eq=False)
class Digest:
    """One run, summarised.

    Attributes:
        meta: header of the record.
        steps: its length.
        figures: `mole.experiment.metrics.summarise`, empty for a run without a step.
        recall: one entry per return.
        has_mixture: whether its learner had several slots.
        after_switch: [2, 55] sums and counts of the one-step error at −5 to 49 steps from a switch.
        after_return: the same, at switches back to a task seen before.
        over_run: [150 or fewer] mean one-step error over equal segments of the run.
        segment: steps in each of them.
        longest_visit: the longest stay under one true task, as a fraction of the run; NaN if the task is unknown.
        true_tasks: different true tasks seen, 0 if unknown.
        source: the file of the record.
    """

    meta: dict[str, Any]
    steps: int
    figures: dict[str, float]
    recall: Recall
    has_mixture: bool
    after_switch: np.ndarray
    after_return: np.ndarray
    over_run: np.ndarray
    segment: int
    longest_visit: float
    true_tasks: int
    source: Path | None = field(default=None)

    def __len__(self) -> int:
        """Steps of the run."""
        return self.steps

    @property
    def truth_known(self) -> bool:
        """Whether the record says what the true task was."""
        return self.true_tasks > 0

    @cached_property
    def setting(self) -> str:
        """The name of its test setting; the schedule where it has none."""
        return setting_of(self)


def setting_of(run: Any) -> str:
    """The name of the test setting of a record or digest; its schedule where the header has no name."""
    return str(run.meta.get("setting") or run.meta["schedule"])


def digest_of(record: EpisodeRecord, source: Path | None = None) -> Digest:
    """Summarise a record, also one of a run that failed before its first step."""
    found = recall(record) if len(record) else _NO_RETURN
    at = switches(record.true_task)
    # A thousand runs are drawn on one page: none of them may be kept in full.
    size = max(1, -(-len(record) // _BINS))
    starts = np.arange(0, len(record), size)
    counts = np.diff(np.append(starts, len(record)))
    over = np.add.reduceat(record.loss, starts) / counts if len(record) else np.zeros(0)
    tasks = np.unique(record.true_task[record.true_task >= 0]).size
    edges = np.flatnonzero(np.diff(record.true_task)) + 1
    visits = np.diff(np.concatenate([[0], edges, [len(record)]]))
    return Digest(
        meta=record.meta,
        steps=len(record),
        figures=summarise(record) if len(record) else {},
        recall=found,
        has_mixture=record.has_mixture,
        after_switch=around(record, at.tolist()),
        after_return=around(record, [int(step) for step in found.step if step in set(at.tolist())]),
        over_run=over,
        segment=size,
        longest_visit=float(visits.max() / len(record)) if tasks else float("nan"),
        true_tasks=tasks,
        source=source,
    )


def around(record: EpisodeRecord, starts: Iterable[int]) -> np.ndarray:
    """[2, 55]: sum and number of the finite one-step errors at each offset from the given switches.

    Only steps of two visits count: the one that the switch ended, and the one that it began.
    """
    edges = [0, *switches(record.true_task).tolist(), len(record)]
    wanted = set(starts)
    sums = np.zeros((2, BEFORE + AFTER))
    for before, at, following in zip(edges, edges[1:], edges[2:], strict=False):
        if at in wanted:
            steps = np.arange(max(before, at - BEFORE), min(following, at + AFTER))
            steps = steps[np.isfinite(record.loss[steps])]
            sums[0, steps - at + BEFORE] += record.loss[steps]
            sums[1, steps - at + BEFORE] += 1
    return sums


@dataclass(frozen=True)
class Found:
    """What was found in the folders of a report.

    Attributes:
        runs: the digests, by folder and file name.
        unreadable: (file, reason) of the records that cannot be read.
    """

    runs: list[Digest]
    unreadable: list[tuple[Path, str]]


def find_records(folders: Iterable[Path]) -> Found:
    """Digest every record in the folders and below. Other files, such as actions, are passed over.

    Raises:
        FileNotFoundError: if a folder does not exist.
        ValueError: if there is no record at all.
    """
    names = [Path(folder) for folder in folders]
    for folder in names:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"no folder {folder}: expected a folder of records, as `mole eval` makes them"
            )
    runs, unreadable = [], []
    for path in dict.fromkeys(path for folder in names for path in sorted(folder.rglob("*.npz"))):
        # Actions are not records; a name with a dot is a file that somebody is still writing.
        if path.name.endswith(".actions.npz") or path.name.startswith("."):
            continue
        try:
            if not _is_record(path):
                continue
            runs.append(digest_of(EpisodeRecord.load(path), path))
        except ValueError as error:
            unreadable.append((path, str(error)))
    if not runs:
        reasons = f" ({len(unreadable)} cannot be read: {unreadable[0][1]})" if unreadable else ""
        raise ValueError(
            f"found no record of a run in {', '.join(map(str, names))}{reasons}; expected .npz files that "
            "`mole eval` has written"
        )
    return Found(runs, unreadable)


def _is_record(path: Path) -> bool:
    """Whether an archive has the header of a record; the data of a training has none."""
    # By the names alone: the data of a training are large, and need not be read to be passed over.
    return "meta" in array_names(path)
