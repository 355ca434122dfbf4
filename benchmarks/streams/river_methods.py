"""River's methods behind its usual ``StandardScaler``. It predicts one target: several get a copy each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from river import forest, linear_model, neighbors, optim, preprocessing, tree

from benchmarks.streams.protocol import Method, Problem, choice, log_uniform

Make = Callable[[Mapping[str, Any], int], Any]


class River:
    """One model per target, or one classifier."""

    def __init__(self, problem: Problem, make: Callable[[], Any]) -> None:
        copies = 1 if problem.classifies else problem.dy
        self.models = [preprocessing.StandardScaler() | make() for _ in range(copies)]
        self.n_classes = problem.n_classes

    def predict(self, x: np.ndarray) -> np.ndarray:
        row = dict(enumerate(x.tolist()))
        if self.n_classes is None:
            return np.array([model.predict_one(row) for model in self.models])
        said = self.models[0].predict_proba_one(row)
        p = np.array([said.get(label, 0.0) for label in range(self.n_classes)])
        return p / p.sum() if p.sum() > 0 else np.full(self.n_classes, 1 / self.n_classes)

    def learn(self, x: np.ndarray, y: Any) -> None:
        row = dict(enumerate(x.tolist()))
        if self.n_classes is not None:
            self.models[0].learn_one(row, y)
            return
        for model, one in zip(self.models, y.tolist(), strict=True):
            model.learn_one(row, one)


def _method(name: str, regressor: Make, classifier: Make, usual: dict[str, Any], draw: Any) -> Method:
    def make(problem: Problem, settings: Mapping[str, Any], seed: int) -> River:
        return River(problem, lambda: (classifier if problem.classifies else regressor)(settings, seed))

    return Method(name, make, usual, draw)


def _forest(cls: Any) -> Make:
    return lambda s, seed: cls(
        n_models=s["models"],
        lambda_value=s["lambda"],
        grace_period=s["grace"],
        max_features=s["features"],
        delta=s["delta"],
        seed=seed,
    )


def _tree(cls: Any) -> Make:
    return lambda s, seed: cls(
        grace_period=s["grace"],
        delta=s["delta"],
        leaf_prediction=s["leaf"] if "Regressor" in cls.__name__ else {"mean": "mc"}.get(s["leaf"], "nba"),
        drift_window_threshold=s["drift_window"],
        seed=seed,
    )


def _knn(cls: Any) -> Make:
    return lambda s, _seed: cls(
        n_neighbors=s["neighbours"], engine=neighbors.LazySearch(window_size=s["window"])
    )


def _optimiser(s: Mapping[str, Any]) -> Any:
    return {"sgd": optim.SGD, "adam": optim.Adam}[s["optimiser"]](s["rate"])


METHODS = [
    _method(
        "river-forest",
        _forest(forest.ARFRegressor),
        _forest(forest.ARFClassifier),
        {"models": 10, "lambda": 6, "grace": 50, "features": "sqrt", "delta": 0.01},
        lambda rng: {
            "models": choice(rng, 5, 10, 20),
            "lambda": choice(rng, 1, 3, 6, 10),
            "grace": choice(rng, 10, 25, 50, 100),
            "features": choice(rng, "sqrt", None),
            "delta": choice(rng, 0.001, 0.01, 0.1),
        },
    ),
    _method(
        "river-tree",
        _tree(tree.HoeffdingAdaptiveTreeRegressor),
        _tree(tree.HoeffdingAdaptiveTreeClassifier),
        {"grace": 200, "delta": 1e-7, "leaf": "adaptive", "drift_window": 300},
        lambda rng: {
            "grace": choice(rng, 10, 25, 50, 100, 200),
            "delta": choice(rng, 1e-7, 1e-4, 0.01, 0.1),
            "leaf": choice(rng, "adaptive", "model", "mean"),
            "drift_window": choice(rng, 30, 100, 300),
        },
    ),
    _method(
        "river-knn",
        _knn(neighbors.KNNRegressor),
        _knn(neighbors.KNNClassifier),
        {"neighbours": 5, "window": 200},
        lambda rng: {
            "neighbours": choice(rng, 1, 2, 3, 5, 10),
            "window": choice(rng, 20, 50, 100, 200, 500),
        },
    ),
    _method(
        "river-linear",
        lambda s, _seed: linear_model.LinearRegression(_optimiser(s), l2=s["l2"], intercept_lr=s["rate"]),
        lambda s, _seed: linear_model.SoftmaxRegression(_optimiser(s), l2=s["l2"]),
        {"optimiser": "sgd", "rate": 0.01, "l2": 0.0},
        lambda rng: {
            "optimiser": choice(rng, "sgd", "adam"),
            "rate": log_uniform(rng, 1e-3, 0.2),
            "l2": choice(rng, 0.0, 1e-3),
        },
    ),
]
