"""The record of one run: plain NumPy arrays and a JSON header in one `.npz` (or `.parquet`) file, never pickle.

A record says what happened and nothing about how to judge it; `mole.experiment.metrics` computes figures from
it. `true_task` is known to the evaluator alone: no agent ever reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from mole._expect import expect_file
from mole.files.atomic import atomic_file
from mole.files.npz import read_npz

__all__ = ["META_KEYS", "EpisodeRecord", "Recorder"]

FORMAT = "mole-episode/1"
META_KEYS = ("env", "method", "schedule", "seed", "step_seconds", "complete", "error")
"""Entries every header must have; `prior`, `configuration`, `versions`, `machine` and `random_action_error` (the mean
one-step error under random actions on the same schedule, None if unknown) are shown where present."""

_DTYPES: dict[str, type] = {
    "reward": np.float64,
    "loss": np.float64,
    "responsibilities": np.float32,
    "task": np.int64,
    "n_tasks": np.int64,
    "spawned": np.bool_,
    "at_capacity": np.bool_,
    "rejected": np.bool_,
    "true_task": np.int64,
    "position": np.float64,
    "upright": np.float64,
    "seconds": np.float64,
}


@dataclass(frozen=True, eq=False)
class EpisodeRecord:
    """T steps of one run. Step t is: act, one environment step, observe; all arrays are indexed by t.

    Arrays are converted to the dtypes below and made read-only. A value that an environment or a learner does not have
    is NaN (`position`, `upright`), -1 (`true_task`), or a single slot (`responsibilities` of shape [T, 1]).

    Attributes:
        reward: [T] float, reward of the step.
        loss: [T] float, mean squared normalised error of the prediction made *before* learning from the step.
        responsibilities: [T, tasks] float, probability of each slot after the step; unused slots are 0.
        task: [T] int, the slot chosen after the step (the one that plans the next action).
        n_tasks: [T] int, slots in use.
        spawned: [T] bool, whether a new task joined the mixture at this step.
        at_capacity: [T] bool, whether a new task was wanted but no slot was free.
        rejected: [T] bool, whether the learner refused the step's pair (it is not finite, for example).
        true_task: [T] int, the task that ruled the step, -1 if unknown.
        position: [T] float, metres forward after the step.
        upright: [T] float, cosine of the pitch: 1 upright, -1 on its back.
        seconds: [T] float, wall seconds of act and observe together.
        meta: JSON header: at least `META_KEYS`. `step_seconds` is the simulated time of a step, `complete` whether the
            run reached its planned end, `error` what stopped it (or None).

    Raises:
        ValueError: if shapes disagree, a slot is out of range, or the header lacks a key or is not JSON.
    """

    reward: np.ndarray
    loss: np.ndarray
    responsibilities: np.ndarray
    task: np.ndarray
    n_tasks: np.ndarray
    spawned: np.ndarray
    at_capacity: np.ndarray
    rejected: np.ndarray
    true_task: np.ndarray
    position: np.ndarray
    upright: np.ndarray
    seconds: np.ndarray
    meta: dict[str, Any]

    def __post_init__(self) -> None:
        """Convert, check and freeze."""
        length = np.shape(self.reward)[0] if np.ndim(self.reward) else 0
        for name in _DTYPES:
            value = _converted(name, getattr(self, name))
            rank = 2 if name == "responsibilities" else 1
            if value.ndim != rank or value.shape[0] != length:
                want = f"[{length}, tasks]" if rank == 2 else f"[{length}]"
                raise ValueError(
                    f"record array {name!r} has shape {list(value.shape)}, expected {want}: give one entry per step, "
                    "as many as 'reward' has"
                )
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        slots, task = self.responsibilities.shape[1], self.task
        if length and (task.min() < 0 or task.max() >= slots):
            raise ValueError(
                f"record array 'task' holds slots {task.min()}..{task.max()}, expected 0..{slots - 1} (the columns of "
                "'responsibilities')"
            )
        object.__setattr__(self, "meta", _checked_meta(self.meta))

    def __len__(self) -> int:
        """The number of steps T."""
        return int(self.reward.shape[0])

    @property
    def has_mixture(self) -> bool:
        """Whether the learner had more than one slot, so that `task` says something."""
        return self.responsibilities.shape[1] > 1

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record to `path` atomically: a reader never sees half a file. Parquet if it ends so, else NumPy.

        Raises:
            OSError: if the folder does not exist or cannot be written.
        """
        target, header = Path(path), {"format": FORMAT, **self.meta}
        arrays = {name: getattr(self, name) for name in _DTYPES}
        if target.suffix == ".parquet":
            from mole.control import parquet  # an extra

            parquet.save_arrays(target, arrays, header)
        else:
            arrays["meta"] = np.array(json.dumps(header, sort_keys=True))  # equal headers are equal bytes
            with atomic_file(target) as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EpisodeRecord:
        """Read a record written by `save`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is truncated or damaged, is not a record, or its arrays disagree.
        """
        source = expect_file("EpisodeRecord.load", path)
        if not source.is_file():
            raise FileNotFoundError(f"no record at {source}: expected a file written by EpisodeRecord.save")
        if source.suffix == ".parquet":
            from mole.control import parquet  # an extra

            arrays, meta = parquet.load_arrays(source)
        else:
            arrays, meta = _load_npz(source)
        missing = sorted(set(_DTYPES) - set(arrays))
        if missing:
            raise ValueError(f"{source} lacks the arrays {missing}: expected all of {sorted(_DTYPES)}")
        version = meta.pop("format", None)
        if version != FORMAT:
            raise ValueError(
                f"{source} has record format {version!r:.80}, expected {FORMAT!r}: read it with that version"
            )
        try:
            return cls(**{name: arrays[name] for name in _DTYPES}, meta=meta)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source} holds an inconsistent record: {error}") from error


