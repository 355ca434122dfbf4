"""MOLe: a mixture of models kept by online expectation maximisation (Nagabandi, Finn, Levine 2019, section 4.2).

For every pair of the stream (`Mixture._iterate`):

1. scored      log P(recent pairs | θ(T_i)) and log P(T_i) of every task there is;
2. proposed    θ_c, one inner step from θ*, is a new task if it explains the data best of all;
3. assigned    P_t(T_i) ∝ P(recent pairs | θ(T_i)) · P(T_i), the E-step;
4. learned     θ(T_i) ← θ(T_i) − s P_t(T_i) β ∘ ∇L(θ(T_i)), the M-step.

The most probable task predicts and plans. Two rules are put together from the same four functions. `Mixture.paper` is
the paper's: the mean loss over the last k pairs over a temperature, a Chinese-restaurant prior, soft responsibilities.
`Mixture(prior)` is ours, the *pointwise rule*: the newest pair alone under a calibrated Student-t, a sticky prior, hard
assignment, a candidate judged by a margin on pairs it was not fitted to; each task learns from the pairs it owns.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._expect import expect_type
from mole._types import Array, Bool, Float, Int, Model
from mole.learning.lowrank import adapted_outputs
from mole.learning.prior import MetaPrior
from mole.online.base import OnlineLearner, as_float32, fresh
from mole.online.capacity import make_room
from mole.online.em import (
    Assigned,
    Proposed,
    Scored,
    candidate_pairs,
    crp_log_prior,
    e_step,
    log_counts_after,
    m_step_own,
    m_step_shared,
    new_task,
    point_scores,
    restarted,
    sticky_log_prior,
    task_outputs,
    uniform_log_prior,
)
from mole.online.settings import AUTHORS, check_mixture
from mole.online.stack import NOTHING_COUNTED, MixtureState, first_state, own_pairs, pick

__all__ = ["Mixture"]

_MOST = 1e30  # finite in float32, and so are sums and differences of two such numbers
_GIVES_ONE = "mole.meta_train and mole.load_prior give one."


class Mixture(OnlineLearner):
    """The MOLe learner. ``Mixture(prior)`` is our pointwise rule, ``Mixture.paper(prior)`` the paper's.

    Args:
        prior: the meta-trained θ*.
        window: k; the prior's if not given.
        likelihood_window: newest pairs scored in the E-step.
        score: "log_prob" sums the likelihood's calibrated log density, "loss" takes minus the mean loss.
        temperature: τ, divides the score.
        task_prior: "sticky", "crp", or "uniform" (none: an ablation).
        stay: probability of staying, for the sticky prior.
        alpha: α of the CRP, the weight of a new task.
        refresh: R, the CRP counts restart every R steps; None never.
        assignment: "hard" or "soft" responsibilities.
        memory: "own": a task learns from the pairs it owns; "shared": from the last k pairs of the stream.
        candidate_window: a new task is fitted on the even-aged and judged on the odd-aged of so many newest pairs
            (age 1 is the newest); None: fitted on the older k, judged on the pairs of the E-step (the paper).
        judge: a new task on "held_out" pairs, or on those that it was "fitted" to (an ablation).
        margin: nats (units of score over τ) by which a new task must beat every other; 5 + 2 dy if not given, since
            evidence adds up over the dy dimensions of a target.
        step_scale: M-step rate as a fraction of the inner rate.
        max_tasks: slots.
        at_capacity: what happens to a new task when all slots are in use: "refuse" it (the paper), "evict" the least
            recently used, or "merge" the two closest if they predict alike, and else evict (`mole.online.capacity`).
        predict_with: "most_probable" task, or the "best_scoring" one, without the prior.
        reach: see `OnlineLearner`.

    Raises:
        TypeError: if a setting is of another type.
        ValueError: if a setting is out of range, with what is expected.
    """

    prior: MetaPrior
    _: dataclasses.KW_ONLY
    window: int | None = eqx.field(static=True, default=None)
    likelihood_window: int = eqx.field(static=True, default=1)
    score: Literal["log_prob", "loss"] = eqx.field(static=True, default="log_prob")
    temperature: Array = eqx.field(converter=as_float32, default=1.0)
    task_prior: Literal["sticky", "crp", "uniform"] = eqx.field(static=True, default="sticky")
    stay: Array = eqx.field(converter=as_float32, default=0.99)
    alpha: Array = eqx.field(converter=as_float32, default=1.0)
    refresh: int | None = eqx.field(static=True, default=None)
    assignment: Literal["hard", "soft"] = eqx.field(static=True, default="hard")
    memory: Literal["own", "shared"] = eqx.field(static=True, default="own")
    candidate_window: int | None = eqx.field(static=True, default=8)
    judge: Literal["held_out", "fitted"] = eqx.field(static=True, default="held_out")
    margin: Array = eqx.field(converter=as_float32, default=None)
    step_scale: Array = eqx.field(converter=as_float32, default=0.1)
    max_tasks: int = eqx.field(static=True, default=5)
    at_capacity: Literal["refuse", "evict", "merge"] = eqx.field(static=True, default="evict")
    predict_with: Literal["most_probable", "best_scoring"] = eqx.field(static=True, default="most_probable")

    def __post_init__(self) -> None:
        """Check the settings, and put what was left out in its place."""
        expect_type("Mixture", "prior", self.prior, MetaPrior, _GIVES_ONE)
        if self.window is None:
            self.window = self.prior.window
        if self.margin is None:
            self.margin = 5.0 + 2.0 * self.prior.target_size
        check_mixture(self)

    @property
    def k(self) -> int:
        """Pairs of one inner step: ``window``, or the prior's."""
        return self.window or self.prior.window

    @classmethod
    def paper(cls, prior: MetaPrior, **settings: Any) -> Mixture:
        """The paper's rule with the authors' values (k of the prior, τ = 0.02, α = 1, R = 20, 5 tasks, full M-step).

        With learned inner rates, which are much larger than the authors' 0.01, the full M-step follows a change quickly
        but overwrites an old task before its end is noticed; ``step_scale`` near 0.1 recalls more and follows less.
        """
        expect_type("Mixture.paper", "prior", prior, MetaPrior, _GIVES_ONE)
        window = settings.get("window") or prior.window
        return cls(prior, **{"likelihood_window": window, **AUTHORS, **settings})

    def init(self) -> MixtureState:
        """One task, θ(T_1) = θ*, and nothing seen."""
        pairs = 2 * self.k
        own = pairs if self.memory == "own" else None
        return fresh(first_state(self.prior, self.max_tasks, pairs, own))

    def model(self, state: MixtureState) -> Model:
        """θ(T*), the model of the most probable (or best-scoring) task."""
        return pick(self.prior, state.models, state.task)

    def model_in(self, state: MixtureState, slot: Int[Array, ""] | int) -> Model:
        """θ(T_i) of the task in a slot."""
        return pick(self.prior, state.models, jnp.asarray(slot))

    def task_numbers(self, state: MixtureState) -> Int[Array, " tasks"]:
        """A task has the number of its slot."""
        slots = jnp.arange(self.max_tasks, dtype=jnp.int32)
        return jnp.where(slots < state.n_tasks, slots, -1)

    def responsibilities(self, state: MixtureState) -> Float[Array, " tasks"]:
        """P_t(T_i) of every slot."""
        return state.responsibilities

    def report(self, after: MixtureState) -> dict[str, Array]:
        """The tasks' part of `Info`."""
        names = ("responsibilities", "task", "n_tasks", "spawned", "at_capacity", "fault")
        return {name: getattr(after, name) for name in names}

    def weighted(self, weight: Float[Array, ""]) -> Mixture:
        """With steps of the length for that weight, but of no more than the prior's own (``step_scale`` of one)."""
        scale = jnp.minimum(self.step_scale * weight, jnp.maximum(self.step_scale, 1.0))
        return eqx.tree_at(lambda learner: learner.step_scale, self, scale)

    def learn(self, state: MixtureState, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> MixtureState:
        """One EM iteration; the paper's rule waits until 2k pairs have been seen."""
        return self.advance(jnp.ones((), bool), state, x, y)[1]

    def advance(
        self, valid: Bool[Array, ""], state: MixtureState, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> tuple[Array, MixtureState]:
        """Loss and next state. Only the models that learn are written, since the stack of models is large."""
        pushed = eqx.tree_at(lambda s: (s.recent, s.step), state, (state.recent.push(x, y), state.step + 1))
        ready = (self.memory == "own") | (jnp.sum(pushed.recent.weight) >= 2 * self.k)
        loss, after = self._iterate(pushed, valid & ready)
        false, none = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
        quiet = eqx.tree_at(lambda s: (s.spawned, s.at_capacity, s.fault), pushed, (false, false, none))
        models = after.models
        after, quiet, before = (eqx.tree_at(lambda s: s.models, s, None) for s in (after, quiet, state))
        kept = jax.tree.map(
            lambda new, still, old: jnp.where(valid, jnp.where(ready, new, still), old), after, quiet, before
        )
        return loss, eqx.tree_at(lambda s: s.models, kept, models, is_leaf=lambda leaf: leaf is None)

    # An iteration has no branches: results that do not apply are computed and not selected. XLA copies
    # whatever enters a branch, and the stack of models is large.

    def _iterate(self, state: MixtureState, learns: Bool[Array, ""]) -> tuple[Array, MixtureState]:
        """Loss of the prediction of the newest pair, and one EM iteration; the models change only if ``learns``."""
        scored = self._scored(state)
        proposed = self._proposed(state, scored)
        state, assigned = self._assigned(state, scored, proposed, learns)
        return scored.loss, self._learned(state, scored, proposed, assigned, learns)

    def _scored(self, state: MixtureState) -> Scored:
        """Log-likelihood of the newest pairs under every task, and the prior over tasks."""
        prior = self.prior
        log_counts, counted = restarted(state.log_counts, state.counted, self.refresh)
        log_prior, log_prior_new = self._log_prior(state, log_counts, counted)
        log_prior = jnp.where(jnp.arange(self.max_tasks) < state.n_tasks, log_prior, -jnp.inf)

        points = state.recent.last(max(self.likelihood_window, self.candidate_window or 0))
        outputs = task_outputs(prior, state.models, points.x)
        loss = prior.likelihood.loss(outputs[state.task, -1], points.y[-1])  # no second forward pass
        scores = jax.vmap(lambda out: point_scores(prior, out, points, self.score))(outputs)
        log_likelihood = self._log_likelihood(scores[:, -self.likelihood_window :])
        return Scored(points, log_prior, log_prior_new, scores, log_likelihood, loss, log_counts, counted)

    def _proposed(self, state: MixtureState, scored: Scored) -> Proposed:
        """The candidate θ_c, judged on pairs that it was not fitted to; it must win against every task."""
        prior, points = self.prior, scored.points
        support, judge = candidate_pairs(
            state.recent, points, self.k, self.candidate_window, self.judge == "held_out"
        )
        outputs = adapted_outputs(prior.model, prior.inner_rate, prior.likelihood, support, points.x)
        scores = point_scores(prior, outputs, points, self.score)
        log_joint = self._log_likelihood(scored.scores[:, judge]) + scored.log_prior
        log_joint_new = self._log_likelihood(scores[judge]) + scored.log_prior_new
        seen = jnp.sum(state.recent.weight) >= (self.candidate_window or 2 * self.k)
        wins = seen & (log_joint_new > jnp.max(log_joint) + self.margin)
        full = state.n_tasks == self.max_tasks
        makes_room = self.at_capacity != "refuse" and self.max_tasks > 1  # the only task must stay
        spawned = wins if makes_room else wins & ~full
        return Proposed(support, scores, log_joint, log_joint_new, wins, spawned)

    def _assigned(
        self, state: MixtureState, scored: Scored, proposed: Proposed, learns: Bool[Array, ""]
    ) -> tuple[MixtureState, Assigned]:
        """Task probabilities: over the tasks there are, or with the new one if it joins. A full mixture makes room."""
        slots, hard = jnp.arange(self.max_tasks), self.assignment == "hard"
        full = state.n_tasks == self.max_tasks
        state, log_counts, spare = make_room(
            self.prior,
            state,
            scored.log_counts,
            proposed.spawned & full & learns,
            merging=self.at_capacity == "merge",
        )
        slot = jnp.where(full, spare, state.n_tasks)
        without_new = scored.log_likelihood + scored.log_prior
        with_new = jnp.where(slots == slot, proposed.log_joint_new, proposed.log_joint)
        responsibilities = jnp.where(proposed.spawned, e_step(with_new, hard), e_step(without_new, hard))
        log_joint = jnp.where(proposed.spawned, with_new, without_new)
        begun = proposed.spawned & (slots == slot)  # its slot may still hold the count of an evicted task
        log_counts = log_counts_after(jnp.where(begun, NOTHING_COUNTED, log_counts), log_joint, hard)
        most_probable = jnp.argmax(responsibilities).astype(jnp.int32)
        return state, Assigned(slot, responsibilities, log_counts, most_probable)

    def _learned(
        self, state: MixtureState, scored: Scored, proposed: Proposed, assigned: Assigned, learns: Array
    ) -> MixtureState:
        """The M-step: every task by its responsibility; a new task takes its first step with the others."""
        prior, spawned, used = self.prior, proposed.spawned, jnp.arange(self.max_tasks) < state.n_tasks
        full = state.n_tasks == self.max_tasks
        if state.memory is None:
            models = new_task(prior, state.models, assigned.slot, spawned & learns, proposed.support)
            recent, weights = state.recent.last(self.k), assigned.responsibilities * learns
            models, fault = m_step_shared(prior, models, recent, weights, self.step_scale)
            memory = None
        else:
            best_score = jnp.max(jnp.where(used[:, None], scored.scores, -jnp.inf), axis=0)
            explained = proposed.scores > best_score
            memory = own_pairs(state.memory, assigned.most_probable, state.recent, spawned, explained)
            models, fault = m_step_own(
                prior, state.models, memory, assigned.most_probable, self.k, self.step_scale, learns
            )
        best = jnp.argmax(jnp.where(used, scored.log_likelihood, -jnp.inf))
        best = jnp.where(spawned, assigned.slot, best).astype(jnp.int32)
        return MixtureState(
            models=models,
            recent=state.recent,
            memory=memory,
            log_counts=assigned.log_counts,
            counted=scored.counted + 1,
            responsibilities=assigned.responsibilities,
            last_used=state.last_used.at[assigned.most_probable].set(state.step),
            step=state.step,
            task=assigned.most_probable if self.predict_with == "most_probable" else best,
            n_tasks=jnp.where(spawned & ~full, state.n_tasks + 1, state.n_tasks),
            spawned=spawned,
            at_capacity=proposed.wins & full,
            fault=fault,
        )

    def _log_prior(self, state: MixtureState, log_counts: Array, counted: Array) -> tuple[Array, Array]:
        """log P(T_i) of every slot and of a new task."""
        if self.task_prior == "uniform":
            return uniform_log_prior(self.max_tasks)
        if self.task_prior == "crp":
            return crp_log_prior(log_counts, counted, self.alpha)
        return sticky_log_prior(state.responsibilities, state.n_tasks, self.stay)

    def _log_likelihood(self, scores: Array) -> Array:
        """Score of a window of pairs, over the temperature: a mean of losses, a sum of log densities."""
        reduce = jnp.mean if self.score == "loss" else jnp.sum
        total = reduce(scores, axis=-1) / self.temperature
        # Whatever a model predicts, the responsibilities must sum to one: NaN and infinities are limited.
        return jnp.clip(jnp.where(jnp.isnan(total), -_MOST, total), -_MOST, _MOST)
