"""A batch of rows of many keys: read, with their keys and targets, and checked as a whole before any of it is used."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mole.estimators.step import Step
from mole.online.guard import Fault
from mole.rows.batches import is_missing, rows_of, targets_of
from mole.rows.frames import FrameRows, frame_of
from mole.rows.values import FLOAT32, read_row, shown

__all__ = ["Batch", "KeyedSteps", "read_batch"]

_OWNER = "KeyedFleet"
_NOTHING = "Nothing of this batch was learned."


class KeyedSteps(NamedTuple):
    """What was predicted for the rows of a batch before each was learned, and what learning it did.

    Attributes:
        prediction: expected targets ``[n]``, or ``[n, dy]`` if there are several.
        low, high: ends of the intervals, shaped as ``prediction``; infinite while nothing is known.
        loss: standardised squared errors ``[n]``; NaN while nothing was known, and for rows that were not learned.
        task: numbers of the tasks that predict from now on for each row's key ``[n]``.
        n_tasks: tasks known to each row's key ``[n]``.
        spawned: whether a task was discovered ``[n]``.
        fault: what was wrong with each row ``[n]``, bits of `mole.online.Fault`; 0 if nothing.
    """

    prediction: np.ndarray
    low: np.ndarray
    high: np.ndarray
    loss: np.ndarray
    task: np.ndarray
    n_tasks: np.ndarray
    spawned: np.ndarray
    fault: np.ndarray

    def rows(self) -> list[Step]:
        """The same row by row; without ``probability`` and ``shares``, which a batch does not tell."""
        columns = (column.tolist() if column.ndim == 1 else list(column) for column in self)
        return [
            Step(prediction, low, high, None, loss, task, math.nan, n_tasks, spawned, Fault(fault), {})
            for prediction, low, high, loss, task, n_tasks, spawned, fault in zip(*columns, strict=True)
        ]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows with what belongs to each.

    Attributes:
        keys: ``n`` texts, or ``n`` whole numbers.
        rows: vectors of one length ``[n, dx]`` float64, or ``n`` rows as `mole.rows.values.read_row` gives them.
        y: targets ``[n, dy]`` float64; NaN in all of a row's if it has none.
        length: values of rows that are sequences; None if they have names.
    """

    keys: list[Any]
    rows: Any
    y: np.ndarray
    length: int | None

    def __len__(self) -> int:
        """Rows."""
        return len(self.keys)

    def __getitem__(self, part: slice) -> Batch:
        """Some of the rows."""
        return Batch(self.keys[part], self.rows[part], self.y[part], self.length)


def read_batch(
    rows: Any, y: Any, keys: Any, *, key: str, target: str | None, kind: type | None, outputs: int | None,
    length: int | None,
) -> Batch:  # fmt: skip
    """Read rows, keys and targets as `KeyedFleet.step` takes them.

    Args:
        rows: dicts, a frame, an array ``[n, dx]``, or sequences of numbers.
        y: targets ``[n]`` or ``[n, dy]``, or None.
        keys: ``[n]``, or None if rows hold them.
        key: column of the keys.
        target: column of the targets, if rows hold them.
        kind: type of the keys before; None before the first.
        outputs: targets of a row before; None before the first.
        length: values of the rows before that were sequences; None if there were none.

    Raises:
        ValueError: for whatever is missing or wrong, with the number of the row in the batch.
    """
    whose, targets, inputs = _taken_apart(rows, keys, y, key, target)
    found = _inputs(inputs, length)
    checked = _checked_keys(whose, kind, key)
    if len(found) != len(checked):
        raise ValueError(
            f"{_OWNER} got {len(found)} rows and {len(checked)} keys; expected as many. {_NOTHING}"
        )
    values = _checked_targets(targets, len(checked), outputs)
    vectors = isinstance(found, np.ndarray)
    return Batch(checked, found, values, found.shape[1] if vectors and len(found) else None)


def _taken_apart(rows: Any, keys: Any, y: Any, key: str, target: str | None) -> tuple[Any, Any, Any]:
    """Keys, targets and the rest of the rows."""
    frame = None if isinstance(rows, list | tuple | np.ndarray) else frame_of(rows)
    if frame is not None:
        named = {name: frame[name].to_list() for name in (key, target) if name in frame.columns}
        rest = frame.drop(list(named))
        given: Any = FrameRows(rest)
    else:
        listed = rows if isinstance(rows, np.ndarray) else list(rows_of(rows))
        columns = [name for name in (key, target) if name is not None]
        named = {name: [] for name in columns}
        given = listed
        if len(listed) and isinstance(listed[0], Mapping):
            given = []
            for row in listed:
                if not isinstance(row, Mapping):
                    raise ValueError(  # noqa: TRY004  wrong data, as all here
                        f"{_OWNER} got {shown(row)} among dicts; expected rows of one form. {_NOTHING}"
                    )
                rest = dict(row)
                for name in columns:
                    named[name].append(rest.pop(name, None))
                given.append(rest)
        else:
            named = {}
    if keys is not None:
        keys = keys.tolist() if isinstance(keys, np.ndarray) else list(targets_of(keys))
    elif key in named:
        keys = named[key]
    elif not len(given):
        keys = []
    else:
        raise ValueError(
            f"{_OWNER} got rows without a column {key!r}, which says whose they are, and no keys; expected one of "
            f"them: KeyedFleet(key=...) names the column. {_NOTHING}"
        )
    if y is None and target is not None and target in named:
        y = named[target]
    elif y is not None and target is not None and any(not is_missing(one) for one in named.get(target, ())):
        raise ValueError(
            f"{_OWNER} got y and rows with their target {target!r}; expected one of them. {_NOTHING}"
        )
    return keys, y, given


