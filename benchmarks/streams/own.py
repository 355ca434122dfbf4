"""Our learners: `KShot`, `Continuous`, the oracle, and the estimators as a user calls them.

A prior is meta-trained either on the first `WARM_UP` pairs of the stream (until then the mean of the targets is the
prediction), or, where the name ends in ``-family``, on other tasks of the stream's family before it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import mole
from benchmarks.streams.protocol import Method, Problem, choice, log_uniform
from mole.datasets import sinusoid_tasks
from mole.readout.belief import Belief, absorb, forecast

WARM_UP = 200
FAMILIES: dict[str, Callable[[int, int, int], list[mole.Trajectory]]] = {
    "sinusoid-fresh": sinusoid_tasks,
    "sinusoid-returning": sinusoid_tasks,
}
_WIDTH = 32
_Make = Callable[[mole.MetaPrior, Problem, Mapping[str, Any]], mole.OnlineLearner]


def family_prior(problem: Problem, window: int, iterations: int = 10_000) -> mole.MetaPrior:
    """The prior of the stream's family; made once and kept in ``problem.cache``. Its tasks are in no stream."""
    make = FAMILIES[problem.stream]
    path = problem.cache / f"{make.__name__}-window-{window}-iterations-{iterations}.mole"
    if not path.exists():
        tasks = make(2000, max(32, 4 * window), 0)
        prior = _trained(
            problem, tasks, mole.MetaConfig(window=window, iterations=iterations, evaluate_every=1000), 0
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        mole.save_prior(path, prior, {"tasks": make.__name__, "iterations": iterations})
    return mole.load_prior(path)


def _trained(
    problem: Problem, data: list[mole.Trajectory], config: mole.MetaConfig, seed: int
) -> mole.MetaPrior:
    likelihood = mole.Categorical() if problem.classifies else mole.Gaussian()
    key = jax.random.key(seed)
    network = mole.MLP(problem.dx, likelihood.output_size(problem.dy), width=_WIDTH, key=key)
    return mole.meta_train(
        network, data, config=config, key=jax.random.fold_in(key, 1), likelihood=likelihood
    )


class Learning:
    """An `OnlineLearner` of mole with its prior, given or made of the first pairs."""

    def __init__(
        self, problem: Problem, make: _Make, settings: Mapping[str, Any], seed: int, *, family: bool
    ) -> None:
        self.problem, self.make, self.settings, self.seed = problem, make, settings, seed
        self.first: list[tuple[np.ndarray, np.ndarray]] = []
        self.learner: mole.OnlineLearner | None = None
        if family:
            self._start(family_prior(problem, settings["window"]))

    def _start(self, prior: mole.MetaPrior) -> None:
        self.learner = self.make(prior, self.problem, self.settings)
        self.state = self.learner.init()

    def predict(self, x: np.ndarray) -> np.ndarray:
        if self.learner is not None:
            return np.asarray(_predict(self.learner, self.state, x)[0])
        if self.problem.classifies:
            counts = 1.0 + np.sum([y for _, y in self.first], axis=0) * np.ones(self.problem.dy)
            return counts / counts.sum()
        return np.mean([y for _, y in self.first], axis=0) if self.first else np.zeros(self.problem.dy)

    def interval(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The learner's predictive scale as a normal distribution; nothing is known in the warm-up."""
        if self.learner is None:
            return np.full(self.problem.dy, np.nan), np.full(self.problem.dy, np.nan)
        mean, scale = (np.asarray(part) for part in _predict(self.learner, self.state, x))
        return mean - 1.6449 * scale, mean + 1.6449 * scale

    def learn(self, x: np.ndarray, y: Any) -> None:
        target = np.eye(self.problem.dy, dtype=np.float32)[y] if self.problem.classifies else y
        if self.learner is not None:
            self.state = _update(self.learner, self.state, x, target)
            return
        self.first.append((x, target))
        if len(self.first) == WARM_UP:
            data = mole.Trajectory(*(np.stack(part) for part in zip(*self.first, strict=True)))
            config = mole.MetaConfig(
                window=self.settings["window"], iterations=1500, evaluate_every=500, held_out=0.2
            )
            self._start(_trained(self.problem, [data], config, self.seed))
            for pair in self.first:
                self.state = _update(self.learner, self.state, *pair)


class Told(Learning):
    """The oracle: it hears the true task before it predicts."""

    def tell(self, task: int) -> None:
        assert isinstance(self.learner, mole.Oracle)
        self.state = self.learner.tell(self.state, task)


class Estimator:
    """`OnlineRegressor` or `OnlineClassifier`, through the methods that a user calls."""

    def __init__(self, problem: Problem, prior: mole.StreamPrior | None, seed: int) -> None:
        self.problem = problem
        name = "OnlineClassifier" if problem.classifies else "OnlineRegressor"
        self.model: Any = getattr(mole, name)(prior, seed=seed)
        if hasattr(self.model, "predict_interval_one") and not problem.classifies:
            self.interval = self._interval  # only where there is one

    @property
    def n_tasks(self) -> int:
        return int(self.model.n_tasks_)

    def predict(self, x: np.ndarray) -> np.ndarray:
        if not self.problem.classifies:
            said = np.atleast_1d(np.asarray(self.model.predict_one(x), float))
            return np.broadcast_to(said, (self.problem.dy,))  # before the first pair it knows no sizes
        said = self.model.predict_proba_one(x)
        p = np.array([said.get(label, 0.0) for label in range(self.problem.dy)], float)
        return p / p.sum() if p.sum() > 0 else np.full(self.problem.dy, 1 / self.problem.dy)

    def _interval(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = (np.atleast_1d(np.asarray(end, float)) for end in self.model.predict_interval_one(x, 0.9))
        return np.broadcast_to(low, (self.problem.dy,)), np.broadcast_to(high, (self.problem.dy,))

    def learn(self, x: np.ndarray, y: Any) -> None:
        self.model.learn_one(x, y)


@eqx.filter_jit
def _predict(learner: mole.OnlineLearner, state: Any, x: Any) -> mole.Prediction:
    return learner.predict(state, jnp.asarray(x, jnp.float32))


@eqx.filter_jit
def _update(learner: mole.OnlineLearner, state: Any, x: Any, y: Any) -> Any:
    return learner.update(state, jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))[0]


def _in_family(stream: str) -> bool:
    return stream in FAMILIES


def _pair(name: str, make: _Make, usual: dict[str, Any], draw: Any) -> list[Method]:
    """The method with a prior of the warm-up, and with one of the family."""

    def built(family: bool) -> Callable[..., Learning]:
        return lambda problem, settings, seed: Learning(problem, make, settings, seed, family=family)

    return [
        Method(name, built(False), usual, draw),
        Method(f"{name}-family", built(True), usual, draw, _in_family),
    ]


def stream_prior(problem: Problem) -> mole.StreamPrior:
    """The estimators' prior of the stream's family, from the tasks that the other priors of the family have."""
    make = FAMILIES[problem.stream]
    path = problem.cache / f"{make.__name__}-stream-prior.mole"
    if not path.exists():
        prior = mole.fit_prior(make(2000, 40, 0))
        path.parent.mkdir(parents=True, exist_ok=True)
        mole.save_prior(path, prior, {"tasks": make.__name__})
    return mole.load_prior(path)


class ToldReadout:
    """The estimators' oracle: one readout per true task, told before it predicts."""

    def __init__(self, problem: Problem, settings: Mapping[str, Any], seed: int) -> None:
        self.problem = problem
        self.prior = stream_prior(problem).prior
        self.first = jax.tree.map(lambda a: a[1], self.prior.beliefs)
        self.beliefs: dict[int, Belief] = {}
        self.task = 0

    def tell(self, task: int) -> None:
        self.task = task

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(_expect(self.prior, self.beliefs.get(self.task, self.first), x))

    def learn(self, x: np.ndarray, y: Any) -> None:
        belief = self.beliefs.get(self.task, self.first)
        self.beliefs[self.task] = _absorb(self.prior, belief, x, y)


@eqx.filter_jit
def _expect(prior: mole.ReadoutPrior, belief: Belief, x: Any) -> jax.Array:
    return prior.y_norm.inverse(forecast(belief, prior.features_of(jnp.asarray(x, jnp.float32))).mean)


@eqx.filter_jit
def _absorb(prior: mole.ReadoutPrior, belief: Belief, x: Any, y: Any) -> Belief:
    z, target = prior.features_of(jnp.asarray(x, jnp.float32)), prior.y_norm(jnp.asarray(y, jnp.float32))
    return absorb(belief, forecast(belief, z), target, jnp.ones(()))


def _estimator(problem: Problem, settings: Mapping[str, Any], seed: int) -> Estimator:
    return Estimator(problem, None, seed)


def _family_estimator(problem: Problem, settings: Mapping[str, Any], seed: int) -> Estimator:
    return Estimator(problem, stream_prior(problem), seed)


def _kshot(prior: mole.MetaPrior, problem: Problem, s: Mapping[str, Any]) -> mole.KShot:
    return mole.KShot(prior, window=s["adapt_on"] * s["window"], steps=s["steps"], step_scale=s["step_scale"])


def _continuous(prior: mole.MetaPrior, problem: Problem, s: Mapping[str, Any]) -> mole.Continuous:
    return mole.Continuous(prior, step_scale=s["step_scale"])


def _oracle(problem: Problem, s: Mapping[str, Any], seed: int) -> Told:
    def make(prior: mole.MetaPrior, problem: Problem, s: Mapping[str, Any]) -> mole.Oracle:
        return mole.Oracle(prior, problem.n_tasks, step_scale=s["step_scale"])

    return Told(problem, make, s, seed, family=True)


METHODS = [
    *_pair(
        "kshot",
        _kshot,
        {"window": 8, "adapt_on": 1, "steps": 1, "step_scale": 1.0},
        lambda rng: {
            "window": choice(rng, 4, 8, 16),
            "adapt_on": choice(rng, 1, 2),
            "steps": choice(rng, 1, 2, 5),
            "step_scale": log_uniform(rng, 0.1, 1.0),
        },
    ),
    *_pair(
        "continuous",
        _continuous,
        {"window": 8, "step_scale": 0.1},
        lambda rng: {"window": choice(rng, 4, 8, 16), "step_scale": log_uniform(rng, 0.02, 1.0)},
    ),
    Method(
        "oracle-family",
        _oracle,
        {"window": 8, "step_scale": 0.1},
        lambda rng: {"window": choice(rng, 4, 8, 16), "step_scale": log_uniform(rng, 0.02, 1.0)},
        _in_family,
    ),
    Method("mole", _estimator, {}, lambda rng: {}),
    Method("mole-family", _family_estimator, {}, lambda rng: {}, _in_family),
    Method("told-family", ToldReadout, {}, lambda rng: {}, _in_family),
]
