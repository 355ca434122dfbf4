"""The parts of online expectation maximisation: the prior over tasks, the E-step, the candidate and the M-step.

`mole.online.mole` puts them together; equation and section numbers are those of Nagabandi, Finn, Levine (2019).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Bool, Float, Int, Model, Pairs, Window
from mole.learning.inner import adapt
from mole.learning.prior import MetaPrior
from mole.online.base import parameters, with_parameters
from mole.online.guard import guarded_adapt
from mole.online.stack import NOTHING_COUNTED, in_place, put

__all__ = [
    "MOST_COUNTED",
    "Assigned",
    "Proposed",
    "Scored",
    "candidate_pairs",
    "crp_log_prior",
    "e_step",
    "log_counts_after",
    "m_step_own",
    "m_step_shared",
    "new_task",
    "point_scores",
    "restarted",
    "sticky_log_prior",
    "task_outputs",
    "uniform_log_prior",
]

MOST_COUNTED = 2**22
"""Steps after which counts in float32 are halved: from 2^24 on, adding one changes nothing."""
_NEGLIGIBLE = 2.0**-24
"""Responsibility below which a task rests: its step is lost in the rounding of that of a wholly responsible task."""


class Scored(NamedTuple):
    """What the existing tasks say about the recent pairs.

    Attributes:
        points: the newest ``n`` pairs, the newest last.
        log_prior: log P(T_i), −∞ for unused slots.
        log_prior_new: log P(T_new).
        scores: of every pair under every task, see `point_scores`.
        log_likelihood: of the pairs of the E-step, over the temperature.
        loss: of the prediction that was made of the newest pair.
        log_counts: log n_i of the CRP, after a restart if one was due.
        counted: m of the CRP, likewise.
    """

    points: Pairs
    log_prior: Float[Array, " tasks"]
    log_prior_new: Float[Array, ""]
    scores: Float[Array, "tasks n"]
    log_likelihood: Float[Array, " tasks"]
    loss: Float[Array, ""]
    log_counts: Float[Array, " tasks"]
    counted: Float[Array, ""]


class Proposed(NamedTuple):
    """A candidate for a new task, and whether it joins.

    Attributes:
        support: pairs that it is fitted to.
        scores: of the recent pairs under it.
        log_joint: of the existing tasks, on the pairs that the candidate is judged on.
        log_joint_new: of the candidate on the same pairs.
        wins: whether it beats every task by the margin.
        spawned: whether it joins; it does not if it wins and there is no room.
    """

    support: Window
    scores: Float[Array, " n"]
    log_joint: Float[Array, " tasks"]
    log_joint_new: Float[Array, ""]
    wins: Bool[Array, ""]
    spawned: Bool[Array, ""]


class Assigned(NamedTuple):
    """Result of the E-step.

    Attributes:
        slot: where a new task is put if it joins.
        responsibilities: P_t(T_i), the new task's included if it joins.
        log_counts: log n_i of the CRP with this step.
        most_probable: slot of the largest responsibility.
    """

    slot: Int[Array, ""]
    responsibilities: Float[Array, " tasks"]
    log_counts: Float[Array, " tasks"]
    most_probable: Int[Array, ""]


# The counts n_i of the Chinese restaurant are sums of responsibilities, and a task that explains one pair badly has a
# responsibility such as e^-110, which float32 rounds to zero. log 0 would then forbid the task until the next restart,
# while the paper's rule recalls it as soon as it explains the data well. So the counts are kept as logarithms.


def crp_log_prior(
    log_counts: Float[Array, " tasks"], counted: Float[Array, ""], alpha: Float[Array, ""]
) -> tuple[Float[Array, " tasks"], Float[Array, ""]]:
    """Chinese restaurant process: log n_i/(m+α) of each task and log α/(m+α) of a new one.

    Before anything is counted all are equal; α = 0 never gives a new task.
    """
    # Nothing is counted before the first step and after a restart: the priors are then equal (the authors' program).
    fresh = counted == 0
    total = jnp.log(jnp.where(fresh, 1.0, counted + alpha))
    new = jnp.where(fresh & (alpha > 0), 0.0, jnp.log(alpha) - total)
    return jnp.where(fresh, 0.0, log_counts - total), new


def log_counts_after(
    log_counts: Float[Array, " tasks"], log_joint: Float[Array, " tasks"], hard: bool
) -> Float[Array, " tasks"]:
    """log(n_i + P_t(T_i)) from log n_i and the logarithms that the E-step normalises."""
    # From the logarithms, not from the responsibilities: those are already rounded to zero where it matters.
    if hard:
        chosen = jnp.arange(log_joint.shape[0]) == jnp.argmax(log_joint)
        log_responsibilities = jnp.where(chosen, 0.0, -jnp.inf)
    else:
        log_responsibilities = jax.nn.log_softmax(log_joint)
    return jnp.logaddexp(log_counts, log_responsibilities)


def restarted(
    log_counts: Float[Array, " tasks"], counted: Float[Array, ""], refresh: int | None
) -> tuple[Float[Array, " tasks"], Float[Array, ""]]:
    """log n_i and m of the CRP, from zero again after ``refresh`` counted steps.

    With None they never restart. Both are then halved before float32 would lose the next count; their ratios stay.
    """
    if refresh is None:
        halve = counted >= MOST_COUNTED
        return log_counts - jnp.where(halve, jnp.log(2.0), 0.0), counted * jnp.where(halve, 0.5, 1.0)
    restart = counted >= refresh
    return jnp.where(restart, NOTHING_COUNTED, log_counts), jnp.where(restart, 0.0, counted)


def sticky_log_prior(
    belief: Float[Array, " tasks"], n_tasks: Int[Array, ""], stay: Float[Array, ""]
) -> tuple[Float[Array, " tasks"], Float[Array, ""]]:
    """The task stays with probability ``stay``; the others and a new one share the rest equally.

    Args:
        belief: the responsibilities of the step before. Soft ones make the E-step the forward recursion of a hidden
            Markov model, in which weak evidence adds up over steps; hard ones forget it at every step.
        n_tasks: tasks in use.
        stay: probability of staying.
    """
    # The other tasks and a new one are as many as there are tasks.
    leave = (1.0 - stay) / n_tasks.astype(jnp.float32)
    return jnp.log(stay * belief + leave * (1.0 - belief)), jnp.log(leave)


def uniform_log_prior(slots: int) -> tuple[Float[Array, " tasks"], Float[Array, ""]]:
    """No prior: every task, and a new one, is as probable as any other."""
    return jnp.zeros((slots,)), jnp.zeros(())


def point_scores(
    prior: MetaPrior, outputs: Float[Array, "n out"], points: Pairs, score: str
) -> Float[Array, " n"]:
    """Log density (or, for ``score="loss"``, minus the loss) of each pair; zero for pairs not yet seen."""
    if score == "loss":
        return -jax.vmap(prior.likelihood.loss)(outputs, points.y) * points.weight
    log_prob = jax.vmap(lambda o, y: prior.likelihood.log_prob(o, y, prior.residual_scale))
    return log_prob(outputs, points.y) * points.weight


def task_outputs(prior: MetaPrior, models: Model, x: Float[Array, "n dx"]) -> Float[Array, "tasks n out"]:
    """Raw outputs of every task's model."""
    return jax.vmap(lambda arrays: jax.vmap(with_parameters(prior.model, arrays))(x))(models)


