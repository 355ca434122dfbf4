"""Small learners with the face of the estimators: least mean squares per task, saved as JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mole.estimators.step import Step, shares_of
from mole.online import Fault
from mole.rows.encoding import RowEncoder

__all__ = ["FakeClassifier", "FakeRegressor"]


class _Fake:
    """What both share: the encoding of rows, two tasks, and the file."""

    def __init__(self, prior: Any = None, *, level: float = 0.9, seed: int = 0, **_: Any) -> None:
        self.state: dict[str, Any] = {
            "prior": prior is not None, "level": level, "seed": seed, "task": 0, "learned": 0,
            "weights": [{}, {}], "errors": [1.0, 1.0], "counts": {}, "classes": [],
        }  # fmt: skip
        self.encoder = RowEncoder()

    @property
    def task_(self) -> int:
        return self.state["task"]

    @property
    def n_tasks_(self) -> int:
        return 2

    @property
    def tasks_(self) -> np.ndarray:
        return np.arange(2)

    @property
    def n_events_(self) -> int:
        return 0

    @property
    def events_(self) -> list[dict[str, Any]]:
        return []

    @property
    def responsibilities_(self) -> np.ndarray:
        errors = np.asarray(self.state["errors"])
        weights = np.exp(errors.min() - errors)
        return weights / weights.sum()

    def step_one(self, x: Any, y: Any = None) -> Step:
        predicted = self._predicted(x)
        if y is not None:
            self.learn_one(x, y)
        shares = self.responsibilities_.tolist()
        prediction, low, high, probabilities = predicted
        return Step(
            prediction, low, high, probabilities, math.nan, self.task_, shares[self.task_], 2, False, Fault(0),
            shares_of(shares, self.tasks_.tolist(), self.task_),
        )  # fmt: skip

    def _predicted(self, x: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    def learn_one(self, x: Any, y: Any) -> Any:
        raise NotImplementedError

    @property
    def schema_(self) -> Any:
        return self.encoder.schema()

    def importance_(self, task: int) -> np.ndarray:
        if task > 1:
            raise KeyError(task)
        return np.array([[abs(hash_free(name)) * (task + 1) for name in self.schema_.names]])

    def regime_(self, task: int, before: int | None = None) -> dict[str, Any]:
        return {"task": task, "before": before, "outputs": [], "columns": []}

    def save(self, path: Any) -> None:
        Path(path).write_text(json.dumps([self.state, self.encoder.to_json()]))

    @classmethod
    def load(cls, path: Any) -> Any:
        made = cls()
        made.state, encoder = json.loads(Path(path).read_text())
        made.encoder = RowEncoder.from_json(encoder)
        return made


def hash_free(name: str) -> float:
    """A number for a name, the same in every process."""
    return sum(map(ord, name)) % 17 / 17


class FakeRegressor(_Fake):
    def _features(self, x: Any) -> dict[str, float]:
        return {name: float(v) for name, v in x.items() if isinstance(v, int | float)} | {"": 1.0}

    def _of(self, task: int, x: Any) -> float:
        weights = self.state["weights"][task]
        return sum(weights.get(name, 0.1 * task) * value for name, value in self._features(x).items())

    def predict_one(self, x: Any) -> float:
        return self._of(self.task_, x)

    def predict_interval_one(self, x: Any, level: float | None = None) -> tuple[float, float]:
        if not self.state["learned"]:
            return -math.inf, math.inf
        half = 2 * math.sqrt(self.state["errors"][self.task_])
        return self.predict_one(x) - half, self.predict_one(x) + half

    def _predicted(self, x: Any) -> tuple[Any, ...]:
        return (self.predict_one(x), *self.predict_interval_one(x), None)

    def learn_one(self, x: Any, y: float) -> FakeRegressor:
        self.encoder.observe(x)
        for task in (0, 1):
            error = y - self._of(task, x)
            self.state["errors"][task] = 0.8 * self.state["errors"][task] + 0.2 * error**2
        self.state["task"] = task = int(np.argmin(self.state["errors"]))
        features = self._features(x)
        size = sum(value**2 for value in features.values())
        step = 0.3 * (y - self._of(task, x)) / size
        weights = self.state["weights"][task]
        for name, value in features.items():
            weights[name] = weights.get(name, 0.1 * task) + step * value
        self.state["learned"] += 1
        return self


class FakeClassifier(_Fake):
    def predict_proba_one(self, x: Any) -> dict[Any, float]:
        counts = {label: self.state["counts"][str(label)] for label in self.state["classes"]}
        return {label: count / sum(counts.values()) for label, count in counts.items()}

    def predict_one(self, x: Any) -> Any:
        proba = self.predict_proba_one(x)
        return max(proba, key=lambda label: proba[label])

    def _predicted(self, x: Any) -> tuple[Any, ...]:
        proba = self.predict_proba_one(x)
        return self.predict_one(x) if proba else None, None, None, proba

    def learn_one(self, x: Any, y: Any) -> FakeClassifier:
        self.encoder.observe(x)
        if y not in self.state["classes"]:
            self.state["classes"].append(y)
        self.state["counts"][str(y)] = self.state["counts"].get(str(y), 0) + 1
        self.state["learned"] += 1
        return self


if __name__ == "__main__":  # python stream_fakes.py SECONDS stream …: the command, slowed down, to be killed
    from mole import cli, estimators

    class Slow(FakeRegressor):
        def learn_one(self, x: Any, y: float) -> FakeRegressor:
            time.sleep(float(sys.argv[1]))
            return super().learn_one(x, y)

    estimators.OnlineRegressor = Slow  # pyright: ignore
    sys.exit(cli.main(sys.argv[2:]))
