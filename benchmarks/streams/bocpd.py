"""Bayesian online change-point detection (Adams and MacKay 2007, arXiv 0710.3742) over Bayesian linear regressions.

Every run length r keeps the normal-inverse-gamma posterior of a linear regression on the last r pairs; the predictive
is a Student-t. Run lengths of little weight are dropped. With ``features`` the inputs are random Fourier features
(Rahimi and Recht 2007), so that the regression is a smooth function. Classes are regressed as 0/1 targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import gammaln, stdtr

from benchmarks.streams.protocol import Method, Problem, Standardiser, choice, log_uniform

_FROZEN = 100  # pairs after which the scales stay, since the posteriors hold sums in them
_TAIL = 0.05


class RunLengths:
    """The filter, on features [d] and targets [dy] of a scale near one.

    Args:
        d: features.
        dy: targets; they share run lengths and weights' covariance, each has its own noise.
        hazard: probability of a change, per pair.
        prior_scale: standard deviation of a weight, in units of the noise.
        noise: expected noise standard deviation (mode of a prior worth two pairs).
        keep: run lengths kept.
    """

    def __init__(
        self, d: int, dy: int, *, hazard: float, prior_scale: float, noise: float, keep: int
    ) -> None:
        self.hazard, self.keep = hazard, keep
        self.log_weight = np.zeros(1)
        self.length = np.zeros(1, int)
        self.mean = np.zeros((1, d, dy))
        self.covariance = np.eye(d)[None] * prior_scale**2
        self.shape = np.ones(1)
        self.rate = np.full((1, dy), 2 * noise**2)
        self._prior = (self.mean, self.covariance, self.shape, self.rate)

    def predictive(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean [runs, dy], scale [runs, dy] and degrees of freedom [runs] of each run's Student-t."""
        spread = 1 + np.einsum("i,rij,j->r", z, self.covariance, z)
        scale = np.sqrt(self.rate / self.shape[:, None] * spread[:, None])
        return np.einsum("i,rio->ro", z, self.mean), scale, 2 * self.shape

    def update(self, z: np.ndarray, y: np.ndarray) -> None:
        """Algorithm 1 of the paper: weigh by the predictive, grow or change, update every posterior."""
        mean, scale, freedom = self.predictive(z)
        log_p = _student_t(y, mean, scale, freedom[:, None]).sum(axis=1)
        joint = self.log_weight + log_p
        log_weight = np.concatenate(
            [[np.logaddexp.reduce(joint) + np.log(self.hazard)], joint + np.log1p(-self.hazard)]
        )
        gain = self.covariance @ z  # [runs, d]
        spread = 1 + gain @ z
        error = y - mean
        grown = (
            self.mean + np.einsum("ri,ro->rio", gain / spread[:, None], error),
            self.covariance - np.einsum("ri,rj->rij", gain, gain) / spread[:, None, None],
            self.shape + 0.5,
            self.rate + 0.5 * np.square(error) / spread[:, None],
        )
        best = np.sort(np.argsort(log_weight)[::-1][: self.keep])
        kept = [np.concatenate([new, old])[best] for new, old in zip(self._prior, grown, strict=True)]
        self.mean, self.covariance, self.shape, self.rate = kept
        self.length = np.concatenate([[0], self.length + 1])[best]
        self.log_weight = log_weight[best] - np.logaddexp.reduce(log_weight[best])


class ChangePoints:
    """`RunLengths` on standardised pairs."""

    def __init__(self, problem: Problem, settings: Mapping[str, Any], seed: int) -> None:
        count, rng = settings["features"], np.random.default_rng(seed)
        self.frequency = rng.normal(0, 1 / settings["width"], (count, problem.dx)) if count else None
        self.phase = rng.uniform(0, 2 * np.pi, count)
        self.runs = RunLengths(
            (count or problem.dx) + 1,
            problem.dy,
            hazard=settings["hazard"],
            prior_scale=settings["prior_scale"],
            noise=settings["noise"],
            keep=settings["keep"],
        )
        self.x, self.y = Standardiser(problem.dx, _FROZEN), Standardiser(problem.dy, _FROZEN)
        self.classifies = problem.classifies

    def _features(self, x: np.ndarray) -> np.ndarray:
        z = self.x.forward(x)
        if self.frequency is not None:
            z = np.sqrt(2 / len(self.phase)) * np.cos(self.frequency @ z + self.phase)
        return np.append(z, 1.0)

    def predict(self, x: np.ndarray) -> np.ndarray:
        mean, _, _ = self.runs.predictive(self._features(x))
        expected = np.exp(self.runs.log_weight) @ mean
        if not self.classifies:
            return self.y.back(expected)
        p = np.clip(expected, 0.01, None)
        return p / p.sum()

    def interval(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, scale, freedom = self.runs.predictive(self._features(x))
        weight = np.exp(self.runs.log_weight)
        low, high = (mixture_quantile(q, weight, mean, scale, freedom) for q in (_TAIL, 1 - _TAIL))
        return self.y.back(low), self.y.back(high)

    def learn(self, x: np.ndarray, y: Any) -> None:
        self.x.see(x)
        if self.classifies:
            target = np.eye(len(self.y.mean))[y]
        else:
            self.y.see(y)
            target = self.y.forward(y)
        self.runs.update(self._features(x), target)


def mixture_quantile(
    q: float, weight: np.ndarray, mean: np.ndarray, scale: np.ndarray, freedom: np.ndarray
) -> np.ndarray:
    """The q-quantile [dy] of a mixture of Student-t, by bisection between its components' extremes."""
    reach = 1e3 * scale
    low, high = (mean - reach).min(axis=0), (mean + reach).max(axis=0)
    for _ in range(60):
        middle = (low + high) / 2
        below = weight @ stdtr(freedom[:, None], (middle - mean) / scale) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _student_t(y: np.ndarray, mean: np.ndarray, scale: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(np.pi * freedom)
    return constant - np.log(scale) - (freedom + 1) / 2 * np.log1p(np.square((y - mean) / scale) / freedom)


METHODS = [
    Method(
        "change-points",
        ChangePoints,
        {"hazard": 0.02, "prior_scale": 3.0, "noise": 0.2, "features": 0, "width": 1.0, "keep": 60},
        lambda rng: {
            "hazard": log_uniform(rng, 1e-3, 0.05),
            "prior_scale": log_uniform(rng, 1, 30),
            "noise": log_uniform(rng, 0.03, 0.5),
            "features": choice(rng, 0, 0, 20, 40),
            "width": log_uniform(rng, 0.3, 3),
        },
    )
]