def _inputs(given: Any, length: int | None) -> Any:
    """Rows that have been read, as a matrix if they are vectors."""
    if isinstance(given, np.ndarray) and given.ndim == 2 and given.dtype.kind in "fiub":
        if length is not None and given.shape[1] != length:
            raise ValueError(
                f"{_OWNER} got rows of {given.shape[1]} values; expected {length}, as before. {_NOTHING}"
            )
        return given.astype(float)
    read: list[Any] = []
    for place, row in enumerate(given):
        try:
            read.append(read_row(row, length, _OWNER))
        except ValueError as error:
            raise ValueError(f"row {place}: {error}") from error
        if isinstance(read[-1], np.ndarray):
            length = len(read[-1])
    vectors = [isinstance(row, np.ndarray) for row in read]
    if any(vectors):
        if not all(vectors):
            raise ValueError(
                f"{_OWNER} got rows with and without names; expected rows of one form. {_NOTHING}"
            )
        return np.stack(read)
    return read


def _checked_keys(keys: Sequence[Any], kind: type | None, column: str) -> list[Any]:
    """Keys as text or as Python's whole numbers."""
    # The usual batches first: a look at every key takes as long as a small mixture takes to learn.
    types = set(map(type, keys))
    if types == {str} and kind is not int and all(keys):
        return list(keys)
    if types == {int} and kind is not str:
        return list(keys)
    found: list[Any] = []
    for place, one in enumerate(keys):
        value = one.item() if isinstance(one, np.generic) else one
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a frame's whole numbers, where one of them is missing, are floats
        if is_missing(value) or value == "":
            raise ValueError(
                f"{_OWNER} got no {column!r} in row {place}; expected whose the row is in every row. {_NOTHING}"
            )
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError(  # noqa: TRY004
                f"{_OWNER} got {shown(one)} of type {type(one).__name__} as {column!r} in row {place}; expected text, "
                f"or a whole number. {_NOTHING}"
            )
        kind = kind or (str if isinstance(value, str) else int)
        if not isinstance(value, kind):
            words = {str: "text", int: "whole numbers"}
            raise ValueError(  # noqa: TRY004
                f"{_OWNER} got {shown(one)} as {column!r} in row {place}; expected {words[kind]}, as in the rows "
                f"before: 7 and '7' would be two keys. {_NOTHING}"
            )
        found.append(str(value) if isinstance(value, str) else value)
    return found


def _checked_targets(y: Any, count: int, outputs: int | None) -> np.ndarray:
    """Targets ``[n, dy]``; NaN where a row has none."""
    if y is None:
        return np.full((count, outputs or 1), np.nan)
    listed = y if isinstance(y, np.ndarray) and y.dtype.kind in "fiub" else list(targets_of(y))
    if len(listed) != count:
        raise ValueError(f"{_OWNER} got {count} rows and {len(listed)} targets; expected as many. {_NOTHING}")
    if isinstance(listed, np.ndarray):
        values = listed.astype(float)
    else:
        width = next((len(one) for one in listed if isinstance(one, list | tuple | np.ndarray)), 1)
        nothing = [np.nan] * width if width > 1 else np.nan
        try:
            values = np.asarray([nothing if is_missing(one, every=True) else one for one in listed], float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{_OWNER} got targets that are not all numbers ({error}); expected one number per row, or as many for "
                f"each. {_NOTHING}"
            ) from error
    values = values[:, None] if values.ndim == 1 else values
    if not count:
        return np.zeros((0, outputs or 1))
    there = ~np.isnan(values)
    wrong = ~(np.abs(np.where(there, values, 0.0)) <= FLOAT32).all(axis=1) | (
        there.any(axis=1) & ~there.all(axis=1)
    )
    if values.ndim != 2 or values.shape[1] != (outputs or values.shape[1]) or wrong.any():
        where = f" in row {int(np.argmax(wrong))}" if wrong.any() else f" of shape {values.shape}"
        raise ValueError(
            f"{_OWNER} got targets{where}; expected {outputs or 'one or more'} finite numbers for each row, or none "
            f"(NaN). {_NOTHING}"
        )
    return values