def candidate_pairs(
    recent: Pairs, points: Pairs, window: int, candidate_window: int | None, held_out: bool = True
) -> tuple[Window, np.ndarray]:
    """The pairs that a new task is fitted to, and the places in ``points`` of those that it is judged on.

    Without ``held_out`` (an ablation) it is judged on the same pairs, and fitted to them.
    """
    n = points.x.shape[0]
    if candidate_window is None:
        # The paper: fitted to the older k of the last 2k pairs, W_old, and judged on the newer ones.
        start = 0 if held_out else recent.x.shape[0] - window
        return Window(recent.x[start : start + window], recent.y[start : start + window]), np.arange(n)
    # Fitted and judged pairs alternate, so that both halves are as new: a task that has just begun has few pairs.
    judge = np.arange(n - candidate_window + 1, n, 2)
    fit = judge - 1 if held_out else judge
    return Window(points.x[fit], points.y[fit]), judge


def e_step(log_joint: Float[Array, " tasks"], hard: bool) -> Float[Array, " tasks"]:
    """Task probabilities from log-likelihood plus log-prior; all on the best one if ``hard``."""
    if hard:
        return jax.nn.one_hot(jnp.argmax(log_joint), log_joint.shape[0])
    return jax.nn.softmax(log_joint)


def m_step_shared(
    prior: MetaPrior,
    models: Model,
    recent: Pairs,
    responsibilities: Float[Array, " tasks"],
    step_scale: Array,
) -> tuple[Model, Int[Array, ""]]:
    """Every task takes one step on the same pairs, θ(T_i) ← θ(T_i) − s · P_t(T_i) · β ∘ ∇L(θ(T_i), W_new).

    Tasks whose responsibility is below the precision of float32 are left out, and cost nothing.

    Returns:
        The stack of models, and the faults of all steps (bits of `mole.online.Fault`).
    """
    order = jnp.argsort(-responsibilities)  # those that learn come first, so that the loop ends after them

    def one(slot: Array, model: Model) -> tuple[Model, Array]:
        scale = step_scale * responsibilities[slot]
        return guarded_adapt(model, prior.inner_rate, prior.likelihood, recent.x, recent.y, scale=scale)

    return in_place(prior, models, order, jnp.sum(responsibilities > _NEGLIGIBLE), one)


