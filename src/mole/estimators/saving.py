"""An estimator or a fleet as one file, from which it goes on bit for bit.

`save_parts` and `load_parts` know learners, states and priors; `save_estimator` and `load_estimator` take an estimator
apart for them and put it together again.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np

from mole.estimators.base import OnlineEstimator
from mole.estimators.described import describe_given, describe_learner, given_from, learner_skeleton
from mole.estimators.intervals import IntervalTracker
from mole.estimators.late import row_from, row_json
from mole.estimators.state import HISTORY
from mole.estimators.step import Engine
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError
from mole.online import stack
from mole.readout import mixture, order
from mole.rows.changes import InputChanges
from mole.rows.encoding import RowEncoder, Schema
from mole.rows.scaling import Units
from mole.rows.selection import Neglected

__all__ = [
    "Parts",
    "damage_told",
    "load_estimator",
    "load_parts",
    "save_estimator",
    "save_parts",
]

_LATER = frozenset({"changes", "pending", "places", "regimes", "renewal", "units"})
"""Entries that version 0.1 did not write."""
_VERSION = 1  # of the entries of the configuration; another one is refused
# Leaves that 0.1 wrote otherwise: a readout's memory of its rates of drift is a setting now, and labels have an order.
_UPGRADES = {**stack.UPGRADES, **mixture.UPGRADES, **order.UPGRADES}
_DTYPES = tuple(np.dtype(kind).str for kind in (bool, np.uint8, np.int32, np.int64, np.float32, np.float64))


class Parts(NamedTuple):
    """What an estimator is made of.

    Attributes:
        config: plain JSON: settings, schema, encoder, rows that are no vectors, counters.
        learner: the mixture, or None.
        state: its state, or None.
        arrays: name → array: rows, targets, tasks, history.
    """

    config: dict[str, Any]
    learner: Any
    state: Any
    arrays: dict[str, np.ndarray]


def save_parts(path: str | os.PathLike[str], kind: str, parts: Parts, given: Any) -> None:
    """Write the parts to one file, atomically; ``given`` is the prior or learner that the user gave, or None."""
    config = {
        **parts.config,
        "version": _VERSION,
        "learner": None if parts.learner is None else describe_learner(parts.learner, given),
        "given": describe_given(given),
        "arrays": {name: [list(array.shape), array.dtype.str] for name, array in parts.arrays.items()},
    }
    checkpoint.save(path, (parts.learner, parts.state, parts.arrays), kind=kind, config=config)


def load_parts(
    path: str | os.PathLike[str], kind: str, names: frozenset[str], *, many: bool = False
) -> Parts:
    """Read what `save_parts` wrote.

    Args:
        path: the file.
        kind: expected kind of file.
        names: expected entries of the configuration, beside those that `save_parts` adds.
        many: whether there is a state for each of ``settings["size"]`` streams.

    Raises:
        FileNotFoundError: if there is no such file.
        mole.files.checkpoint.CheckpointError: if it is damaged, of another version or another kind.
    """
    header = checkpoint.read_header(path)
    if header.kind != kind:
        raise CheckpointError(f"{path} holds a {header.kind!r:.80}, expected a {kind!r}.")
    config = dict(header.config)
    wrong = sorted((set(config) ^ (names | {"version", "learner", "given", "arrays"})) - _LATER)
    if wrong or config["version"] != _VERSION:
        raise CheckpointError(
            f"{path} has a header that differs in {str(wrong or ['version'])[:300]}; it was written by another version."
        )
    # Shapes alone, without numbers: the sizes in a header are compared with the file before anything is allocated.
    learner = state = None
    with damage_told(path):
        if config["learner"] is not None:
            learner = learner_skeleton(config["learner"], config["settings"]["mixture"], path)
            state = eqx.filter_eval_shape(lambda one: one.init(), learner)
            if many:
                size = config["settings"]["size"]
                state = jax.tree.map(lambda a: jax.ShapeDtypeStruct((size, *a.shape), a.dtype), state)
        arrays = {name: _placeholder(stored, name, path) for name, stored in config["arrays"].items()}
    learner, state, arrays = checkpoint.load(path, (learner, state, arrays), kind=kind, upgrades=_UPGRADES)
    return Parts(config, learner, state, {name: np.asarray(array) for name, array in arrays.items()})


@contextmanager
def damage_told(path: Any) -> Iterator[None]:
    """Raise a `CheckpointError` that names the file, for any error that wrong contents of a header cause.

    The checksum shows damage, not forgery: a header may hold any JSON.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        text = f"{type(error).__name__}: {error}"[:300]
        raise CheckpointError(
            f"{path} is damaged ({text}); it was not written by mole: use another copy"
        ) from error


def _placeholder(stored: Any, name: str, path: Any) -> np.ndarray:
    """An array of the stored shape and type to load into; NumPy's, since JAX would make doubles singles."""
    try:
        shape, dtype = stored
        if not isinstance(dtype, str) or dtype not in _DTYPES:  # others may have items of any size
            raise TypeError(dtype)  # noqa: TRY301
        return checkpoint.placeholder(shape, dtype)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a damaged description of the array {name!r:.80}.") from error


_WIDEST = 10**4  # hidden units that a header may ask for: the next prior would be made with as many

T = TypeVar("T", bound=OnlineEstimator)
_NAMES = frozenset(
    {
        "settings",
        "encoder",
        "schema",
        "rows",
        "length",
        "seen",
        "changes",
        "pending",
        "regimes",
        "units",
        "places",
        "renewal",
        "intervals",
        "faults",
        "extra",
    }
)


