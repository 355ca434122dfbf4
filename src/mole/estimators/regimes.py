"""Regimes in the user's words: when a task began or returned, and how what is predicted differs from the one before.

A task is described by its expected targets over the newest inputs, and by how far each column moves them there. Both
are linear in the coefficients of a readout, so that their differences have a mean and a standard deviation in closed
form (`mole.readout.posterior`): after few pairs of a new task they are known badly, and the record says so.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole.readout import ReadoutMixture
from mole.readout.posterior import TaskPosterior, linear_features
from mole.rows.scaling import Units
from mole.rows.values import BOOLEAN, NUMBER

__all__ = ["EVENTS", "RegimeWatch", "columns_of", "described"]

EVENTS = 256
"""Newest events that are kept."""
SETTLED = 5
"""Pairs in a row that a known task leads before it counts as returned: one wild pair may let another task lead."""
_LISTED = 8  # outputs, and columns of each output, that a record names
_LOOKED_AT = 64  # columns whose differences are measured, by a first estimate
_CELLS = 16_384  # entries of the inputs that a description looks at: wide rows are thinned out


class RegimeWatch:
    """Notices when another task goes on to lead, pair by pair.

    Attributes:
        events: the newest records.
        total: events ever.
    """

    def __init__(self) -> None:
        """Nothing seen."""
        self.events: collections.deque[dict[str, Any]] = collections.deque(maxlen=EVENTS)
        self.total = 0
        self._current = -1
        self._told: set[int] = set()  # tasks that had an event
        # A lead that has not lasted yet: task, its first pair, pairs.
        self._leading = (-1, 0, 0)

    def turned(
        self, pair: int, lead: int, slots: Callable[[], tuple[Any, Sequence[Any]]], spawned: bool
    ) -> dict[str, Any] | None:
        """The beginning of a record if this pair shows a change, else None.

        Args:
            pair: its number, 1 for the first.
            lead: number of the task that predicts now.
            slots: gives responsibilities and numbers of the tasks in all slots.
            spawned: whether it was discovered at this pair.
        """
        if lead == self._current:
            self._leading = (-1, 0, 0)
            return None
        task, first, count = self._leading
        self._leading = (lead, first, count + 1) if task == lead else (lead, pair, 1)
        tasks = slots()[1]
        # A candidate has the number that it will get as a task, so that the first pair of its lead is known then.
        if lead not in tasks or not (spawned or self._current < 0 or self._leading[2] >= SETTLED):
            return None
        before = self._current if self._current >= 0 else None
        record = {
            "event": "returned" if lead in self._told else "began",
            "row": self._leading[1],
            "noticed": pair,
            "task": lead,
            "before": before,
        }
        # Numbers are never given again: those of tasks that are gone need not be remembered.
        self._told = {lead, *self._told.intersection(map(int, tasks))}
        self._current, self._leading = lead, (-1, 0, 0)
        return record

    def add(self, record: dict[str, Any]) -> None:
        """Keep a whole record."""
        self.total += 1
        self.events.append(record)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON data."""
        return {
            "events": list(self.events),
            "total": self.total,
            "current": self._current,
            "told": sorted(self._told),
            "leading": list(self._leading),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on where `to_json` was taken.

        Raises:
            TypeError, ValueError: if the data is damaged.
        """
        records = data["events"]
        if not (isinstance(records, list) and all(isinstance(one, dict) for one in records)):
            raise ValueError(f"got {records!r:.80} as events; expected a list of records")
        self.events.extend(records)
        self.total, self._current = int(data["total"]), int(data["current"])
        self._told = set(map(int, data["told"]))
        task, first, count = map(int, data["leading"])
        self._leading = (task, first, count)


def described(model: Any, task: int, before: int | None = None, names: Sequence[Any] = ()) -> dict[str, Any]:
    """A task in numbers, in the units of the target; see `OnlineRegressor.regime_`.

    Args:
        model: an estimator with a learner and recent inputs.
        task: number of the task.
        before: of the task that it is compared with, or None.
        names: of the outputs that are told of, from the learner's first on.

    Raises:
        KeyError: if the mixture does not (or no longer) know one of the tasks.
    """
    learner, state, columns = model._learner, model._state, columns_of(model)
    recent = np.stack(model._recent)
    recent = recent[:: 1 + recent.size // _CELLS]
    middle, std = (np.asarray(part, float) for part in (learner.prior.x_norm.mean, learner.prior.x_norm.std))
    x = (recent - middle) / std
    slots = [_slot(model, one) for one in (task, before) if one is not None]
    # A network says what it expects, and not how well that is known.
    inputs, along, posteriors = x, np.empty(0), list[TaskPosterior]()
    if isinstance(learner, ReadoutMixture):
        view = linear_features(learner.prior.features, x)
        inputs, along = view.inputs, np.column_stack([view.mean, view.slopes])
        posteriors = [TaskPosterior.of(state, slot) for slot in slots]
        linear = [one.expected(along) for one in posteriors]
    else:
        linear = [np.asarray(_network_view(learner, state, jnp.int32(slot), recent)) for slot in slots]
    scale = np.asarray(learner.prior.y_norm.std, float)
    offset = np.asarray(learner.prior.y_norm.mean, float)
    units = model._units or Units((0.0,) * len(scale), (1.0,) * len(scale))
    scale = scale / np.asarray(units.factor)
    offset = np.asarray(units.decode(offset))

    def sure(places: list[int], spread: np.ndarray) -> np.ndarray | None:
        """Standard deviation of what inputs of this covariance add, over both tasks ``[dy]``."""
        if not posteriors:
            return None
        terms = [np.einsum("ykj,jk->y", one.covariance(along[:, places]), spread) for one in posteriors]
        return scale * np.sqrt(np.maximum(sum(terms), 0.0))

    means = [offset + scale * one[0] for one in linear]
    told_means = _entries(names, means, sure([0], np.ones((1, 1))))
    told: list[dict[str, Any]] = []
    apart = inputs - inputs.mean(axis=0)
    if len(columns) > _LOOKED_AT:
        moves = np.abs(linear[0] - linear[-1] if before is not None else linear[0])[1:].max(axis=1)
        moves = moves * apart.std(axis=0)
        columns = sorted(columns, key=lambda column: -moves[column[1]].max())[:_LOOKED_AT]
    for column, places, unit in columns:
        spread = apart[:, places].T @ apart[:, places] / len(apart)
        slopes = [one[[1 + place for place in places]] for one in linear]

        def moved(by: np.ndarray, spread: np.ndarray = spread, plain: bool = unit is not None) -> np.ndarray:
            size = np.sqrt(np.maximum(np.einsum("ky,kj,jy->y", by, spread, by), 0.0))
            return scale * size * (np.sign(by[0]) if plain else 1.0)

        effects = [moved(one) for one in slopes]
        if before is not None:
            effects.append(moved(slopes[0] - slopes[1]))
        entries = _entries(names, effects, sure([1 + place for place in places], spread), name="effect")
        for output, entry in enumerate(entries):
            if unit is not None:
                by = [scale[output] * one[0, output] * unit / std[places[0]] for one in slopes]
                entry.update(zip(("slope", "slope_before"), map(_plain, by), strict=False))
            told.append({"output": entry.pop("output"), "column": column, **entry})
    outputs = sorted(told_means, key=_weight)[:_LISTED]
    ranked = sorted(told, key=_weight)
    kept = [
        entry for one in outputs for entry in [e for e in ranked if e["output"] == one["output"]][:_LISTED]
    ]
    return {"task": task, "before": before, "outputs": outputs, "columns": kept}


def _entries(
    names: Sequence[Any], values: list[np.ndarray], sd: np.ndarray | None, name: str = "mean"
) -> list[dict[str, Any]]:
    """One record per output: of the task, or of the task, the one before, and how far they differ."""
    found = []
    for place, output in enumerate(names):
        entry: dict[str, Any] = {"output": output, name: _plain(values[0][place])}
        if len(values) > 1:
            change = values[2][place] if len(values) > 2 else values[0][place] - values[1][place]
            entry.update({f"{name}_before": _plain(values[1][place]), "change": _plain(change)})
        entry["sd"] = None if sd is None else _plain(sd[place])
        found.append(entry)
    return found


def _weight(entry: Mapping[str, Any]) -> tuple[float, float]:
    """By what is certain of the size: the largest comes first, and what may as well be nothing last."""
    size = abs(entry.get("change", entry.get("effect", 0.0)) or 0.0)
    return -max(size - (entry["sd"] or 0.0), 0.0), -size


def _plain(value: Any) -> float | None:
    """Seven digits, as float32 has; None if it is not finite, since a record is JSON."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _slot(model: Any, task: int) -> int:
    tasks = [int(one) for one in model._in_slots()[1]]
    if task in tasks:
        return tasks.index(task)
    raise KeyError(task)


def columns_of(model: Any) -> list[tuple[str, list[int], float | None]]:
    """Every column with the places of its inputs, and of a number how far its input moves by one unit; else None."""
    schema = model._schema
    if schema is None:
        return [(f"x{place}", [place], 1.0) for place in range(model._engine_.dx)]
    places: dict[str, list[int]] = {}
    learned = range(schema.size) if model._places is None else model._places.tolist()
    for place, source in enumerate(learned):
        places.setdefault(schema.sources[source], []).append(place)
    # On a logarithmic scale a unit is no fixed distance.
    units = {c.name: c.factor for c in schema.columns if c.kind in (NUMBER, BOOLEAN) and not c.log}
    return [(name, found, units.get(name)) for name, found in places.items()]


@eqx.filter_jit
def _network_view(learner: Any, state: Any, slot: Any, x: Any) -> Any:
    """Mean output, and mean slopes by the normalised inputs, of a task's network, both normalised ``[1 + dx, dy]``."""
    model, norm = learner.model_in(state, slot), learner.prior.y_norm

    def expected(z: Any) -> Any:
        return norm(learner.prior.predict(model, learner.prior.x_norm.inverse(z)).mean)

    z = jax.vmap(learner.prior.x_norm)(x)
    mean = jnp.mean(jax.vmap(expected)(z), axis=0)
    slopes = jnp.mean(jax.vmap(jax.jacfwd(expected))(z), axis=0)
    return jnp.concatenate([mean[None], slopes.T])
