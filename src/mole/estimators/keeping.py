"""Taking an estimator apart for a file, and putting it together again."""

from __future__ import annotations

import collections
import os
from typing import Any, TypeVar

import numpy as np

from mole.estimators.base import HISTORY, OnlineEstimator
from mole.estimators.intervals import IntervalTracker
from mole.estimators.saving import Parts, damage_told, load_parts, prior_of, save_parts
from mole.estimators.steps import Engine
from mole.streams.encoding import RowEncoder, Schema

__all__ = ["load_estimator", "save_estimator"]

_WIDEST = 10**4

T = TypeVar("T", bound=OnlineEstimator)
_NAMES = frozenset(
    {"settings", "encoder", "schema", "rows", "length", "seen", "intervals", "faults", "extra"}
)


def save_estimator(
    model: OnlineEstimator, path: str | os.PathLike[str], kind: str, extra: dict[str, Any]
) -> None:
    """Write ``model`` and what its class adds (plain JSON) to one file, atomically."""
    rows = list(model._rows)
    plain = all(isinstance(row, np.ndarray) and len(row) == len(rows[0]) for row in rows)
    config = {
        "settings": {**model._settings},
        "encoder": model._encoder.to_json(),
        "schema": None if model._schema is None else model._schema.to_json(),
        "rows": None if plain else [_row_json(row) for row in rows],
        "length": model._length,
        "seen": model.n_seen_,
        "intervals": None if model._intervals is None else model._intervals.to_json(),
        "faults": model.faults_,
        "extra": extra,
    }
    arrays = {
        "targets": np.asarray(list(model._targets)),
        "tasks": np.asarray(list(model._tasks), np.int32),
        "recent": np.asarray(list(model._recent), np.float32),
        **{f"history_{name}": np.asarray(list(values)) for name, values in model._columns.items()},
    }
    if plain:
        arrays["rows"] = np.asarray(rows, float)
    save_parts(path, kind, Parts(config, model._learner, model._state, arrays), model._given)


def load_estimator(cls: type[T], path: str | os.PathLike[str], kind: str) -> tuple[T, dict[str, Any]]:
    """Read what `save_estimator` wrote; the model, and what its class had added.

    Raises:
        FileNotFoundError: if there is no such file.
        mole.checkpoint.CheckpointError: if it is damaged, of a newer format or another kind.
    """
    parts = load_parts(path, kind, _NAMES)
    config, arrays = parts.config, parts.arrays
    with damage_told(path):
        _check(config, arrays)
        model = cls(prior_of(parts, path), **config["settings"])
        model._encoder = RowEncoder.from_json(config["encoder"])
        model._schema = None if config["schema"] is None else Schema.from_json(config["schema"])
        model._length, model.n_seen_ = config["length"], int(config["seen"])
        model._engine = None if parts.learner is None else Engine(parts.learner, parts.state)
        model._intervals = (
            None if config["intervals"] is None else IntervalTracker.from_json(config["intervals"])
        )
        model._faults = collections.Counter({str(name): int(n) for name, n in config["faults"].items()})
        rows = list(arrays["rows"]) if config["rows"] is None else [_row_from(row) for row in config["rows"]]
        memory, history = config["settings"]["memory"], config["settings"]["history"]
        model._rows = collections.deque(rows, maxlen=memory)
        model._targets = collections.deque(list(arrays["targets"]), maxlen=memory)
        model._tasks = collections.deque(arrays["tasks"].tolist(), maxlen=memory)
        model._recent = collections.deque(list(arrays["recent"]), maxlen=model._recent.maxlen)
        for name in model._columns:
            model._columns[name] = collections.deque(arrays[f"history_{name}"].tolist(), maxlen=history)
    return model, config["extra"]


def _check(config: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Sizes that later steps take for granted.

    Raises:
        ValueError: if they do not fit each other.
    """
    width, seen, length = config["settings"]["width"], config["seen"], config["length"]
    if not (1 <= width <= _WIDEST and seen >= 0 and (length is None or length >= 1)):
        raise ValueError(f"width={width!r}, seen={seen!r}, length={length!r}")
    rows = arrays["rows"] if config["rows"] is None else config["rows"]
    pairs = [len(kept) for kept in (rows, arrays["targets"], arrays["tasks"])]
    history = [arrays[f"history_{name}"].shape for name in HISTORY]
    if len(set(pairs)) > 1 or len(set(history)) > 1 or len(history[0]) != 1:
        raise ValueError(f"histories of different lengths: {pairs} and {history}")
    if not isinstance(config["extra"], dict):
        raise TypeError("what the class adds has no names")


def _row_json(row: Any) -> Any:
    if isinstance(row, np.ndarray):
        return [None if np.isnan(value) else value for value in row.tolist()]
    return row


def _row_from(row: Any) -> Any:
    return (
        np.asarray([np.nan if value is None else value for value in row], float)
        if isinstance(row, list)
        else row
    )
