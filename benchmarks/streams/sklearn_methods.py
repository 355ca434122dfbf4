"""Scikit-learn's ``partial_fit``, one pair at a time, on inputs and targets standardised as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.streams.protocol import Method, Problem, Standardiser, choice, log_uniform


class Sklearn:
    """One model per target (``SGDRegressor`` predicts one), or one for all; one classifier."""

    def __init__(self, problem: Problem, models: list[Any], steps: int) -> None:
        self.models, self.steps, self.n_classes = models, steps, problem.n_classes
        self.x, self.y = Standardiser(problem.dx), Standardiser(problem.dy)

    def predict(self, x: np.ndarray) -> np.ndarray:
        if not self.x.n:
            return (
                np.zeros(self.y.mean.size)
                if self.n_classes is None
                else np.full(self.n_classes, 1 / self.n_classes)
            )
        row = self.x.forward(x)[None]
        if self.n_classes is not None:
            return self.models[0].predict_proba(row)[0]
        return self.y.back(np.concatenate([model.predict(row).ravel() for model in self.models]))

    def learn(self, x: np.ndarray, y: Any) -> None:
        self.x.see(x)
        row = self.x.forward(x)[None]
        if self.n_classes is not None:
            for _ in range(self.steps):
                self.models[0].partial_fit(row, [y], classes=range(self.n_classes))
            return
        self.y.see(y)
        target = self.y.forward(y)
        # a single network takes all targets in one row, one model for each takes its own
        parts = np.split(target, len(self.models))
        for _ in range(self.steps):
            for model, part in zip(self.models, parts, strict=True):
                model.partial_fit(row, part if len(part) == 1 else part[None])


def _sgd(problem: Problem, s: Mapping[str, Any], seed: int) -> Sklearn:
    common = {"alpha": s["alpha"], "learning_rate": "constant", "eta0": s["rate"], "random_state": seed}
    if problem.classifies:
        return Sklearn(problem, [SGDClassifier(loss="log_loss", **common)], s["steps"])
    models = [SGDRegressor(loss=s["loss"], **common) for _ in range(problem.dy)]
    return Sklearn(problem, models, s["steps"])


def _mlp(problem: Problem, s: Mapping[str, Any], seed: int) -> Sklearn:
    cls = MLPClassifier if problem.classifies else MLPRegressor
    model = cls(
        hidden_layer_sizes=(32, 32),
        solver=s["solver"],
        learning_rate_init=s["rate"],
        alpha=s["alpha"],
        random_state=seed,
    )
    return Sklearn(problem, [model], s["steps"])


METHODS = [
    Method(
        "sklearn-sgd",
        _sgd,
        {"rate": 0.01, "alpha": 1e-4, "loss": "squared_error", "steps": 1},
        lambda rng: {
            "rate": log_uniform(rng, 1e-3, 0.1),
            "alpha": choice(rng, 0.0, 1e-4, 1e-2),
            "loss": choice(rng, "squared_error", "huber"),
            "steps": choice(rng, 1, 2, 4),
        },
    ),
    Method(
        "sklearn-mlp",
        _mlp,
        {"solver": "adam", "rate": 1e-3, "alpha": 1e-4, "steps": 1},
        lambda rng: {
            "solver": choice(rng, "adam", "sgd"),
            "rate": log_uniform(rng, 1e-3, 0.05),
            "alpha": choice(rng, 0.0, 1e-4, 1e-2),
            "steps": choice(rng, 1, 2, 4),
        },
    ),
]
