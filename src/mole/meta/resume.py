"""A running training: the file from which it resumes exactly, and its progress bar."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mole._types import Key, Motion, Trajectory
from mole.files import checkpoint
from mole.files.atomic import remove_generations, remove_leftovers
from mole.files.generations import KEPT, Periodic, RecoveryWarning, newest
from mole.files.processes import Interrupts

__all__ = [
    "Keeper",
    "TrainProgress",
    "TrainingFile",
    "TrainingState",
    "described",
    "kept",
    "later",
    "plain",
    "training_bar",
]

_KIND = "training"


class TrainingState(NamedTuple):
    """A training between two chunks of iterations.

    Attributes:
        fit: network and inner rates.
        opt_state: of the optimiser.
        best: the fit with the best held-out loss so far; ``best_loss``: that loss.
        stale: evaluations since the best one.
        done: iterations done.
    """

    fit: Any
    opt_state: Any
    best: Any
    best_loss: float
    stale: int
    done: int


class TrainingFile:
    """The file of a running training: networks, optimiser, the best fit so far and the iterations done.

    Args:
        path: the file; older generations have .1, .2, … after its name.
        periodic: when it is written, in iterations or seconds.
        keep: number of generations that are kept.
    """

    def __init__(self, path: Path, periodic: Periodic, *, keep: int = KEPT) -> None:
        """See the class."""
        self.path, self._periodic, self._keep = path, periodic, keep

    def resume(self, state: TrainingState, about: dict[str, Any]) -> TrainingState:
        """The state in the file, or the given one without a file.

        Args:
            state: the training before its first iteration.
            about: what decides the result (`described`). A file of another training, or of other versions of the
                libraries, is removed with a `RecoveryWarning`.

        Raises:
            mole.files.checkpoint.CheckpointError: if there is a file and every generation of it is damaged.
        """
        remove_leftovers(self.path.parent, self.path.name)
        found = newest(self.path)
        if found is None:
            return state
        header = checkpoint.read_header(found)
        # Through JSON, as the file's was: JSON turns tuples into lists.
        same = header.kind == _KIND and header.config == json.loads(json.dumps(about))
        # Other versions round differently: the result would not be that of an uninterrupted run.
        if not same or header.libraries != checkpoint.libraries():
            why = f"with {header.libraries}, now {checkpoint.libraries()}" if same else "by another training"
            warnings.warn(
                f"{self.path} was written {why}: this training begins again", RecoveryWarning, stacklevel=2
            )
            self.remove()
            return state
        return checkpoint.load(found, state, kind=_KIND)

    def save(self, state: TrainingState, about: dict[str, Any]) -> None:
        """Write the file."""
        checkpoint.save(self.path, state, kind=_KIND, config=about, keep=self._keep)

    def due(self, iteration: int) -> bool:
        """Whether it is time to write it."""
        return self._periodic.due(iteration)

    def remove(self) -> None:
        """Remove all generations, once the result has its own file."""
        remove_generations(self.path)


class Keeper:
    """Writes the file of a training while it runs; see `kept`."""

    def __init__(
        self, file: TrainingFile | None, state: TrainingState, about: dict[str, Any], interrupts: Interrupts
    ) -> None:
        """See `kept`."""
        self.state, self._file, self._about, self._interrupts = state, file, about, interrupts

    def after(self, state: TrainingState) -> None:
        """Write the file if it is due or a signal has come; leave if one has.

        Raises:
            KeyboardInterrupt: if a signal asks.
        """
        if self._file is not None:
            # Written before leaving, so that a signal loses no iterations.
            if self._file.due(state.done) or self._interrupts.asked:
                self._file.save(state, self._about)
            self._interrupts.raise_if_asked()


@contextmanager
def kept(file: TrainingFile | None, start: TrainingState, about: dict[str, Any]) -> Iterator[Keeper]:
    """Resume a training from its file, if there is one, and write the file while it runs.

    Args:
        file: of the training; None writes nothing and begins with ``start``.
        start: the training before its first iteration.
        about: what decides its result (`described`).
    """
    if file is None:
        yield Keeper(None, start, about, Interrupts())
        return
    with Interrupts() as interrupts:
        yield Keeper(file, file.resume(start, about), about, interrupts)


def described(
    config: Any, key: Key, groups: Sequence[Sequence[Trajectory | Motion]], weights: Any, fit: Any
) -> dict[str, Any]:
    """What decides the result of a training, as plain JSON: only the same training resumes from a file.

    Args:
        config: a dataclass of numbers and names.
        key: of the training.
        groups: the data; only their checksum and lengths are kept.
        weights: share of each group.
        fit: what it starts from; only its checksum is kept.
    """
    # A checksum, since the data are far too large for the header of a checkpoint.
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(fit):
        if isinstance(leaf, jax.Array | np.ndarray):
            digest.update(np.asarray(leaf).tobytes())
    # Contiguous, since the checksum is of bytes: a view must count as what it shows.
    for trajectory in (one for group in groups for one in group):
        for part in trajectory:
            digest.update(np.ascontiguousarray(part).tobytes())
    return {
        "config": plain(config),
        # As numbers: JSON has no PRNG keys.
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "groups": [[len(one.x) for one in group] for group in groups],
        "checksum": digest.hexdigest(),
        "weights": np.asarray(weights).tolist(),
    }


def later(default: Any) -> Any:
    """A field of a configuration that is newer than the first files: `plain` leaves it out at its default."""
    return dataclasses.field(default=default, metadata={"later": True})


def plain(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON. At their defaults new fields say nothing: a training that was stopped before they
    were there goes on."""
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not (field.metadata.get("later") and value == field.default):
            found[field.name] = plain(value) if dataclasses.is_dataclass(value) else value
    return found


class TrainProgress(NamedTuple):
    """One evaluation during training.

    Attributes:
        iteration: meta-gradient steps done.
        iterations: steps planned.
        loss_before: held-out query loss of θ, without adaptation.
        loss_after: held-out query loss after one inner step (the same number for supervised training).
        seconds: wall time since training began.
        loss_rolled: held-out loss that is minimised, if it is over several steps (`mole.meta.rollout`).
    """

    iteration: int
    iterations: int
    loss_before: float
    loss_after: float
    seconds: float
    loss_rolled: float | None = None


class _Bar:
    """A bar with the held-out loss before and after adaptation; silent without ``progress``."""

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
