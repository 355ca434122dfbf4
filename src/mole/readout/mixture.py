"""MOLe with Bayesian readouts: a filter over tasks, in which a task can begin at any step and any task can return.

For every pair of the stream, in the terms of the paper (Nagabandi, Finn, Levine 2019, section 4.2):

1. prior       the task stays, or with the probability of a switch it is drawn from the Chinese restaurant: an old task
               by how much it has been used, or a new one;
2. E-step      P_t(T_i) ∝ likelihood of the pair under T_i · P(T_i);
3. candidate   at every step a new task is begun from each belief of the prior, as in Bayesian online change-point
               detection (Adams, MacKay 2007): it is a candidate until it has led for some steps; the least probable
               candidates make room for the next;
4. M-step      a task absorbs the pair as far as it is responsible for it, a candidate wholly: under the hypothesis that
               it is the task, every pair since its beginning is its own;
5. predict     with all of them, by their probabilities.

Every task is kept at several rates of drift; which of them counts is decided by how well each predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from mole._types import Array, Float, Int
from mole.likelihoods import Prediction
from mole.online.base import Info, fresh
from mole.readout.belief import Belief, Forecast, absorb, bounded, drifted, forecast, log_density
from mole.readout.capacity import merged_tasks
from mole.readout.checks import check_readout_mixture
from mole.readout.features import Readout
from mole.readout.prior import ReadoutPrior
from mole.readout.slots import ReadoutState, counted, first_state, founded, placed
from mole.readout.watching import pair_fault, unmoved

__all__ = ["ReadoutMixture", "ReadoutState"]

_TINY = 1e-30
_LEAST_CHANCE = 0.02


class ReadoutMixture(eqx.Module):
    """Online learner over a `ReadoutPrior`: configuration only, the state is explicit, as in `mole.online`.

    Args:
        prior: features, and the beliefs that tasks are drawn from.
        max_tasks: tasks that are remembered; the one that has not led for longest makes room.
        candidates: slots for tasks that may have just begun.
        alpha: α of the Chinese restaurant, the weight of a new task.
        switch_every: expected pairs between switches, before any was seen.
        drift: rates of drift at which every task is kept: share of the prior's variance that is new at each pair.
        drift_memory: pairs over which the rates are compared.
        found_after: leading steps that make a candidate a task.
        most_switches: the largest probability of a switch: tasks last for a while, or the mixture would sort pairs by
            how noisy they are.
        tail: degrees of freedom of the Student-t that pairs are judged by, at most: one wild pair must not found a
            task.
        classes: whether targets are indicators of classes; a pair is then judged by the probability of its class.
        outputs: weight of each output in the likelihood of a pair ``[dy]``; all one if None. Indicators of C classes
            say as much as C − 1 numbers.
        at_capacity: what happens when one more than ``max_tasks`` has been found: "evict" the one that has not led for
            longest, "refuse" the new one, which goes on as a candidate, or "merge" the two closest if they predict
            alike, and else evict (`mole.readout.capacity`).
        reach: standard deviations beyond which a target is refused, and an input flagged; inputs are drawn in anyway.

    Raises:
        ValueError: if a setting is out of range, with what is expected.
    """

    prior: ReadoutPrior
    alpha: Array
    drift: Array
    discount: Array
    switch_every: Array
    found_after: Array
    outputs: Float[Array, " dy"]
    most_switches: Array
    tail: Array
    max_tasks: int = eqx.field(static=True)
    candidates: int = eqx.field(static=True)
    classes: bool = eqx.field(static=True)
    at_capacity: Literal["refuse", "evict", "merge"] = eqx.field(static=True)
    reach: float = eqx.field(static=True)

    def __init__(
        self,
        prior: ReadoutPrior,
        *,
        max_tasks: int = 8,
        candidates: int = 6,
        alpha: float = 2.0,
        switch_every: float = 50.0,
        drift: Sequence[float] = (1e-6, 3e-3),
        drift_memory: float = 30.0,
        found_after: float = 6.0,
        outputs: Sequence[float] | None = None,
        most_switches: float = 0.05,
        tail: float = 16.0,
        classes: bool = False,
        at_capacity: Literal["refuse", "evict", "merge"] = "evict",
        reach: float = 1e5,
    ) -> None:
        """See the class."""
        check_readout_mixture(locals())
        self.prior, self.max_tasks, self.candidates, self.classes = prior, max_tasks, candidates, classes
        self.at_capacity, self.reach = at_capacity, reach
        self.most_switches, self.tail = jnp.float32(most_switches), jnp.float32(tail)
        self.alpha, self.switch_every = jnp.float32(alpha), jnp.float32(switch_every)
        self.drift, self.found_after = jnp.asarray(tuple(drift), jnp.float32), jnp.float32(found_after)
        weights = jnp.ones((prior.target_size,)) if outputs is None else jnp.asarray(outputs, jnp.float32)
        self.outputs = jnp.broadcast_to(weights, (prior.target_size,))
        self.discount = jnp.float32(1.0 - 1.0 / drift_memory)

    @property
    def slots(self) -> int:
        """Tasks and candidates."""
        return self.max_tasks + self.candidates

    def init(self, kinds: tuple[float, ...] | None = None) -> ReadoutState:
        """One candidate, and nothing seen.

        Args:
            kinds: prior counts of the K beliefs; zero forbids tasks from one (until its count is set). All one if None.
        """
        counts = jnp.ones((self.prior.kinds,)) if kinds is None else jnp.asarray(kinds, jnp.float32)
        return fresh(first_state(self.prior, self.slots, self.drift.shape[0], self.switch_every, counts))

    def model(self, state: ReadoutState) -> Readout:
        """The model of the most probable task, averaged over its rates of drift; on normalised inputs."""
        weights = jax.nn.softmax(state.rate_scores[state.lead])
        mean = jnp.einsum("f,fdy->dy", weights, state.beliefs.mean[state.lead])
        return Readout(self.prior.features, mean)

    def predict(self, state: ReadoutState, x: Float[Array, " dx"]) -> Prediction:
        """Mean and standard deviation of the target for one input ``[dx]``, in its own unit, over all tasks."""
        expected = forecast(state.beliefs, self.prior.features_of(x))
        mean, variance = _moments(self._next_probability(state)[0], state.rate_scores, expected)
        norm = self.prior.y_norm
        return Prediction(norm.inverse(mean), jnp.sqrt(variance) * norm.std)

    def update(
        self, state: ReadoutState, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> tuple[ReadoutState, Info]:
        """One step of online learning from the pair (x, y), both in their natural units.

        Args:
            state: from `init` or an earlier `update`.
            x: input ``[dx]``.
            y: target ``[dy]``.

        Returns:
            The next state and an `Info`, whose ``task`` is the number of the task (stable, in order of discovery), and
            whose ``responsibilities`` are those of all slots. A pair that is not finite, or whose target is out of
            reach, changes nothing and is flagged.

        Raises:
            ValueError: (when traced) if a shape is not the prior's.
        """
        for name, value, size in (("x", x, self.prior.input_size), ("y", y, self.prior.target_size)):
            if jnp.shape(value) != (size,):
                raise ValueError(
                    f"ReadoutMixture.update got {name} of shape {jnp.shape(value)}; expected ({size},), as the prior "
                    "was made for. Pass one pair at a time, in the same features."
                )
        x, y = self.prior.x_norm(x), self.prior.y_norm(y)
        z, pair = self.prior.features(x), jnp.concatenate([x, y])
        finite = jnp.all(jnp.isfinite(z)) & jnp.all(jnp.isfinite(y))
        valid = finite & (jnp.max(jnp.abs(y)) <= self.reach)
        loss, after = self._learn(state, jnp.where(valid, z, 0.0), jnp.where(valid, y, 0.0), pair, valid)
        return after, Info(
            loss=jnp.where(valid, loss, jnp.nan),
            responsibilities=after.probability,
            task=self.task_of(after),
            n_tasks=jnp.maximum(jnp.sum(after.task >= 0), 1),
            spawned=after.spawned,
            at_capacity=after.evicted,
            rejected=~valid,
            fault=pair_fault(x, y, after.still, finite=finite, valid=valid, reach=self.reach),
        )

    def task_of(self, state: ReadoutState) -> Int[Array, ""]:
        """Number of the most probable task; a candidate has the number that the next task will get."""
        task = state.task[state.lead]
        return jnp.where(task < 0, state.next_task, task)

    def _next_probability(self, state: ReadoutState) -> tuple[Array, Array, Array]:
        """P(T) before the next pair: of every slot, of a switch to it, and of a new task from each belief ``[K]``."""
        hazard = jnp.minimum(state.switches / state.steps, self.most_switches)
        counts = jnp.where(state.task >= 0, state.led, 0.0)
        total = jnp.sum(counts) + self.alpha
        to_old = hazard * counts / total
        new = hazard * self.alpha / total * state.kind_counts / jnp.sum(state.kind_counts)
        return (1.0 - hazard) * state.probability + to_old, to_old, new

    def _learn(
        self, state: ReadoutState, z: Array, y: Array, pair: Array, valid: Array
    ) -> tuple[Array, ReadoutState]:
        """Loss of the prediction made before the pair, and the state after it: the one before if it is not ``valid``.

        Chosen where a number is written and not by a branch, since XLA copies what goes into one.
        """
        rates = self.drift.shape[0]
        origin = jax.tree.map(lambda a: jnp.repeat(a[:, None], rates, axis=1), self.prior.beliefs)
        probability, to_old, new = self._next_probability(state)

        # E-step over the slots there are and the tasks that may begin now.
        expected, expected_new = forecast(state.beliefs, z), forecast(origin, z)
        rate_scores = state.rate_scores
        fit, fit_new = self._fit(expected, y), self._fit(expected_new, y)
        even = jnp.full((rates,), -jnp.log(float(rates)))
        log_joint = jnp.log(jnp.maximum(probability, _TINY)) + logsumexp(rate_scores + fit, axis=-1)
        log_new = jnp.log(jnp.maximum(new, _TINY)) + logsumexp(even[None] + fit_new, axis=-1)
        log_joint = jnp.where(state.used, log_joint, -jnp.inf)
        log_new = jnp.where(new > 0, log_new, -jnp.inf)
        evidence = jnp.logaddexp(logsumexp(log_joint), logsumexp(log_new))
        mine, begun = jnp.exp(log_joint - evidence), jnp.exp(log_new - evidence)
        mean, _ = _moments(probability, rate_scores, expected)
        loss = jnp.sum(self.outputs * (y - mean) ** 2) / jnp.sum(self.outputs)

        # M-step: tasks as far as they are responsible, candidates wholly.
        weight = jnp.where(state.task >= 0, mine, 1.0) * state.used
        back = jax.tree.map(lambda a: a[state.kind][:, None], self.prior.beliefs)
        beliefs = _chosen(valid, self._absorbed(state.beliefs, expected, y, weight, back), state.beliefs)
        newborn = self._absorbed(origin, expected_new, y, jnp.ones((self.prior.kinds,)), origin)
        rate_scores = self._compared(rate_scores, fit, weight)
        scores_new = self._compared(
            jnp.broadcast_to(even, fit_new.shape), fit_new, jnp.ones(fit_new.shape[:1])
        )

        # A switch is a move to another task than the one that led.
        moved = jnp.where(
            jnp.arange(self.slots) == state.lead, 0.0, mine * to_old / jnp.maximum(probability, _TINY)
        )
        next_ = eqx.tree_at(
            lambda s: (s.beliefs, s.rate_scores, s.probability, s.switches, s.steps, s.step, s.last, s.still),
            state,
            (
                beliefs,
                rate_scores,
                mine,
                state.switches + jnp.sum(moved) + jnp.sum(begun),
                state.steps + 1,
                state.step + 1,
                pair,
                unmoved(state.still, state.last, pair),
            ),
        )
        merging = self.at_capacity == "merge"
        room = (lambda s, needed: merged_tasks(self.prior, s, needed & valid)) if merging else None
        refuse = self.at_capacity == "refuse"
        next_ = counted(placed(next_, newborn, scores_new, begun, valid))
        next_ = founded(next_, self.max_tasks, self.found_after, refuse=refuse, room=room)
        rest, before = (eqx.tree_at(lambda s: s.beliefs, s, None) for s in (next_, self._quiet(state)))
        kept = _chosen(valid, rest, before)
        return loss, eqx.tree_at(lambda s: s.beliefs, kept, next_.beliefs, is_leaf=lambda leaf: leaf is None)

    def _fit(self, expected: Forecast, y: Array) -> Array:
        """Log-likelihood of the target for every belief, robust: one wild pair must not found a task."""
        if not self.classes:
            return log_density(expected, y, self.tail) @ self.outputs
        norm = self.prior.y_norm
        share = expected.mean * norm.std[None, None] + norm.mean[None, None]
        chance = jnp.clip(share, _LEAST_CHANCE, 1.0)
        truth = norm.inverse(y)
        if self.prior.target_size == 1:
            chance = jnp.minimum(chance, 1.0 - _LEAST_CHANCE)[..., 0]
            return jnp.log(jnp.where(truth[0] > 0.5, chance, 1.0 - chance))
        known = (self.outputs > 0).astype(chance.dtype)
        return jnp.log(chance @ truth) - jnp.log(chance @ known)

    def _absorbed(self, beliefs: Belief, expected: Forecast, y: Array, weight: Array, back: Belief) -> Belief:
        """Beliefs after the pair, with the drift of the time that it took; a task's clock runs while it is in use."""
        both = jnp.broadcast_to(weight[:, None], expected.doubt.shape)
        return bounded(drifted(absorb(beliefs, expected, y, both), back, self.drift[None] * both))

    def _compared(self, scores: Array, fit: Array, weight: Array) -> Array:
        """Discounted log-likelihoods of the rates of drift, normalised."""
        weight = weight[:, None]
        return jnp.maximum(jax.nn.log_softmax(self.discount**weight * scores + weight * fit, axis=-1), -8.0)

    def _quiet(self, state: ReadoutState) -> ReadoutState:
        """The state unchanged, with nothing having happened."""
        return eqx.tree_at(lambda s: (s.spawned, s.evicted), state, (jnp.zeros((), bool),) * 2)


def _moments(probability: Array, rate_scores: Array, expected: Forecast) -> tuple[Array, Array]:
    """Mean and variance of the mixture ``[dy]``."""
    weights = (probability / jnp.sum(probability))[:, None] * jax.nn.softmax(rate_scores, axis=-1)
    mean = jnp.einsum("pf,pfy->y", weights, expected.mean)
    spread = expected.variance + (expected.mean - mean[None, None]) ** 2
    return mean, jnp.einsum("pf,pfy->y", weights, spread)


def _chosen(valid: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(valid, a, b), new, old)
