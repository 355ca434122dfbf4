"""MOLe: a mixture of models kept by online expectation maximisation (Nagabandi, Finn, Levine 2019, section 4.2).

For every pair of the stream:

1. E-step      P_t(T_i) ∝ exp(log-likelihood of the recent pairs under θ(T_i)) · P(T_i);
2. candidate   θ_c, one inner step from θ*, joins as a new task if it explains the data best of all;
3. M-step      each task takes one gradient step, scaled by its responsibility;
4. predict and plan with the most probable task.

Two rules are put together from the same parts. `Mixture.paper` is the paper's: the mean loss over the last k pairs
over a temperature, a Chinese-restaurant prior, soft responsibilities. `Mixture(prior)` is ours, the *pointwise rule*:
the newest pair alone under a calibrated Student-t, a sticky prior, hard assignment, a candidate judged on pairs it was
not fitted to and held to a margin; each task learns from the pairs it owns.
"""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array, Bool, Float, Model
from mole.lowrank import adapted_outputs
from mole.online.base import REACH, OnlineLearner, fresh
from mole.online.capacity import make_room
from mole.online.checks import AUTHORS, check_mixture, check_prior
from mole.online.em import (
    MixtureState,
    candidate_pairs,
    crp_log_prior,
    e_step,
    first_state,
    m_step_own,
    m_step_shared,
    new_task,
    own_pairs,
    pick,
    point_scores,
    restarted,
    sticky_log_prior,
    task_outputs,
    uniform_log_prior,
)
from mole.prior import MetaPrior

__all__ = ["Mixture"]

