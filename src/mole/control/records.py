"""The record of one run: plain NumPy arrays and a JSON header in one `.npz` file, never pickle.

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
from mole.control.record_files import load_arrays, save_arrays

__all__ = ["META_KEYS", "EpisodeRecord", "Recorder", "read_meta"]

FORMAT = "mole-episode/1"
META_KEYS = ("env", "method", "schedule", "seed", "step_seconds", "complete", "error")
"""Entries every header must have; `prior`, `configuration`, `versions`, `machine` and `random_action_error` (the mean
one-step error under random actions on the same schedule, None if unknown) are shown where present."""

Scalar = Any
"""A Python, NumPy or JAX scalar."""

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

    Arrays are converted to the dtypes below and made read-only. A value that an environment or a learner does
    not have is NaN (`position`, `upright`), -1 (`true_task`), or a single slot (`responsibilities` of shape
    [T, 1]).

    Attributes:
        reward: [T] float, reward of the step.
        loss: [T] float, mean squared normalised error of the prediction made *before* learning from the step.
        responsibilities: [T, tasks] float, probability of each slot after the step; unused slots are 0.
        task: [T] int, the slot chosen after the step (the one that plans the next action).
        n_tasks: [T] int, slots in use.
        spawned: [T] bool, whether a new task joined the mixture at this step.
        at_capacity: [T] bool, whether a new task was wanted but no slot was free.
        rejected: [T] bool, whether the learner refused the step's pair (for example because it is not
            finite).
        true_task: [T] int, the task that ruled the step, -1 if unknown.
        position: [T] float, metres forward after the step.
        upright: [T] float, cosine of the pitch: 1 upright, -1 on its back.
        seconds: [T] float, wall seconds of act and observe together.
        meta: JSON header: at least `META_KEYS`. `step_seconds` is the simulated time of a step, `complete`
            whether the run reached its planned end, `error` what stopped it (or None).

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
                    f"record array {name!r} has shape {list(value.shape)}, expected {want}: "
                    "give one entry per step, as many as 'reward' has"
                )
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        slots = self.responsibilities.shape[1]
        if length and (self.task.min() < 0 or self.task.max() >= slots):
            raise ValueError(
                f"record array 'task' holds slots {self.task.min()}..{self.task.max()}, "
                f"expected 0..{slots - 1} (the columns of 'responsibilities')"
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
        target = Path(path)
        save_arrays(target, {name: getattr(self, name) for name in _DTYPES}, {"format": FORMAT, **self.meta})
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EpisodeRecord:
        """Read a record written by `save`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is truncated or damaged, is not a record, or its arrays disagree.
        """
        source = expect_file("EpisodeRecord.load", path)
        arrays, header = load_arrays(source)
        missing = sorted(set(_DTYPES) - set(arrays))
        if missing:
            raise ValueError(f"{source} lacks the arrays {missing}: expected all of {sorted(_DTYPES)}")
        meta = _of_this_format(source, header)
        try:
            return cls(**{name: arrays[name] for name in _DTYPES}, meta=meta)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source} holds an inconsistent record: {error}") from error


def read_meta(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a record, without its arrays: quick, for those who have thousands.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or is not a record.
    """
    source = Path(path)
    return _checked_meta(_of_this_format(source, load_arrays(source, header_only=True)[1]))


def _of_this_format(source: Path, header: dict[str, Any]) -> dict[str, Any]:
    meta = dict(header)
    version = meta.pop("format", None)
    if version != FORMAT:
        raise ValueError(
            f"{source} has record format {version!r:.80}, expected {FORMAT!r}: read it with that version"
        )
    return meta


class Recorder:
    """Collects a run step by step, so that an interrupted run can still be saved.

    Example:
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
    """Names of the arrays."""

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
        reward: Scalar,
        loss: Scalar,
        responsibilities: Any = (1.0,),
        task: Scalar = 0,
        n_tasks: Scalar = 1,
        spawned: Scalar = False,
        at_capacity: Scalar = False,
        rejected: Scalar = False,
        true_task: Scalar = -1,
        position: Scalar = float("nan"),
        upright: Scalar = float("nan"),
        seconds: Scalar = float("nan"),
    ) -> None:
        """Add one step; see `EpisodeRecord` for the meaning of each value. JAX scalars are accepted."""
        values = locals()
        # all are converted before any is stored, so that a failing one cannot leave the columns uneven
        row = {name: _converted(name, values[name]) for name in _DTYPES}
        slots = row["responsibilities"].shape
        expected = self._rows["responsibilities"][0].shape if len(self) else slots
        if len(slots) != 1 or slots != expected:
            raise ValueError(
                f"responsibilities have shape {slots}, expected {expected if len(self) else '[tasks]'}"
            )
        for name, column in self._rows.items():
            column.append(row[name] if name == "responsibilities" else row[name].item())

    def last(self, name: str, n: int = 1) -> np.ndarray:
        """The last `n` values (all, if there are fewer) of an array of `EpisodeRecord`, oldest first.

        Cheap, so that progress can be shown: no record is built.

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
        copy = json.loads(json.dumps(dict(meta), allow_nan=False))
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
