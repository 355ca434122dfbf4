"""The filter over linear readouts, slow and obvious: NumPy, float64, loops, nothing shared with mole.

`posterior` and `log_evidence` are textbook Bayesian linear regression on whole data sets. `Filter` is one step of the
mixture after its description: prior, E-step, a candidate at every step, M-step, founding and evicting.
"""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
from scipy.stats import multivariate_t, t

LEADS = 0.75
HUBER = 10.0


@dataclasses.dataclass
class Belief:
    """Normal-inverse-gamma: mean [d, dy], cov [d, d] in units of the noise, shape, rate [dy]."""

    mean: np.ndarray
    cov: np.ndarray
    shape: float
    rate: np.ndarray


def posterior(prior, z, y):
    """All pairs at once, by precisions (Bishop 2006, equations 3.50, 3.51 and exercise 3.12)."""
    precision = np.linalg.inv(prior.cov)
    cov = np.linalg.inv(precision + z.T @ z)
    mean = cov @ (precision @ prior.mean + z.T @ y)
    before = np.einsum("dy,de,ey->y", prior.mean, precision, prior.mean)
    after = np.einsum("dy,de,ey->y", mean, np.linalg.inv(cov), mean)
    rate = prior.rate + 0.5 * (np.sum(y**2, axis=0) + before - after)
    return Belief(mean, cov, prior.shape + 0.5 * len(z), rate)


def log_evidence(prior, z, y):
    """All targets at once: a multivariate Student-t for every output."""
    spread = np.eye(len(z)) + z @ prior.cov @ z.T
    return sum(
        multivariate_t.logpdf(
            y[:, j], z @ prior.mean[:, j], prior.rate[j] / prior.shape * spread, df=2 * prior.shape
        )
        for j in range(y.shape[1])
    )


def location_scale(belief, z):
    """Of the predictive Student-t of every output at one input; it has 2 shape degrees of freedom."""
    return z @ belief.mean, np.sqrt(belief.rate / belief.shape * (1.0 + z @ belief.cov @ z))


def student(belief, z):
    """The predictive distribution of every output at one input."""
    loc, scale = location_scale(belief, z)
    return t(df=2 * belief.shape, loc=loc, scale=scale)


def log_density(belief, z, y, most_freedom):
    """Of the predictive distribution, with heavier tails if it is to be robust (scipy is too slow for the filter)."""
    loc, scale = location_scale(belief, z)
    v = min(2 * belief.shape, most_freedom)
    constant = math.lgamma((v + 1) / 2) - math.lgamma(v / 2) - np.log(np.sqrt(v * np.pi) * scale)
    return constant - (v + 1) / 2 * np.log(1 + ((y - loc) / scale) ** 2 / v)


def absorb(belief, z, y, weight):
    """The posterior of one pair that is seen as clearly as its weight says; wild targets weigh less."""
    loc, scale = location_scale(belief, z)
    residual = y - loc
    surprise = math.sqrt(np.mean((residual / scale) ** 2))
    weight = weight * min(1.0, HUBER / max(surprise, 1e-6))
    direction = belief.cov @ z
    gain = weight / (1.0 + weight * (z @ direction))
    seen = np.clip(residual, -HUBER * scale, HUBER * scale) ** 2
    return Belief(
        belief.mean + gain * np.outer(direction, residual),
        belief.cov - gain * np.outer(direction, direction),
        belief.shape + 0.5 * weight,
        belief.rate + 0.5 * gain * seen,
    )


def drifted(belief, prior, q):
    """The share q of the variance is drawn anew from the prior."""
    return Belief(
        prior.mean + math.sqrt(1 - q) * (belief.mean - prior.mean),
        (1 - q) * belief.cov + q * prior.cov,
        (1 - q) * belief.shape + q * prior.shape,
        (1 - q) * belief.rate + q * prior.rate,
    )


@dataclasses.dataclass
class Slot:
    """A task (number from 0 on) or a candidate (−1), kept at several rates of drift."""

    beliefs: list
    scores: np.ndarray
    kind: int
    probability: float
    begun: int
    led: float = 0.0
    number: int = -1
    last_led: int = 0


