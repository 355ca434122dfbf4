"""MOLe with Bayesian readouts: a filter over tasks, in which a task can begin at any step and any task can return.

For every pair of the stream, in the terms of the paper (Nagabandi, Finn, Levine 2019, section 4.2):

1. prior       the task stays, or with the probability of a switch it is drawn from the Chinese restaurant: an old task
               by how much it has been used, or a new one;
2. E-step      P_t(T_i) ∝ likelihood of the pair under T_i · P(T_i);
3. candidate   at every step a new task is begun from each belief of the prior, as in Bayesian online change-point
               detection (Adams, MacKay 2007): it is a candidate until it has led for some steps; the least probable
               candidates make room for the next;
4. M-step      a task absorbs the pair with its responsibility as weight, a candidate with weight one: under the
               hypothesis that it is the present task, it owns every pair since it began;
5. predict     with all tasks and candidates, weighted by their probabilities.

Every task is kept at several rates of drift, which are weighted by how well each has predicted lately.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from mole._expect import expect_numbers, expect_type
from mole._types import Array, Bool, Float, Int
from mole.learning.likelihoods import Prediction
from mole.online.base import OnlineLearner, as_float32, fresh
from mole.online.guard import Fault, code, pair_fault, unmoved
from mole.online.settings import check_readout_mixture
from mole.readout.belief import (
    Belief,
    Forecast,
    Outlook,
    absorb,
    bounded,
    drifted,
    forecast,
    log_chance,
    log_density,
    moments,
)  # fmt: skip
from mole.readout.capacity import merged_tasks
from mole.readout.order import Notice, first_order, noticed, settled
from mole.readout.prior import Readout, ReadoutPrior
from mole.readout.slots import ReadoutState, chosen, counted, first_state, founded, placed

__all__ = ["UPGRADES", "ReadoutMixture", "ReadoutState"]

_TINY = 1e-30  # a float32 whose logarithm is finite

UPGRADES = {".drift_memory": (".discount", lambda discount: np.float32(f"{1.0 / (1.0 - discount):.4g}"))}
"""Leaves of a `ReadoutMixture` that version 0.1 wrote in another form, as in `mole.online.stack`."""


def _vector(values: Sequence[float] | Array | None) -> Array:
    return values if isinstance(values, jax.Array) else jnp.asarray(tuple(values or ()), jnp.float32)


class ReadoutMixture(OnlineLearner):
    """The mixture over a `ReadoutPrior`, an `mole.online.OnlineLearner` like the others.

    Args:
        prior: features, and the beliefs that tasks are drawn from.
        max_tasks: tasks that are remembered.
        candidates: slots for tasks that may have just begun.
        alpha: α of the Chinese restaurant, the weight of a new task.
        switch_every: expected pairs between switches, before any was seen.
        drift: rates of drift at which every task is kept: share of the prior's variance that is new at each pair.
        drift_memory: pairs over which the rates are compared.
        found_after: number of leading steps after which a candidate becomes a task.
        most_switches: the largest probability of a switch at a step: without a limit the mixture would sort pairs into
            tasks by how noisy they are.
        tail: most degrees of freedom of the Student-t by which a pair is judged: one wild pair must not start a task.
        classes: whether targets are indicators of classes; a pair is then judged by the probability of its class.
        outputs: weight of each output in the likelihood of a pair ``[dy]``; all one if None. The indicators of C
            classes have only C − 1 degrees of freedom.
        at_capacity: what happens when one more than ``max_tasks`` has been found: "evict" the one that has not led for
            longest, "refuse" the new one, which goes on as a candidate, or "merge" the two closest if they predict
            alike, and else evict (`mole.readout.capacity`).
        reach: standard deviations beyond which a target is refused, and an input flagged; inputs are drawn in anyway.

    Raises:
        ValueError: if a setting is out of range, with what is expected.
    """

    prior: ReadoutPrior
    _: dataclasses.KW_ONLY
    max_tasks: int = eqx.field(static=True, default=8)
    candidates: int = eqx.field(static=True, default=6)
    alpha: Array = eqx.field(converter=as_float32, default=2.0)
    switch_every: Array = eqx.field(converter=as_float32, default=50.0)
    drift: Array = eqx.field(converter=_vector, default=(1e-6, 3e-3))
    drift_memory: Array = eqx.field(converter=as_float32, default=30.0)
    found_after: Array = eqx.field(converter=as_float32, default=6.0)
    outputs: Array = eqx.field(converter=_vector, default=None)
    most_switches: Array = eqx.field(converter=as_float32, default=0.05)
    tail: Array = eqx.field(converter=as_float32, default=16.0)
    classes: bool = eqx.field(static=True, default=False)
    at_capacity: Literal["refuse", "evict", "merge"] = eqx.field(static=True, default="evict")
    reach: float = eqx.field(static=True, default=1e5)
    pair_weight: Array | None = eqx.field(init=False)  # of the pair that is learned now

    def __post_init__(self) -> None:
        """Check the settings, and put what was left out in its place."""
        remedy = "mole.fit_prior and mole.ReadoutPrior.untrained make one."
        expect_type("ReadoutMixture", "prior", self.prior, ReadoutPrior, remedy)
        check_readout_mixture(self)
        self.pair_weight = None
        if self.outputs is None:
            self.outputs = (1.0,) * self.prior.target_size  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def slots(self) -> int:
        """Tasks and candidates."""
        return self.max_tasks + self.candidates

    def init(self, kinds: Sequence[float] | None = None) -> ReadoutState:
        """One candidate, and nothing seen.

        Args:
            kinds: prior counts of the K beliefs; zero forbids tasks from one (until its count is set). All one if None.

        Raises:
            ValueError: unless there are K counts, none below zero and one above.
        """
        given = (1.0,) * self.prior.kinds if kinds is None else kinds
        remedy = "There is one count per belief."
        counts = expect_numbers(
            "ReadoutMixture.init", "kinds", given, size=self.prior.kinds, nonzero=True, low=0.0, remedy=remedy
        )
        rates, counts = self.drift.shape[0], jnp.asarray(counts, jnp.float32)
        labels = first_order(self.prior.target_size) if self.classes else None
        return fresh(first_state(self.prior, self.slots, rates, self.switch_every, counts, labels))

    def model(self, state: ReadoutState) -> Readout:
        """The model of the most probable task, averaged over its rates of drift; on normalised inputs."""
        return self.model_in(state, state.lead)

    def model_in(self, state: ReadoutState, slot: Int[Array, ""] | int) -> Readout:
        """The model of the task in a slot, averaged over its rates of drift."""
        weights = jax.nn.softmax(state.rate_scores[slot])
        mean = jnp.einsum("f,fdy->dy", weights, state.beliefs.mean[slot])
        return Readout(self.prior.features, mean)

    def task_numbers(self, state: ReadoutState) -> Int[Array, " slots"]:
        """Numbers in order of discovery, which stay; −1 for a candidate."""
        return state.task

    def responsibilities(self, state: ReadoutState) -> Float[Array, " slots"]:
        """Probability of every slot, tasks and candidates."""
        return state.probability

    def forecast(self, state: ReadoutState, x: Float[Array, " dx"]) -> Prediction:
        """Mean and standard deviation of the target for one input ``[dx]``, in its own unit, over all tasks."""
        expected = forecast(state.beliefs, self.prior.features_of(x))
        chance = self.next_probability(state)[0]
        mean, variance = moments(chance, state.rate_scores, self._outlook(expected))
        norm = self.prior.y_norm
        return Prediction(norm.inverse(mean), jnp.sqrt(variance) * norm.std)

    def refusal(self, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Int[Array, ""]:
        """Only a target can be out of reach: inputs are drawn in (`mole.readout.prior.compress`)."""
        finite = jnp.all(jnp.isfinite(self.prior.features(x))) & jnp.all(jnp.isfinite(y))
        far = code(jnp.max(jnp.abs(y)) > self.reach, Fault.OUT_OF_REACH)
        return jnp.where(finite, far, jnp.int32(Fault.NOT_FINITE.value))

    def suspicion(self, before: ReadoutState, after: ReadoutState, x: Array, y: Array) -> Int[Array, ""]:
        """Repeated or unmoved numbers, and inputs that were drawn in; a normalised pair ``x [dx]``, ``y [dy]``."""
        return pair_fault(x, y, after.still, self.reach)

    def report(self, after: ReadoutState) -> dict[str, Array]:
        """The tasks' part of `Info`; ``task`` is the number of the task, ``responsibilities`` those of all slots."""
        tasks, known = self.task_of(after), jnp.maximum(jnp.sum(after.task >= 0), 1)
        told = {"responsibilities": after.probability, "task": tasks, "n_tasks": known, "fault": jnp.int32(0)}
        return {**told, "spawned": after.spawned, "at_capacity": after.evicted}

    def weighted(self, weight: Float[Array, ""]) -> ReadoutMixture:
        """Tasks and candidates absorb the pair as often; it tells them apart by the weight too, up to one pair."""
        return eqx.tree_at(lambda one: one.pair_weight, self, weight, is_leaf=lambda leaf: leaf is None)

    def learn(self, state: ReadoutState, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> ReadoutState:
        """The state after one normalised pair."""
        return self.advance(jnp.ones((), bool), state, x, y)[1]

    def advance(
        self, valid: Bool[Array, ""], state: ReadoutState, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> tuple[Array, ReadoutState]:
        """Loss of the prediction made before the pair, and the state after it; the same if it is not ``valid``."""
        # Masked here, since a NaN times a weight of zero is still NaN.
        z = jnp.where(valid, self.prior.features(x), 0.0)
        return self._learn(state, z, jnp.where(valid, y, 0.0), jnp.concatenate([x, y]), valid)

    def task_of(self, state: ReadoutState) -> Int[Array, ""]:
        """Number of the most probable task; a candidate has the number that the next task will get."""
        task = state.task[state.lead]
        return jnp.where(task < 0, state.next_task, task)

    def next_probability(self, state: ReadoutState, told: Array | float = 1.0) -> tuple[Array, Array, Array]:
        """P(T) before the next pair: of every slot, of a switch to it, and of a new task from each belief ``[K]``."""
        hazard = jnp.minimum(state.switches / state.steps, self.most_switches) * told
        counts = jnp.where(state.task >= 0, state.led, 0.0)
        total = jnp.sum(counts) + self.alpha
        to_old = hazard * counts / total
        new = hazard * self.alpha / total * state.kind_counts / jnp.sum(state.kind_counts)
        return (1.0 - hazard) * state.probability + to_old, to_old, new

    def _learn(
        self, state: ReadoutState, z: Array, y: Array, pair: Array, valid: Array
    ) -> tuple[Array, ReadoutState]:
        """`advance`, for features ``z[d]``."""
        # Results are selected where they are written and not by a branch, since XLA copies whatever enters one.
        rates, rate_scores = self.drift.shape[0], state.rate_scores
        origin = jax.tree.map(lambda a: jnp.repeat(a[:, None], rates, axis=1), self._beginnings)
        labels, notice = noticed(state.order, self.prior.y_norm.inverse(y))
        probability, to_old, new = self.next_probability(state, notice.told)

        # E-step over the used slots, and over the tasks that may begin with this pair.
        expected, expected_new = forecast(state.beliefs, z), forecast(origin, z)
        fit, fit_new = self._fit(expected, y), self._fit(expected_new, y)
        if self.pair_weight is not None:  # a doubtful pair says as little of the task as about it
            fit, fit_new = (one * jnp.minimum(self.pair_weight, 1.0) for one in (fit, fit_new))
        even = jnp.full((rates,), -jnp.log(float(rates)))
        likely = logsumexp(rate_scores + fit, axis=-1) * notice.told
        log_joint = jnp.log(jnp.maximum(probability, _TINY)) + likely
        log_new = jnp.log(jnp.maximum(new, _TINY)) + logsumexp(even[None] + fit_new, axis=-1)
        log_joint = jnp.where(state.used, log_joint, -jnp.inf)
        log_new = jnp.where(new > 0, log_new, -jnp.inf)
        evidence = jnp.logaddexp(logsumexp(log_joint), logsumexp(log_new))
        mine, begun = jnp.exp(log_joint - evidence), jnp.exp(log_new - evidence)
        mean, _ = moments(probability, rate_scores, self._outlook(expected))
        loss = jnp.sum(self.outputs * (y - mean) ** 2) / jnp.sum(self.outputs)

        # M-step: the weight of a task is its responsibility, that of a candidate is one.
        weight = jnp.where(state.task >= 0, mine, 1.0) * state.used
        back = jax.tree.map(lambda a: a[state.kind][:, None], self._beginnings)
        beliefs = self._absorbed(state.beliefs, expected, y, weight, back, notice)
        beliefs = chosen(valid, beliefs, state.beliefs)
        rate_scores = self._compared(rate_scores, fit, weight, notice.calm)
        ones = jnp.ones((self.prior.kinds,))
        newborn = self._absorbed(origin, expected_new, y, ones, origin, notice)
        scores_new = self._compared(jnp.broadcast_to(even, fit_new.shape), fit_new, ones)

        # Expected number of switches at this step: moves to another task than the leading one.
        moved = jnp.where(
            jnp.arange(self.slots) == state.lead, 0.0, mine * to_old / jnp.maximum(probability, _TINY)
        )
        next_ = dataclasses.replace(
            state, beliefs=beliefs, rate_scores=rate_scores, probability=mine, order=labels, last=pair,
            switches=state.switches + jnp.sum(moved) + jnp.sum(begun), steps=state.steps + notice.told,
            step=state.step + 1, still=unmoved(state.still, state.last, pair),
        )  # fmt: skip
        merging = self.at_capacity == "merge"
        room = (lambda s, due: merged_tasks(self.prior, s, due & valid)) if merging else None
        refuse = self.at_capacity == "refuse"
        next_ = counted(placed(next_, newborn, scores_new, begun, valid))
        next_ = founded(next_, self.max_tasks, self.found_after, refuse=refuse, room=room)
        quiet = eqx.tree_at(lambda s: (s.spawned, s.evicted), state, (jnp.zeros((), bool),) * 2)
        rest, before = (eqx.tree_at(lambda s: s.beliefs, s, None) for s in (next_, quiet))
        kept = chosen(valid, rest, before)
        return loss, eqx.tree_at(lambda s: s.beliefs, kept, next_.beliefs, is_leaf=lambda leaf: leaf is None)

    # What `mole.readout.gaps` says otherwise.

    @property
    def _beginnings(self) -> Belief:
        return self.prior.beliefs

    def _outlook(self, expected: Forecast) -> Forecast | Outlook:
        return expected

    def _fit(self, expected: Forecast, y: Array) -> Array:
        """Log-likelihood of the target for every belief."""
        if not self.classes:
            return log_density(expected, y, self.tail) @ self.outputs
        norm = self.prior.y_norm
        share = expected.mean * norm.std[None, None] + norm.mean[None, None]
        return log_chance(share, norm.inverse(y), self.outputs > 0)

    def _absorbed(
        self, beliefs: Belief, expected: Forecast, y: Array, weight: Array, back: Belief, notice: Notice
    ) -> Belief:
        """Beliefs after the pair and one step of drift; both by weight: a task drifts only while it is in use."""
        both = told = jnp.broadcast_to(weight[:, None], expected.doubt.shape)
        if self.pair_weight is not None:  # a pair says more by its weight, but takes no more time to drift in
            both, told = both * jnp.minimum(self.pair_weight, 1.0), both * self.pair_weight
        beliefs = absorb(beliefs, expected, y, told * notice.times, notice.times)
        return bounded(drifted(beliefs, back, self.drift[None] * both * notice.told))

    def _compared(self, scores: Array, fit: Array, weight: Array, calm: Any = 0.0) -> Array:
        """Discounted log-likelihoods of the rates of drift, normalised; of classes, see `Notice.calm`."""
        weight, discount = weight[:, None], 1.0 - 1.0 / self.drift_memory
        new = jnp.maximum(jax.nn.log_softmax(discount**weight * scores + weight * fit, axis=-1), -8.0)
        return settled(new, self.drift, weight * calm) if self.classes else new
