"""Shards that are fleets with keys: `mole.KeyedFleet` as `mole.distributed.run` takes it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mole._expect import expect_type
from mole.estimators.keyed import KeyedFleet
from mole.priors.file import load_prior
from mole.priors.stream import StreamPrior

__all__ = ["FleetShard", "FleetShards"]

_SETTINGS = frozenset({"level", "mixture", "max_resident", "folder"})
_FIELDS = ("prediction", "low", "high", "loss", "task", "n_tasks", "fault")


class FleetShard:
    """One shard: a fleet of the keys that belong to it.

    Its outputs are dicts with ``key``, ``target`` and the fields of `mole.estimators.KeyedSteps`; None where a number
    is not finite.
    """

    def __init__(self, fleet: KeyedFleet, key: str, target: str) -> None:
        """Use `FleetShards`."""
        self.fleet, self._key, self._target = fleet, key, target

    def step(self, rows: list[Any]) -> list[dict[str, Any]]:
        """Predict the rows, then learn them, in order."""
        steps = self.fleet.step(rows)
        columns = {name: _plain(getattr(steps, name)) for name in _FIELDS}
        columns["target"] = [_json(row.get(self._target)) for row in rows]
        keys = [_json(row[self._key]) for row in rows]
        return [
            {"key": key, **{name: column[place] for name, column in columns.items()}}
            for place, key in enumerate(keys)
        ]

    def save(self, path: Path) -> None:
        """Write the fleet."""
        self.fleet.save(path)

    def __len__(self) -> int:
        """Keys."""
        return len(self.fleet)


class FleetShards:
    """``make_shard`` of `mole.distributed.run` for fleets that share a prior.

    The results are those of one `mole.KeyedFleet` with this prior that sees all rows, whatever the number of shards and
    of actors is.

    Args:
        prior: file of a prior that all machines can read, or the prior itself, from `mole.fit_prior`. It must be given:
            a fleet without one makes it of its own first rows, and every shard would make another.
        key: column of the keys, as for ``run``.
        target: column of the targets.
        settings: of `mole.KeyedFleet`: ``level``, ``mixture``, ``max_resident`` (of one shard), ``folder``.

    Raises:
        TypeError: without a prior, or for a setting that there is not.

    Example:
        >>> shards = FleetShards("prior.mole", key="machine", target="wear")             # doctest: +SKIP
        >>> run(rows, make_shard=shards, key="machine", folder="runs/wear", actors=8)
    """

    def __init__(
        self, prior: StreamPrior | str | os.PathLike[str], *, key: str, target: str, **settings: Any
    ) -> None:
        """See the class."""
        remedy = "mole.fit_prior and mole fit-prior make one from recorded rows; all shards share it."
        expect_type("FleetShards", "prior", prior, (StreamPrior, str, os.PathLike), remedy)
        self._prior, self._key, self._target = prior, key, target
        self._settings: Mapping[str, Any] = settings
        # Now, and not on another machine. No fleet is made here: JAX must not run where Ray has not begun yet.
        wrong = sorted(set(settings) - _SETTINGS)
        if wrong:
            raise TypeError(
                f"FleetShards got {wrong}; expected some of {sorted(_SETTINGS)}, as mole.KeyedFleet."
            )

    def __call__(self, saved: Path | None) -> FleetShard:
        """A new shard, or the one that was saved."""
        if saved is not None:
            fleet = KeyedFleet.load(saved, folder=self._settings.get("folder"))
            return FleetShard(fleet, self._key, self._target)
        prior: Any = self._prior if isinstance(self._prior, StreamPrior) else load_prior(self._prior)
        fleet = KeyedFleet(prior, self._key, target=self._target, **self._settings)
        return FleetShard(fleet, self._key, self._target)


def _json(value: Any) -> Any:
    """A value of a row as JSON can hold it."""
    value = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(column: np.ndarray) -> list[Any]:
    """A column as JSON can hold it."""
    values = column.tolist()
    if column.ndim > 1:
        return [[one if math.isfinite(one) else None for one in row] for row in values]
    return [one if math.isfinite(one) else None for one in values]
