"""A run that can be stopped and resumed: when to write a checkpoint, which generation is whole, and locks.

Checkpoints are written with ``checkpoint.save(path, …, keep=3)``; `newest` finds the one to resume from. A lock keeps a
second process away from the same files; it ends with the process that holds it, however that process ends.
"""

from __future__ import annotations

import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mole.files import checkpoint
from mole.files.atomic import generations
from mole.files.checkpoint import DamagedError

__all__ = [
    "KEPT",
    "SECONDS",
    "InUseError",
    "Periodic",
    "RecoveryWarning",
    "file_lock",
    "folder_lock",
    "newest",
    "set_aside",
    "tell_in_one_line",
]

KEPT = 3
"""Default number of generations of a checkpoint."""
SECONDS = 60.0
"""Default time between two checkpoints."""


class RecoveryWarning(UserWarning):
    """A file is damaged or of another run; an older one or a new computation takes its place."""


def tell_in_one_line() -> None:
    """Have this process print the package's own warnings as one line, without the place in the code."""
    usual = warnings.formatwarning

    def shown(message: Warning | str, category: type[Warning], *args: Any) -> str:
        if category.__module__.startswith("mole."):
            return f"warning: {message}\n"
        return usual(message, category, *args)

    warnings.formatwarning = shown


class Periodic:
    """Says when something is due: at multiples of a number of steps, or some seconds after it was last due.

    Args:
        steps: due at every multiple of it; None for no such rule.
        seconds: due when so many seconds have passed; None for no such rule.
        clock: seconds; monotonic, so that setting the time of day has no effect.

    Raises:
        ValueError: if steps or seconds are not above 0.
    """

    def __init__(
        self,
        steps: int | None = None,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """See the class."""
        if steps is not None and steps < 1:
            raise ValueError(f"got a checkpoint every {steps} steps, expected at least 1")
        if seconds is not None and not seconds > 0:
            raise ValueError(f"got a checkpoint every {seconds} seconds, expected more than 0")
        self._steps, self._seconds, self._clock = steps, seconds, clock
        self._last = clock()

    def due(self, step: int) -> bool:
        """Whether it is due after ``step`` steps; if so, the seconds count from now."""
        now = self._clock()
        by_steps = self._steps is not None and step % self._steps == 0
        by_time = self._seconds is not None and now - self._last >= self._seconds
        if by_steps or by_time:
            self._last = now
        return by_steps or by_time


def set_aside(path: Path, error: Exception, what: str) -> None:
    """Rename a damaged file, with a `RecoveryWarning` that says why and that ``what`` is made again."""
    aside = path.replace(path.with_name(f"{path.name}.damaged"))
    warnings.warn(
        f"{error}. It is kept as {aside.name}, and {what} made again", RecoveryWarning, stacklevel=3
    )


def newest(path: str | os.PathLike[str]) -> Path | None:
    """The newest generation of a checkpoint that is whole; None if there is none at all.

    A damaged one is passed over with a `RecoveryWarning`.

    Raises:
        mole.files.checkpoint.CheckpointError: if there are some and all are damaged, or one is of a newer format.
    """
    # Only damage is passed over. A file of a newer format is whole: an older generation would lose its steps.
    first: DamagedError | None = None
    for one in generations(path):
        try:
            checkpoint.verify(one)
        except DamagedError as error:
            first = first or error
            continue
        if first is not None:
            warnings.warn(f"{first}. Going on from the one before: {one.name}", RecoveryWarning, stacklevel=2)
        return one
    if first is not None:
        raise first
    return None


class InUseError(ValueError):
    """Another process works on the same run."""


@contextmanager
def folder_lock(folder: Path, part: str | None = None) -> Iterator[None]:
    """Hold the lock of a folder, which is created if it does not exist.

    Args:
        folder: of the run.
        part: name of a part of the work, if several processes share the folder. A lock of a part excludes locks of the
            same part and of the whole folder, but not those of other parts.

    Raises:
        InUseError: if another process holds it.
    """
    # All parts hold the folder's lock together (shared), and each holds its own alone.
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / ".lock", folder, shared=part is not None):
        if part is None:
            yield
        else:
            with _lock(folder / f".lock-{part}", folder, shared=False):
                yield


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file and its older generations; errors as in `folder_lock`."""
    with _lock(path.with_name(f".{path.name}.lock"), path, shared=False):
        yield


@contextmanager
def _lock(path: Path, what: Path, *, shared: bool) -> Iterator[None]:
    if os.name != "posix":  # no such locks there, as docs/reliability.md says
        yield
        return
    import fcntl

    with path.open("a+") as file:  # never removed: a second process could lock a new file of that name
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(
                f"{what} is in use by {_holder(path)}: wait until it is done, stop it, "
                "or choose another place"
            ) from None
        file.truncate(0)  # not before: until the lock is ours, the file names the process that holds it
        file.write(json.dumps({"process": os.getpid(), "machine": socket.gethostname()}))
        file.flush()
        yield


def _holder(path: Path) -> str:
    """The process that holds a lock, if it has written its name yet."""
    try:
        found = json.loads(path.read_text())
        return f"process {int(found['process'])} on {found['machine']}"
    except (ValueError, KeyError, TypeError):  # the name is not written yet
        return "another process"