def save_estimator(
    model: OnlineEstimator, path: str | os.PathLike[str], kind: str, extra: dict[str, Any]
) -> None:
    """Write ``model`` and what its class adds (plain JSON) to one file, atomically."""
    # Rows of numbers are an array. Others are JSON as they came: read again, they give the same values.
    rows = list(model._rows)
    plain = all(isinstance(row, np.ndarray) and len(row) == len(rows[0]) for row in rows)
    config = {
        "settings": {**model._settings},
        "encoder": model._encoder.to_json(),
        "schema": None if model._schema is None else model._schema.to_json(),
        "rows": None if plain else [row_json(row) for row in rows],
        "length": model._length,
        "seen": model.n_seen_,
        "changes": model._changes.to_json(),
        "pending": model._pending.to_json(),
        "regimes": model._watch.to_json(),
        "units": None if model._units is None else list(model._units),
        "places": None if model._places is None else model._places.tolist(),
        "renewal": None if model._renewal is None else model._renewal.to_json(model._postponed),
        "intervals": None if model._intervals is None else model._intervals.to_json(),
        "faults": model.faults_,
        "extra": extra,
    }
    arrays = {
        "targets": np.asarray(list(model._targets)),
        "tasks": np.asarray(list(model._tasks), np.int32),
        "recent": np.asarray(list(model._recent), np.float32),
        **{f"history_{name}": column for name, column in _columns(model).items()},
    }
    if model._neglected is not None:
        found = model._neglected.to_arrays()
        arrays |= {f"neglected_{name}": array for name, array in found.items()}
    if plain:
        arrays["rows"] = np.asarray(rows, float)
    if any(weight != 1.0 for weight in model._weights):  # a file without them has pairs of weight one alone
        arrays["weights"] = np.asarray(model._weights, float)
    save_parts(path, kind, Parts(config, model._learner, model._state, arrays), model._given)


def load_estimator(cls: type[T], path: str | os.PathLike[str], kind: str) -> tuple[T, dict[str, Any]]:
    """Read what `save_estimator` wrote; the model, and what its class had added.

    Raises:
        FileNotFoundError: if there is no such file.
        mole.files.checkpoint.CheckpointError: if it is damaged, of a newer format or another kind.
    """
    parts = load_parts(path, kind, _NAMES)
    config, arrays = parts.config, parts.arrays
    with damage_told(path):
        _check(config, arrays)
        model = cls(given_from(config["given"], parts.learner, path), **config["settings"])
        model._encoder = RowEncoder.from_json(config["encoder"])
        model._schema = None if config["schema"] is None else Schema.from_json(config["schema"])
        model._changes = InputChanges.from_json(config["changes"]) if "changes" in config else InputChanges()
        model._pending.restore(config.get("pending", []))
        if "regimes" in config:
            model._watch.restore(config["regimes"])
        model._units = None if config.get("units") is None else Units.from_json(config["units"])
        model._places = None if config.get("places") is None else np.asarray(config["places"], int)
        model._length, model.n_seen_ = config["length"], int(config["seen"])
        model._engine = None if parts.learner is None else Engine(parts.learner, parts.state)
        model._intervals = (
            None if config["intervals"] is None else IntervalTracker.from_json(config["intervals"])
        )
        model._faults = collections.Counter({str(name): int(n) for name, n in config["faults"].items()})
        rows = list(arrays["rows"]) if config["rows"] is None else [row_from(row) for row in config["rows"]]
        memory, history = config["settings"]["memory"], config["settings"]["history"]
        model._rows = collections.deque(rows, maxlen=memory)
        model._targets = collections.deque(list(arrays["targets"]), maxlen=memory)
        model._tasks = collections.deque(arrays["tasks"].tolist(), maxlen=memory)
        weights = arrays["weights"].tolist() if "weights" in arrays else [1.0] * len(rows)
        model._weights = collections.deque(weights, maxlen=memory)
        model._recent = collections.deque(list(arrays["recent"]), maxlen=model._recent.maxlen)
        columns = [arrays[f"history_{name}"].tolist() for name in HISTORY]
        model._history = collections.deque(zip(*columns, strict=True), maxlen=history)
        if model._places is not None:
            names = [name for name in arrays if name.startswith("neglected_")]
            found = {name.removeprefix("neglected_"): arrays[name] for name in names}
            model._neglected = Neglected.from_arrays(model._places, found)
        if config.get("renewal") is not None:
            model._go_on_renewing(config["renewal"])
    return model, config["extra"]


def _check(config: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Check the sizes that later steps take for granted.

    Raises:
        ValueError: if they do not fit each other.
    """
    width, seen, length = config["settings"]["width"], config["seen"], config["length"]
    if not (1 <= width <= _WIDEST and seen >= 0 and (length is None or length >= 1)):
        raise ValueError(f"width={width!r}, seen={seen!r}, length={length!r}")
    rows = arrays["rows"] if config["rows"] is None else config["rows"]
    pairs = [len(kept) for kept in (rows, arrays["targets"], arrays["tasks"], arrays.get("weights", rows))]
    history = [arrays[f"history_{name}"].shape for name in HISTORY]
    if len(set(pairs)) > 1 or len(set(history)) > 1 or len(history[0]) != 1:
        raise ValueError(f"histories of different lengths: {pairs} and {history}")
    if not isinstance(config["extra"], dict):
        raise TypeError("what the class adds has no names")


def _columns(model: OnlineEstimator) -> dict[str, np.ndarray]:
    columns = zip(*model._history, strict=True) if model._history else ((),) * len(HISTORY)
    return {name: np.asarray(column) for name, column in zip(HISTORY, columns, strict=True)}
