"""The file of predictions: one line per row of the input, as CSV or JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from mole.files.atomic import naming, synced
from mole.pipeline.runner import Outcome

__all__ = ["CLASSIFICATION", "KEYED", "REGRESSION", "PredictionWriter", "open_predictions"]

REGRESSION = ("row", "prediction", "low", "high", "target", "task", "probability", "loss", "note")
"""Columns of a regression."""
CLASSIFICATION = ("row", "prediction", "probabilities", "target", "task", "probability", "loss", "note")
"""Columns of a classification; in a CSV ``probabilities`` is a JSON object, since labels may come late."""


KEYED = ("row", "key", "prediction", "low", "high", "target", "task", "loss", "note")
"""Columns of a regression with keys; the numbers of tasks are those of the key."""


class PredictionWriter:
    """Writes outcomes to a binary file.

    Args:
        file: the file, which the caller closes.
        columns: `REGRESSION` or `CLASSIFICATION`.
        jsonl: JSON Lines instead of CSV.
        live: whether every line is flushed at once.
        header: whether a CSV gets its header now.
        length: bytes that the file has already.

    Attributes:
        length: bytes of the file with what was written; counted here, since a pipe has no position.
    """

    def __init__(
        self,
        file: BinaryIO,
        columns: tuple[str, ...],
        *,
        jsonl: bool,
        live: bool,
        header: bool = True,
        length: int = 0,
    ) -> None:
        """See the class."""
        self._file, self._columns, self._jsonl, self._live = file, columns, jsonl, live
        self.length, self._name = length, str(getattr(file, "name", "the output"))
        if header and not jsonl:
            self._put(self._line(columns))

    def write(self, outcome: Outcome) -> None:
        """Write one line.

        Raises:
            OSError: with the name of the file.
        """
        values = {name: getattr(outcome, name) for name in self._columns}
        if isinstance(values.get("probabilities"), dict):
            values["probabilities"] = {str(name): round(p, 6) for name, p in values["probabilities"].items()}
        if self._jsonl:
            text = json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"
        else:
            text = self._line([_cell(value) for value in values.values()])
        self._put(text)

    def sync(self) -> int:
        """Have everything on disk, and return the length of the file in bytes."""
        synced(self._file)
        return self.length

    def _put(self, text: str) -> None:
        data = text.encode("utf-8", errors="replace")  # JSON may hold half of a surrogate pair
        with naming(self._name):
            self._file.write(data)
            self.length += len(data)
            if self._live:
                self._file.flush()

    @staticmethod
    def _line(cells: Any) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()


def open_predictions(path: str | os.PathLike[str], length: int | None) -> BinaryIO:
    """Open the file anew, or cut it to the length that it had when a run was saved.

    Raises:
        ValueError: if the file is shorter than that.
        FileNotFoundError: if it is gone, or its folder does not exist.
    """
    target = Path(path)
    if length is None:
        if not target.parent.is_dir():
            raise FileNotFoundError(
                f"cannot write {target}: folder {target.parent} does not exist; create it first"
            )
        return target.open("wb")
    if not target.exists():
        raise FileNotFoundError(
            f"{target} is gone, and the checkpoint goes on in it; restore it or start again"
        )
    size = target.stat().st_size
    if size < length:
        raise ValueError(
            f"{target} has {size:,} bytes, expected at least {length:,}: it is not the file of the checkpoint; restore "
            "it or start again"
        )
    file = target.open("r+b")
    file.truncate(length)
    file.seek(length)
    return file


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:.9g}"
    return "" if value is None else value