_MOST = 1e30


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
        candidate_window: a new task is fitted on the even-aged and judged on the odd-aged of so many newest pairs;
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
        ValueError: if a setting is out of range, with what is expected.
    """

    prior: MetaPrior
    temperature: Array
    stay: Array
    alpha: Array
    margin: Array
    step_scale: Array
    window: int = eqx.field(static=True)
    likelihood_window: int = eqx.field(static=True)
    score: Literal["log_prob", "loss"] = eqx.field(static=True)
    task_prior: Literal["sticky", "crp", "uniform"] = eqx.field(static=True)
    refresh: int | None = eqx.field(static=True)
    hard: bool = eqx.field(static=True)
    own_memory: bool = eqx.field(static=True)
    candidate_window: int | None = eqx.field(static=True)
    held_out: bool = eqx.field(static=True)
    max_tasks: int = eqx.field(static=True)
    when_full: Literal["refuse", "evict", "merge"] = eqx.field(static=True)
    predict_with: Literal["most_probable", "best_scoring"] = eqx.field(static=True)

    def __init__(
        self,
        prior: MetaPrior,
        *,
        window: int | None = None,
        likelihood_window: int = 1,
        score: Literal["log_prob", "loss"] = "log_prob",
        temperature: float = 1.0,
        task_prior: Literal["sticky", "crp", "uniform"] = "sticky",
        stay: float = 0.99,
        alpha: float = 1.0,
        refresh: int | None = None,
        assignment: Literal["hard", "soft"] = "hard",
        memory: Literal["own", "shared"] = "own",
        candidate_window: int | None = 8,
        judge: Literal["held_out", "fitted"] = "held_out",
        margin: float | None = None,
        step_scale: float = 0.1,
        max_tasks: int = 5,
        at_capacity: Literal["refuse", "evict", "merge"] = "evict",
        predict_with: Literal["most_probable", "best_scoring"] = "most_probable",
        reach: float = REACH,
    ) -> None:
        """See the class."""
        check_prior("Mixture", prior)
        window = prior.window if window is None else window
        margin = 5.0 + 2.0 * prior.target_size if margin is None else margin
        check_mixture(locals())
        self.prior, self.window, self.likelihood_window = prior, window, likelihood_window
        self.score, self.task_prior, self.refresh = score, task_prior, refresh
        self.hard, self.own_memory, self.when_full = assignment == "hard", memory == "own", at_capacity
        self.candidate_window, self.held_out = candidate_window, judge == "held_out"
        self.max_tasks, self.predict_with, self.reach = max_tasks, predict_with, reach
        numbers = (jnp.float32(value) for value in (temperature, stay, alpha, margin, step_scale))
        self.temperature, self.stay, self.alpha, self.margin, self.step_scale = numbers

    @classmethod
    def paper(cls, prior: MetaPrior, **settings: Any) -> Mixture:
        """The paper's rule with the authors' values (k of the prior, τ = 0.02, α = 1, R = 20, 5 tasks, full M-step).

        With learned inner rates, which are much larger than the authors' 0.01, the full M-step follows a change quickly
        but overwrites an old task before its end is noticed; ``step_scale`` near 0.1 recalls more and follows less.
        """
        check_prior("Mixture.paper", prior)
        window = settings.get("window", prior.window)
        return cls(prior, **{"likelihood_window": window, **AUTHORS, **settings})

    def init(self) -> MixtureState:
        """One task, θ(T_1) = θ*, and nothing seen."""
        pairs = 2 * self.window
        return fresh(first_state(self.prior, self.max_tasks, pairs, pairs if self.own_memory else None))

    def model(self, state: MixtureState) -> Model:
        """θ(T*), the model of the most probable (or best-scoring) task."""
        return pick(self.prior, state.models, state.task)

    def report(self, before: MixtureState, after: MixtureState) -> dict[str, Array]:
        """The tasks' part of `Info`."""
        names = ("responsibilities", "task", "n_tasks", "spawned", "at_capacity", "fault")
        return {name: getattr(after, name) for name in names}

    def learn(self, state: MixtureState, x: Float[Array, " dx"], y: Float[Array, " dy"]) -> MixtureState:
        """One EM iteration; the paper's rule waits until 2k pairs have been seen."""
        return self.advance(jnp.ones((), bool), state, x, y)[1]

    def advance(
        self, valid: Bool[Array, ""], state: MixtureState, x: Float[Array, " dx"], y: Float[Array, " dy"]
    ) -> tuple[Array, MixtureState]:
        """Loss, and the state after. Only models that learn are touched: the stack is large, all else is small."""
        pushed = eqx.tree_at(lambda s: (s.recent, s.step), state, (state.recent.push(x, y), state.step + 1))
        ready = self.own_memory | (jnp.sum(pushed.recent.weight) >= 2 * self.window)
        loss, after = self._iterate(pushed, valid & ready)
        false, none = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
        quiet = eqx.tree_at(lambda s: (s.spawned, s.at_capacity, s.fault), pushed, (false, false, none))
        models, after, quiet, before = after.models, *(_without_models(s) for s in (after, quiet, state))
        kept = jax.tree.map(
            lambda new, still, old: jnp.where(valid, jnp.where(ready, new, still), old), after, quiet, before
        )
        return loss, eqx.tree_at(lambda s: s.models, kept, models, is_leaf=lambda leaf: leaf is None)

    def _iterate(self, state: MixtureState, learns: Bool[Array, ""]) -> tuple[Array, MixtureState]:
        """Loss of the prediction of the newest pair, and one EM iteration; the models change only if ``learns``."""
        prior, slots = self.prior, jnp.arange(self.max_tasks)
        used = slots < state.n_tasks
        counts, counted = restarted(state.counts, state.counted, self.refresh)
        log_prior, log_prior_new = self._log_prior(state, counts, counted)
        log_prior = jnp.where(used, log_prior, -jnp.inf)

        # E-step over the tasks there are.
        points = state.recent.last(max(self.likelihood_window, self.candidate_window or 0))
        outputs = task_outputs(prior, state.models, points.x)
        loss = prior.likelihood.loss(outputs[state.task, -1], points.y[-1])
        scores = jax.vmap(lambda out: point_scores(prior, out, points, self.score))(outputs)
        log_likelihood = self._log_likelihood(scores[:, -self.likelihood_window :])
        without_new = e_step(log_likelihood + log_prior, self.hard)

        # The candidate is judged on pairs that it was not fitted to, and must win.
        support, judge = candidate_pairs(
            state.recent, points, self.window, self.candidate_window, self.held_out
        )
        adapted = adapted_outputs(prior.model, prior.inner_rate, prior.likelihood, support, points.x)
        scores_new = point_scores(prior, adapted, points, self.score)
        judged = self._log_likelihood(scores[:, judge]) + log_prior
        judged_new = self._log_likelihood(scores_new[judge]) + log_prior_new
        seen = jnp.sum(state.recent.weight) >= (self.candidate_window or 2 * self.window)
        wins = seen & (judged_new > jnp.max(judged) + self.margin)
        full = state.n_tasks == self.max_tasks
        spawned = wins if self.when_full != "refuse" and self.max_tasks > 1 else wins & ~full
        state, counts, spare = make_room(
            prior, state, counts, spawned & full & learns, merging=self.when_full == "merge"
        )
        slot = jnp.where(full, spare, state.n_tasks)
        with_new = e_step(jnp.where(slots == slot, judged_new, judged), self.hard)
        responsibilities = jnp.where(spawned, with_new, without_new)
        most_probable = jnp.argmax(responsibilities).astype(jnp.int32)

        # M-step; a new task takes its own first step with the others.
        if state.memory is None:
            models = new_task(prior, state.models, slot, spawned & learns, support)
            recent, weights = state.recent.last(self.window), responsibilities * learns
            models, fault = m_step_shared(prior, models, recent, weights, self.step_scale)
            memory = None
        else:
            explained = scores_new > jnp.max(jnp.where(used[:, None], scores, -jnp.inf), axis=0)
            memory = own_pairs(state.memory, most_probable, state.recent, spawned, explained)
            models, fault = m_step_own(
                prior, state.models, memory, most_probable, self.window, self.step_scale, learns
            )

        best = jnp.where(spawned, slot, jnp.argmax(jnp.where(used, log_likelihood, -jnp.inf)))
        return loss, MixtureState(
            models=models,
            recent=state.recent,
            memory=memory,
            counts=jnp.where(spawned & (slots == slot), 0.0, counts) + responsibilities,
            counted=counted + 1,
            responsibilities=responsibilities,
            last_used=state.last_used.at[most_probable].set(state.step),
            step=state.step,
            task=most_probable if self.predict_with == "most_probable" else best.astype(jnp.int32),
            n_tasks=jnp.where(spawned & ~full, state.n_tasks + 1, state.n_tasks),
            spawned=spawned,
            at_capacity=wins & full,
            fault=fault,
        )

    def _log_prior(self, state: MixtureState, counts: Array, counted: Array) -> tuple[Array, Array]:
        """log P(T_i) of every slot and of a new task."""
        if self.task_prior == "uniform":
            return uniform_log_prior(self.max_tasks)
        if self.task_prior == "crp":
            return crp_log_prior(counts, counted, self.alpha)
        return sticky_log_prior(state.responsibilities, state.n_tasks, self.stay)

    def _log_likelihood(self, scores: Array) -> Array:
        """Score of a window of pairs, over the temperature: a mean of losses, a sum of log densities."""
        reduce = jnp.mean if self.score == "loss" else jnp.sum
        total = reduce(scores, axis=-1) / self.temperature
        # Whatever a model says, the probabilities of an E-step have a sum.
        return jnp.clip(jnp.where(jnp.isnan(total), -_MOST, total), -_MOST, _MOST)


def _without_models(state: MixtureState) -> MixtureState:
    return eqx.tree_at(lambda s: s.models, state, None)
