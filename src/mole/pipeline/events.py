"""Regimes of a run: events in rows of the input, under the name of the target, as JSON Lines; and for the report."""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from mole.files.atomic import naming, synced
from mole.pipeline.digest import Regime

__all__ = ["EventFeed", "EventWriter", "regime_records"]

_ROWS = 256  # learned rows whose numbers are kept: a change is noticed some rows after it began


class EventFeed:
    """Takes the events of an estimator as they come, which counts pairs, and gives them with rows of the input.

    Args:
        target: name of the target, for what the estimator calls y; None if outputs have names of their own.
        told: events that the estimator has had before.
    """

    def __init__(self, target: str | None, told: int) -> None:
        """No row learned."""
        self._target, self._told = target, told
        self._rows: collections.deque[int] = collections.deque(maxlen=_ROWS)

    def learned(self, row: int, estimator: Any) -> list[dict[str, Any]]:
        """The events that a learned row brought."""
        self._rows.append(row)
        total = estimator.n_events_
        if total == self._told:
            return []
        fresh, self._told = estimator.events_[self._told - total :], total
        return [self._in_rows(event) for event in fresh]

    def _in_rows(self, event: Mapping[str, Any]) -> dict[str, Any]:
        ago = event["noticed"] - event["row"]
        placed = {"row": self._rows[-1 - min(ago, len(self._rows) - 1)], "noticed": self._rows[-1]}
        return {**_named(event, self._target), **placed}

    def to_json(self) -> list[int]:
        """The rows, as plain JSON data; the count is the estimator's."""
        return list(self._rows)

    def restore(self, rows: list[int]) -> None:
        """Go on where `to_json` was taken."""
        self._rows.extend(map(int, rows))


def _named(record: Mapping[str, Any], target: str | None) -> dict[str, Any]:
    if target is None:
        return dict(record)
    named = {part: [{**one, "output": target} for one in record[part]] for part in ("outputs", "columns")}
    return {**record, **named}


def regime_records(
    estimator: Any, visited: Mapping[int, Regime], target: str | None
) -> dict[int, dict[str, Any]]:
    """Task → what it expects and how that differs from the regime before its first visit, if both are still known.

    Args:
        estimator: a `mole.OnlineRegressor` or `mole.OnlineClassifier`.
        visited: the regimes that lasted.
        target: name of the target; None if the outputs have names.
    """
    begun = sorted((first, task) for task, regime in visited.items() for first, _ in regime.visits)
    order = [task for _, task in begun]
    found: dict[int, dict[str, Any]] = {}
    for task in visited:
        place = order.index(task)
        before = order[place - 1] if place else None
        record = _known(estimator, task, before) or _known(estimator, task, None)
        if record is not None:
            found[task] = {**_named(record, target), "before": before}
    return found


def _known(estimator: Any, task: int, before: int | None) -> dict[str, Any] | None:
    try:
        return estimator.regime_(task, before)
    except KeyError:  # one of them made room for another
        return None


class EventWriter:
    """Writes events to a binary file, which the caller closes; every line is flushed at once.

    Args:
        file: the file.
        length: bytes that it has already.
    """

    def __init__(self, file: BinaryIO, length: int = 0) -> None:
        """See the class."""
        self._file, self._length = file, length

    def write(self, event: Mapping[str, Any]) -> None:
        """Write one line.

        Raises:
            OSError: with the name of the file.
        """
        text = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
        data = text.encode("utf-8", errors="replace")  # a name may hold half of a surrogate pair
        with naming(str(getattr(self._file, "name", "the events"))):
            self._file.write(data)
            self._file.flush()  # whoever waits for a change must not wait for the next one too
        self._length += len(data)

    def sync(self) -> int:
        """Have everything on disk, and return the length of the file in bytes."""
        synced(self._file)
        return self._length