def _load_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a record, and its header."""
    found = read_npz(path)
    meta = found.pop("meta", None)
    if meta is None or meta.dtype.kind != "U" or meta.shape:
        raise ValueError(
            f"{path} is no record of a run: it has arrays {sorted(found)[:20]} but no 'meta' header"
        )
    try:
        header = json.loads(str(meta[()]))
    except (ValueError, RecursionError) as error:  # the latter for brackets without end
        raise ValueError(f"{path} has a header that is not JSON ({error}): run the episode again") from error
    return found, header if isinstance(header, dict) else {}


class Recorder:
    """Collects a run step by step, so that an interrupted run can still be saved.

    Examples:
        >>> recorder = Recorder({"env": "HalfCheetah-v5", "method": "mole", "schedule": "alternate",
        ...                      "seed": 0, "step_seconds": 0.05})
        >>> recorder.append(reward=1.0, loss=0.1, responsibilities=[1.0, 0.0], task=0, n_tasks=1)
        >>> len(recorder.record())
        1
        >>> recorder.finish()
        >>> recorder.record().meta["complete"]
        True
    """

    NAMES = tuple(_DTYPES)

    def __init__(self, meta: Mapping[str, Any]) -> None:
        """Start an empty record; `complete` is False and `error` None until `finish` says otherwise."""
        self.meta: dict[str, Any] = {**meta, "complete": False, "error": None}
        self._rows: dict[str, list[Any]] = {name: [] for name in _DTYPES}
        _checked_meta(self.meta)

    def __len__(self) -> int:
        """The number of steps appended."""
        return len(self._rows["reward"])

    def append(
        self,
        *,
        reward: Any,
        loss: Any,
        responsibilities: Any = (1.0,),
        task: Any = 0,
        n_tasks: Any = 1,
        spawned: Any = False,
        at_capacity: Any = False,
        rejected: Any = False,
        true_task: Any = -1,
        position: Any = float("nan"),
        upright: Any = float("nan"),
        seconds: Any = float("nan"),
    ) -> None:
        """Add one step; see `EpisodeRecord` for the meaning of each value. JAX scalars are accepted."""
        values = locals()  # by name, as `_DTYPES` lists them
        # All are converted before any is stored, so that a failing one cannot leave the columns uneven.
        row = {name: _converted(name, values[name]) for name in _DTYPES}
        slots = row["responsibilities"].shape
        expected = self._rows["responsibilities"][0].shape if len(self) else slots
        if len(slots) != 1 or slots != expected:
            wanted = expected if len(self) else "[tasks]"
            raise ValueError(f"responsibilities have shape {slots}, expected {wanted}")
        for name, column in self._rows.items():
            column.append(row[name] if name == "responsibilities" else row[name].item())

    def last(self, name: str, n: int = 1) -> np.ndarray:
        """The last `n` values (all, if there are fewer) of an array of `EpisodeRecord`, oldest first.

        Cheap, for showing progress: no record is built.

        Raises:
            ValueError: if there is no such array, or `n` is below 1.
        """
        if name not in self._rows:
            raise ValueError(f"a record has no column {name!r}, expected one of {sorted(self._rows)}")
        if n < 1:
            raise ValueError(f"n is {n}, expected at least 1: how many of the last values of {name!r}")
        rows = self._rows[name][-n:]
        if not rows and name == "responsibilities":
            return np.zeros((0, 1), np.float32)
        return np.array(rows, _DTYPES[name])

    def extend(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the steps of another recorder, by its arrays (`last`), bit for bit."""
        for name, column in self._rows.items():
            column.extend(arrays[name] if name == "responsibilities" else arrays[name].tolist())

    def finish(self, error: str | None = None) -> None:
        """Mark the run as over: complete if `error` is None, otherwise stopped by it."""
        self.meta |= {"complete": error is None, "error": error}

    def record(self) -> EpisodeRecord:
        """The record of the steps so far (possibly none)."""
        columns: dict[str, Any] = {name: self.last(name, max(len(self), 1)) for name in _DTYPES}
        return EpisodeRecord(**columns, meta=self.meta)


def _converted(name: str, value: Any) -> np.ndarray:
    """A copy (so that freezing it cannot freeze the caller's array) with the dtype of that field."""
    array = np.array(value)
    if not np.can_cast(array.dtype, _DTYPES[name], "same_kind"):
        raise TypeError(
            f"record value {name!r} is of type {array.dtype}, expected {np.dtype(_DTYPES[name])}: convert it"
        )
    return array.astype(_DTYPES[name])


def _checked_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of the header through JSON, so that what is kept is what would be read back."""
    missing = [key for key in META_KEYS if key not in meta]
    if missing:
        raise ValueError(
            f"record meta lacks {missing}, got {str(sorted(meta))[:300]}: give all of {list(META_KEYS)}"
        )
    try:
        copy = json.loads(json.dumps(dict(meta), allow_nan=False))  # NaN is no JSON, though Python writes it
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"record meta must be plain JSON ({error}): convert arrays, paths and NaN first"
        ) from error
    if not isinstance(copy["step_seconds"], int | float) or not copy["step_seconds"] > 0:
        raise ValueError(
            f"record meta 'step_seconds' is {copy['step_seconds']!r:.80}, expected seconds per step above 0"
        )
    probe = copy.get("random_action_error")
    if type(probe) not in (int, float, type(None)):
        raise ValueError(f"record meta 'random_action_error' is {probe!r:.80}, expected a number or None")
    return copy


assert set(_DTYPES) == {field.name for field in fields(EpisodeRecord)} - {"meta"}