def m_step_own(
    prior: MetaPrior,
    models: Model,
    memory: Pairs,
    task: Int[Array, ""],
    window: int,
    step_scale: Array,
    learns: Bool[Array, ""] | bool = True,
) -> tuple[Model, Int[Array, ""]]:
    """One task learns from the pairs that it owns; the others stay as they are.

    Until the task owns ``window`` pairs its model is θ* after one full inner step on them. From then on it takes a
    small step, ``step_scale`` times the inner rate, from its present model. Without ``learns`` nothing changes.

    Returns:
        The stack of models, and the fault of the step (bits of `mole.online.Fault`).
    """
    own = Pairs(*(field[task] for field in memory))
    # θ* was meta-trained for exactly one full step; repeated full steps would overwrite an old task.
    young = jnp.sum(own.weight) < window

    current = jax.tree.map(lambda a: a[task], models)
    start = jax.tree.map(lambda a, b: jnp.where(young, a, b), parameters(prior.model), current)
    adapted, fault = guarded_adapt(
        with_parameters(prior.model, start),
        prior.inner_rate,
        prior.likelihood,
        own.x,
        own.y,
        weights=own.weight,
        scale=jnp.where(young, 1.0, step_scale),
    )
    # The one model is selected and not the stack, which XLA would copy.
    chosen = jax.tree.map(lambda new, old: jnp.where(learns, new, old), parameters(adapted), current)
    return put(models, task, chosen), fault


def new_task(
    prior: MetaPrior, models: Model, slot: Int[Array, ""], spawned: Bool[Array, ""], support: Window
) -> Model:
    """Put θ_c = θ* − β ∘ ∇L(θ*, support) in ``slot`` if ``spawned``."""

    def one(slot: Array, model: Model) -> tuple[Model, Array]:
        return adapt(prior.model, prior.inner_rate, prior.likelihood, *support), jnp.int32(0)

    # A loop of one turn or none: a branch would copy the stack.
    return in_place(prior, models, slot[None], spawned.astype(jnp.int32), one)[0]
