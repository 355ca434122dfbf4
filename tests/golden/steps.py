"""What is done with every golden file after it was loaded: by `make_golden.py` with mole 0.1, by the test with today's.

It calls public names only, so that it means the same in every version.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

import mole

HERE = Path(__file__).parent
FEW = {"max_tasks": 3, "candidates": 3, "drift": [1e-6]}
"""Settings of a small mixture of readouts: large ones make large files."""
PAPER = {
    "score": "loss", "temperature": 0.02, "task_prior": "crp", "alpha": 1.0, "refresh": 20, "assignment": "soft",
    "memory": "shared", "candidate_window": None, "margin": 0.0, "step_scale": 1.0, "max_tasks": 4,
    "at_capacity": "refuse", "likelihood_window": 4,
}  # fmt: skip
"""The paper's rule, by the settings that 0.1 has for it."""

Found = dict[str, np.ndarray]


def machine() -> dict[str, str]:
    """What decides the last bits of a result: libraries, XLA's flags and the kind of processor."""
    versions = {
        name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "equinox", "optax")
    }
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        text = platform.processor()
    lines = [line for line in text.splitlines() if line.startswith(("model name", "flags", "Features"))][:2]
    processor = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return {**versions, "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""), "processor": processor}


def cores() -> int:
    """Cores of this process: a fleet shares its streams out among them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def go_on(learner: Any, x: np.ndarray, y: np.ndarray) -> Found:
    """A learner of `mole.online` or `mole.ReadoutMixture` over pairs ``[n, ...]``, from its first state on."""
    predict = eqx.filter_jit(lambda one, state, x: one.predict(state, x))
    update = eqx.filter_jit(lambda one, state, x, y: one.update(state, x, y))
    state, found = learner.init(), []
    for one_x, one_y in zip(jax.numpy.asarray(x), jax.numpy.asarray(y), strict=True):
        prediction = predict(learner, state, one_x)
        state, info = update(learner, state, one_x, one_y)
        found.append(
            (*prediction, info.loss, info.task, info.n_tasks, info.responsibilities.sum(), info.fault)
        )
    names = ("mean", "scale", "loss", "task", "n_tasks", "sum", "fault")
    return {name: np.stack([np.asarray(v) for v in values]) for name, values in zip(names, zip(*found))}  # noqa: B905


def of_control_prior(prior: Any, x: np.ndarray, y: np.ndarray) -> Found:
    """Every learner that starts from a prior of networks."""
    learners = {
        "mixture": mole.Mixture(prior),
        "paper": mole.Mixture.paper(prior),
        "kshot": mole.KShot(prior),
        "continuous": mole.Continuous(prior),
    }
    return {f"{name}/{k}": v for name, one in learners.items() for k, v in go_on(one, x, y).items()}


def of_readout_prior(prior: Any, x: np.ndarray, y: np.ndarray) -> Found:
    """The mixture over a prior of readouts."""
    return go_on(mole.ReadoutMixture(prior, **FEW), x, y)


def of_stream_prior(prior: Any, rows: Sequence[Any], targets: Sequence[Any]) -> Found:
    """The estimator over a prior for streams, which learns from its first pair on."""
    if prior.kind == "classification":
        return of_classifier(mole.OnlineClassifier(prior, mixture=FEW), rows, targets)
    return of_regressor(mole.OnlineRegressor(prior, mixture=FEW), rows, targets)


def of_regressor(model: Any, rows: Sequence[Any], targets: Sequence[Any]) -> Found:
    """What a regressor says before and while it learns more pairs."""
    found = {
        **_at_once(model, "loaded"),
        "loaded/predictions": model.predict(rows),
        "loaded/intervals": np.asarray([model.predict_interval_one(row) for row in rows], float),
    }
    predictions, intervals = [], []
    for row, target in zip(rows, targets, strict=True):
        predictions.append(model.predict_one(row))
        intervals.append(model.predict_interval_one(row, 0.5))
        model.learn_one(row, target)
    found |= {"predictions": np.asarray(predictions, float), "intervals": np.asarray(intervals, float)}
    return {**found, **_at_once(model, "end"), "importance": model.importance_(model.task_)}


def of_classifier(model: Any, rows: Sequence[Any], labels: Sequence[Any]) -> Found:
    """What a classifier says before and while it learns more pairs, which may have new labels."""
    found = {
        **_at_once(model, "loaded"),
        "loaded/classes": np.asarray([repr(one) for one in model.classes_]),
        "loaded/probabilities": model.predict_proba(rows),
    }
    predictions, chances = [], []
    for row, label in zip(rows, labels, strict=True):
        predictions.append(repr(model.predict_one(row)))
        chances.append(list(model.predict_proba_one(row).values()))
        model.learn_one(row, label)
    wide = np.full((len(chances), len(model.classes_)), np.nan)  # NaN: a label that was not known yet
    for place, one in enumerate(chances):
        wide[place, : len(one)] = one
    found |= {"predictions": np.asarray(predictions), "probabilities": wide}
    return {**found, **_at_once(model, "end"), "classes": np.asarray([repr(one) for one in model.classes_])}


def of_fleet(fleet: Any, x: np.ndarray, y: np.ndarray) -> Found:
    """What a fleet says before and while it learns more pairs ``[size, n, ...]``, of which some are missing."""

    def now(name: str) -> Found:
        chances = np.stack([fleet.responsibilities(stream) for stream in range(fleet.size)])
        values = {"tasks": fleet.tasks_, "n_tasks": fleet.n_tasks_, "responsibilities": chances}
        faults = {f"{name}/faults/{fault}": counts for fault, counts in fleet.faults_.items()}
        return {f"{name}/{key}": np.array(value) for key, value in values.items()} | faults

    found, half = {**now("loaded"), "loaded/predictions": fleet.predict(x[:, 0])}, x.shape[1] // 2
    losses = []
    for t in range(half):
        there = np.arange(fleet.size) % 3 != t % 3
        losses.append(fleet.learn(x[:, t], y[:, t], there=there))
    means, many = fleet.learn_many(x[:, half:], y[:, half:])
    return {**found, "losses": np.stack(losses), "many/means": means, "many/losses": many, **now("end")}


def _at_once(model: Any, name: str) -> Found:
    faults = sorted(model.faults_.items())
    values = {
        "seen": np.asarray(model.n_seen_),
        "task": np.asarray(model.task_),
        "n_tasks": np.asarray(model.n_tasks_),
        "tasks": np.asarray(model.tasks_),
        "responsibilities": np.asarray(model.responsibilities_),
        "faults": np.asarray([f"{fault}: {count}" for fault, count in faults], np.str_),
    }
    if name == "end":  # with what the file had of it
        values |= {f"history/{key}": np.asarray(value) for key, value in model.history_.items()}
    return {f"{name}/{key}": value for key, value in values.items()}


def table_of(path: Path) -> Found:
    """A CSV file by its columns: numbers as numbers, all else as text."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found: Found = {"rows": np.asarray(len(rows))}
    for name in rows[0]:
        values: list[Any] = [row[name] for row in rows]
        try:
            found[name] = np.asarray([float(value) if value else np.nan for value in values])
        except ValueError:
            found[name] = np.asarray(values)
    return found


STEPS: Mapping[str, Callable[..., Found]] = {
    "control": of_control_prior,
    "readout": of_readout_prior,
    "stream": of_stream_prior,
    "regressor": of_regressor,
    "classifier": of_classifier,
    "fleet": of_fleet,
}
"""What is done, by the first word of a file's name."""
