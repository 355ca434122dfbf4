"""Both rules of the mixture for a linear model, slow and obvious: NumPy, float64, loops, nothing shared with mole.

`PaperMixture` is the EM iteration of Nagabandi, Finn, Levine (2019) with the restarts of the authors' program.
`PointwiseMixture` is our rule, after its description: the newest pair alone, a Student-t, a sticky prior, hard
assignment, and tasks that learn from the pairs they own.
"""

from __future__ import annotations

import math

import numpy as np


class LinearModel:
    """y = x W + b with a unit Gaussian, whose loss is the mean squared error over dimensions."""

    def __init__(self, W, b):
        self.W, self.b = np.array(W, np.float64), np.array(b, np.float64)

    def __call__(self, x):
        return x @ self.W + self.b

    def loss(self, pairs):
        return float(np.mean([np.mean((self(x) - y) ** 2) for x, y in pairs]))

    def step(self, pairs, rate):
        """One gradient step on the mean loss of the pairs."""
        dW, db = np.zeros_like(self.W), np.zeros_like(self.b)
        for x, y in pairs:
            slope = 2.0 * (self(x) - y) / (len(y) * len(pairs))
            dW += np.outer(x, slope)
            db += slope
        return LinearModel(self.W - rate * dW, self.b - rate * db)


def normalised(log_weights):
    weights = np.exp(np.array(log_weights) - max(log_weights))
    return weights / weights.sum()


def log(value):
    return math.log(value) if value > 0 else -math.inf


def log_normalised(log_weights):
    """Logarithms of `normalised`, also of those that are zero in float64: e^-745 is, and one bad pair gives e^-800."""
    most = max(log_weights)
    return np.array(log_weights) - most - math.log(sum(math.exp(w - most) for w in log_weights))


class PaperMixture:
    """One EM iteration per pair, once 2k pairs have been seen."""

    def __init__(self, theta, rate, *, k, scored, tau, alpha, restart, capacity, scale):
        self.theta, self.rate, self.k, self.scored = theta, rate, k, scored
        self.tau, self.alpha, self.restart, self.capacity, self.scale = tau, alpha, restart, capacity, scale
        self.tasks, self.P = [theta], np.array([1.0])
        self.log_n, self.m = [-math.inf], 0
        self.pairs = []
        self.spawned = self.refused = False

    @property
    def best(self):
        return int(np.argmax(self.P))

    def observe(self, x, y):
        self.spawned = self.refused = False
        self.pairs.append((x, y))
        if len(self.pairs) < 2 * self.k:
            return
        old, new = self.pairs[-2 * self.k : -self.k], self.pairs[-self.k :]
        scored = self.pairs[-self.scored :]

        if self.restart is not None and self.m >= self.restart:
            self.log_n, self.m = [-math.inf] * len(self.tasks), 0
        if self.m == 0:
            log_prior, log_prior_new = [0.0] * len(self.tasks), 0.0 if self.alpha > 0 else -math.inf
        else:
            total = math.log(self.m + self.alpha)
            log_prior, log_prior_new = [n - total for n in self.log_n], log(self.alpha) - total

        joint = [-t.loss(scored) / self.tau + p for t, p in zip(self.tasks, log_prior, strict=True)]
        candidate = self.theta.step(old, self.rate)
        joint_new = -candidate.loss(scored) / self.tau + log_prior_new
        wins = joint_new > max(joint)
        self.refused = wins and len(self.tasks) == self.capacity
        self.spawned = wins and not self.refused
        if self.spawned:
            self.tasks = [*self.tasks, candidate]
            self.log_n = [*self.log_n, -math.inf]
            joint = [*joint, joint_new]
        self.P = normalised(joint)
        self.tasks = [
            t.step(new, self.scale * self.rate * p) for t, p in zip(self.tasks, self.P, strict=True)
        ]
        self.log_n = list(np.logaddexp(self.log_n, log_normalised(joint)))
        self.m += 1


class PointwiseMixture:
    """Our rule."""

    def __init__(self, theta, rate, *, k, residual, stay, founding, margin, capacity, scale, evict):
        self.theta, self.rate, self.k, self.residual, self.stay = theta, rate, k, residual, stay
        self.founding, self.margin, self.capacity = founding, margin, capacity
        self.scale, self.evict = scale, evict
        self.tasks, self.owned, self.last_used = [theta], [[]], [0]
        self.pairs, self.best, self.time = [], 0, 0
        self.spawned = self.refused = False

    @property
    def P(self):
        return np.eye(len(self.tasks))[self.best]

    def log_density(self, model, pair):
        """Student-t with ν = 4: Γ((ν+1)/2) / (Γ(ν/2) √(νπ) σ) · (1 + (r/σ)²/ν)^(−(ν+1)/2), over all dimensions."""
        x, y = pair
        total = 0.0
        for r, sigma in zip(y - model(x), self.residual, strict=True):
            total += math.lgamma(2.5) - math.lgamma(2.0) - 0.5 * math.log(4 * math.pi) - math.log(sigma)
            total -= 2.5 * math.log(1 + (r / sigma) ** 2 / 4)
        return total

    def observe(self, x, y):
        self.time += 1
        self.pairs.append((x, y))
        count = len(self.tasks)
        leave = log((1 - self.stay) / count)  # to each of the count − 1 others, and to a new task
        prior = [log(self.stay) if i == self.best else leave for i in range(count)]
        full = count == self.capacity
        self.spawned = self.refused = False

        slot = int(
            np.argmax([self.log_density(t, (x, y)) + p for t, p in zip(self.tasks, prior, strict=True)])
        )
        if len(self.pairs) >= self.founding:
            recent = self.pairs[-self.founding :]  # the newest has age 1
            even, odd = recent[0::2], recent[1::2]
            candidate = self.theta.step(even, self.rate)
            judged = [
                sum(self.log_density(t, pair) for pair in odd) + p
                for t, p in zip(self.tasks, prior, strict=True)
            ]
            judged_new = sum(self.log_density(candidate, pair) for pair in odd) + leave
            wins = judged_new > max(judged) + self.margin
            self.refused = wins and full
            self.spawned = wins and (not full or (self.evict and self.capacity > 1))
        if self.spawned:
            explained = [
                pair
                for pair in recent
                if self.log_density(candidate, pair) > max(self.log_density(t, pair) for t in self.tasks)
            ]
            if full:
                others = [i for i in range(count) if i != self.best]
                slot = min(others, key=lambda i: self.last_used[i])
            else:
                slot = count
                self.tasks, self.owned = [*self.tasks, self.theta], [*self.owned, []]
                self.last_used = [*self.last_used, 0]
            self.owned[slot] = explained
        else:
            self.owned[slot] = [*self.owned[slot], (x, y)]

        own = self.owned[slot][-2 * self.k :]
        if len(own) >= self.k:
            self.tasks[slot] = self.tasks[slot].step(own, self.scale * self.rate)
        elif own:
            self.tasks[slot] = self.theta.step(own, self.rate)
        else:
            self.tasks[slot] = self.theta
        self.best, self.last_used[slot] = slot, self.time