class Filter:
    """The mixture over priors (one per kind), on features z and normalised targets y."""

    def __init__(
        self, priors, *, max_tasks, candidates, alpha, switch_every, most_switches, drift, memory, tail, found_after,
        outputs,
    ):  # fmt: skip
        self.priors, self.max_tasks, self.alpha, self.drift = priors, max_tasks, alpha, drift
        self.most_switches, self.tail = most_switches, tail
        self.discount, self.found_after, self.outputs = (
            1 - 1 / memory,
            found_after,
            np.asarray(outputs, float),
        )
        self.slots = [None] * (max_tasks + candidates)
        self.slots[0] = self.born(0, 1.0)
        self.switches, self.steps, self.step = 1.0, switch_every, 0
        self.kind_counts = np.ones(len(priors))
        self.next_task, self.lead, self.spawned, self.evicted, self.loss = 0, 0, False, False, math.nan

    def born(self, kind, probability):
        beliefs = [copy.deepcopy(self.priors[kind]) for _ in self.drift]
        even = np.full(len(self.drift), -math.log(len(self.drift)))
        return Slot(beliefs, even, kind, probability, begun=0)

    @property
    def task(self):
        number = self.slots[self.lead].number
        return self.next_task if number < 0 else number

    def hazard(self):
        return min(self.switches / self.steps, self.most_switches)

    def prior(self):
        """For every slot P(it is next) and P(switched to it), and P(a new task of each kind)."""
        counts = [s.led if s is not None and s.number >= 0 else 0.0 for s in self.slots]
        total, h = sum(counts) + self.alpha, self.hazard()
        moved = [h * count / total for count in counts]
        stays = [0.0 if s is None else (1 - h) * s.probability for s in self.slots]
        new = h * self.alpha / total * self.kind_counts / self.kind_counts.sum()
        return [a + b for a, b in zip(stays, moved, strict=True)], moved, new

    def predict(self, z):
        """Mean and variance [dy]: the law of total variance over slots and rates of drift."""
        p = self.prior()[0]
        parts = []
        for slot, weight in zip(self.slots, p, strict=True):
            if slot is None:
                continue
            shares = np.exp(slot.scores) / np.exp(slot.scores).sum()
            for share, belief in zip(shares, slot.beliefs, strict=True):
                loc, scale = location_scale(belief, z)
                variance = scale**2 * belief.shape / (belief.shape - 1)
                parts.append((weight / sum(p) * share, loc, variance))
        mean = sum(w * loc for w, loc, _ in parts)
        return mean, sum(w * (variance + (loc - mean) ** 2) for w, loc, variance in parts)

    def density(self, slot, z, y):
        return np.array([self.outputs @ log_density(belief, z, y, self.tail) for belief in slot.beliefs])

    def learn(self, slot, z, y, weight, fit):
        """M-step of one slot, and the comparison of its rates of drift."""
        back = self.priors[slot.kind]
        slot.beliefs = [
            drifted(absorb(belief, z, y, weight), back, q * weight)
            for belief, q in zip(slot.beliefs, self.drift, strict=True)
        ]
        scores = self.discount**weight * slot.scores + weight * fit
        slot.scores = np.maximum(scores - np.logaddexp.reduce(scores), -8.0)

    def observe(self, z, y):
        mean, _ = self.predict(z)
        self.loss = float(np.sum(self.outputs * (y - mean) ** 2) / np.sum(self.outputs))
        p, moved, new = self.prior()
        self.step, self.steps = self.step + 1, self.steps + 1

        # E-step, over the slots and the tasks that may begin.
        begun = [self.born(kind, 0.0) for kind in range(len(self.priors))]
        fits = [None if s is None else self.density(s, z, y) for s in self.slots]
        fits_new = [self.density(s, z, y) for s in begun]
        joint = np.array(
            [0.0 if s is None else p[i] * np.exp(s.scores + fits[i]).sum() for i, s in enumerate(self.slots)]
        )
        joint_new = np.array([new[k] * np.exp(s.scores + fits_new[k]).sum() for k, s in enumerate(begun)])
        evidence = joint.sum() + joint_new.sum()
        mine, chance_new = joint / evidence, joint_new / evidence

        # A switch is a move to another task than the one that led, or to a new one.
        self.switches += chance_new.sum() + sum(
            mine[i] * moved[i] / p[i] for i, s in enumerate(self.slots) if s is not None and i != self.lead
        )

        # M-step: tasks by responsibility, candidates and what began now wholly.
        for i, slot in enumerate(self.slots):
            if slot is not None:
                self.learn(slot, z, y, mine[i] if slot.number >= 0 else 1.0, fits[i])
                slot.probability = mine[i]
        for k, slot in enumerate(begun):
            self.learn(slot, z, y, 1.0, fits_new[k])
            slot.probability, slot.begun, slot.last_led = chance_new[k], self.step, self.step
            slot.kind = k
            self.slots[self.spare()] = slot
        self.normalise()

        # Founding, and evicting the task that has not led for longest.
        self.lead = int(np.argmax([0.0 if s is None else s.probability for s in self.slots]))
        leader, tasks = self.slots[self.lead], [s for s in self.slots if s is not None and s.number >= 0]
        leader.last_led = self.step
        unknown = sum(s.probability for s in self.slots if s is not None and s.number < 0)
        if leader.number >= 0:
            leader.led += leader.probability
        elif unknown > LEADS:
            leader.led += unknown
        self.spawned = leader.number < 0 and leader.led >= self.found_after
        if self.spawned:  # the others were other guesses at when this task began
            leader.probability = unknown
            self.slots = [s if s is leader or s is None or s.number >= 0 else None for s in self.slots]
        self.evicted = self.spawned and len(tasks) >= self.max_tasks
        if self.evicted:
            oldest = min(tasks, key=lambda s: s.last_led)
            self.slots = [None if s is oldest else s for s in self.slots]
            self.normalise()
        if self.spawned:
            leader.number, self.next_task = self.next_task, self.next_task + 1
            if self.kind_counts[leader.kind] > 0:
                self.kind_counts[leader.kind] += 1

    def spare(self):
        """A free slot, or that of the least probable candidate that did not begin now."""
        free = [i for i, s in enumerate(self.slots) if s is None]
        if free:
            return free[0]
        places = [i for i, s in enumerate(self.slots) if s.number < 0 and s.begun < self.step]
        return min(places, key=lambda i: self.slots[i].probability)

    def normalise(self):
        total = sum(s.probability for s in self.slots if s is not None)
        for slot in self.slots:
            if slot is not None:
                slot.probability /= total
