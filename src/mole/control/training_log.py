"""``log.jsonl`` of a training: every event once, however often the training was stopped and gone on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mole.atomic import atomic_file, naming

__all__ = ["TrainingLog"]

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
