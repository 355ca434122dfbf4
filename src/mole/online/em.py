"""The parts of online expectation maximisation: state, prior over tasks, E-step and M-step.

`mole.online.mole` puts them together; equation and section numbers are those of Nagabandi, Finn, Levine (2019).
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Bool, Float, Int, Model, Window
from mole.inner import adapt
from mole.online.base import Pairs, parameters, with_parameters
from mole.online.checks import MOST_COUNTED
from mole.online.guard import guarded_adapt
from mole.prior import MetaPrior

__all__ = [
    "MixtureState",
    "candidate_pairs",
    "crp_log_prior",
    "e_step",
    "first_state",
    "m_step_own",
    "m_step_shared",
    "new_task",
    "own_pairs",
    "pick",
    "point_scores",
    "remember",
    "restarted",
    "stack_models",
    "sticky_log_prior",
    "task_outputs",
    "uniform_log_prior",
]

_NEGLIGIBLE = 2.0**-24
"""Responsibility below which a task rests: its step is lost in the rounding of that of a wholly responsible task."""


class MixtureState(eqx.Module):
    """State of a `Mixture`: stacked models with bookkeeping; slots from ``n_tasks`` on are unused."""

    models: Model
    recent: Pairs
    memory: Pairs | None
    counts: Float[Array, " tasks"]
    counted: Float[Array, ""]
    responsibilities: Float[Array, " tasks"]
    last_used: Int[Array, " tasks"]
    step: Int[Array, ""]
    task: Int[Array, ""]
    n_tasks: Int[Array, ""]
    spawned: Bool[Array, ""]
    at_capacity: Bool[Array, ""]
    fault: Int[Array, ""]


def first_state(prior: MetaPrior, tasks: int, pairs: int, memory: int | None) -> MixtureState:
    """One task, θ(T_1) = θ*, and nothing seen.

    Args:
        prior: gives θ*.
        tasks: slots.
        pairs: of the stream that are kept.
        memory: pairs that each task owns; None if all tasks learn from the stream's.
    """
    zero, false = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    return MixtureState(
        models=stack_models(prior, tasks),
        recent=Pairs.empty(prior, pairs),
        memory=None if memory is None else Pairs.empty(prior, memory, tasks),
        counts=jnp.zeros((tasks,)),
        counted=jnp.zeros(()),
        responsibilities=jax.nn.one_hot(0, tasks),
        last_used=jnp.zeros((tasks,), jnp.int32),
        step=zero,
        task=zero,
        n_tasks=zero + 1,
        spawned=false,
        at_capacity=false,
        fault=zero,
    )


def crp_log_prior(
    counts: Float[Array, " tasks"], counted: Float[Array, ""], alpha: Float[Array, ""]
) -> tuple[Float[Array, " tasks"], Float[Array, ""]]:
    """Chinese restaurant process: log n_i/(m+α) of each task and log α/(m+α) of a new one.

    Before anything is counted all are equal; α = 0 never gives a new task.
    """
    fresh = counted == 0
    total = jnp.log(jnp.where(fresh, 1.0, counted + alpha))
    new = jnp.where(fresh & (alpha > 0), 0.0, jnp.log(alpha) - total)
    return jnp.where(fresh, 0.0, jnp.log(counts) - total), new


def restarted(
    counts: Float[Array, " tasks"], counted: Float[Array, ""], refresh: int | None
) -> tuple[Float[Array, " tasks"], Float[Array, ""]]:
    """n_i and m of the CRP, from zero again after ``refresh`` counted steps.

    None: never; but both are halved before float32 would stop counting, so that their ratios stay and new counts count.
    """
    if refresh is None:
        share = jnp.where(counted >= MOST_COUNTED, 0.5, 1.0)
        return counts * share, counted * share
    restart = counted >= refresh
    return jnp.where(restart, 0.0, counts), jnp.where(restart, 0.0, counted)


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
        start = 0 if held_out else recent.x.shape[0] - window
        return Window(recent.x[start : start + window], recent.y[start : start + window]), np.arange(n)
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

    Tasks whose responsibility is below the precision of float32 rest, and cost nothing.
    """
    order = jnp.argsort(-responsibilities)

    def one(slot: Array, model: Model) -> tuple[Model, Array]:
        scale = step_scale * responsibilities[slot]
        return guarded_adapt(model, prior.inner_rate, prior.likelihood, recent.x, recent.y, scale=scale)

    return _in_place(prior, models, order, jnp.sum(responsibilities > _NEGLIGIBLE), one)


def m_step_own(
    prior: MetaPrior,
    models: Model,
    memory: Pairs,
    task: Int[Array, ""],
    window: int,
    step_scale: Array,
    learns: Bool[Array, ""] | bool = True,
) -> tuple[Model, Int[Array, ""]]:
    """One task learns from the pairs that it owns; the others rest.

    Until it owns ``window`` pairs it is θ* adapted on them by one full inner step; from then on it takes a small step,
    ``step_scale`` times the inner rate, from where it is. Nobody learns unless ``learns``.
    """
    own = Pairs(*(field[task] for field in memory))
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
    chosen = jax.tree.map(lambda new, old: jnp.where(learns, new, old), parameters(adapted), current)
    return put(models, task, chosen), fault


def new_task(
    prior: MetaPrior, models: Model, slot: Int[Array, ""], spawned: Bool[Array, ""], support: Window
) -> Model:
    """Put θ_c = θ* − β ∘ ∇L(θ*, support) in ``slot`` if ``spawned``."""

    def one(slot: Array, model: Model) -> tuple[Model, Array]:
        return adapt(prior.model, prior.inner_rate, prior.likelihood, *support), jnp.int32(0)

    return _in_place(prior, models, slot[None], spawned.astype(jnp.int32), one)[0]


def _in_place(
    prior: MetaPrior,
    models: Model,
    slots: Int[Array, " n"],
    count: Int[Array, ""],
    one: Callable[[Array, Model], tuple[Model, Array]],
) -> tuple[Model, Int[Array, ""]]:
    """``one(slot, model)`` of the first ``count`` of ``slots``, one after another, written where the model was.

    With the faults of all of them.

    A loop of so many turns and no condition around the stack: XLA copies what goes into a branch, which took longer
    than the step itself, and on a CPU a vmap would stream all adapted models through memory at once.
    """

    def turn(place: Array, carry: tuple[Model, Array]) -> tuple[Model, Array]:
        models, faults = carry
        model, fault = one(slots[place], pick(prior, models, slots[place]))
        return put(models, slots[place], model), faults | fault

    return jax.lax.fori_loop(0, count, turn, (models, jnp.int32(0)))


def own_pairs(
    memory: Pairs, task: Int[Array, ""], recent: Pairs, spawned: Bool[Array, ""], explained: Bool[Array, " n"]
) -> Pairs:
    """Give the newest pair to ``task``; a new task owns those of the newest n pairs that it explains best."""
    length, n = memory.x.shape[1], explained.shape[0]
    own = Pairs(*(field[task] for field in remember(memory, task, recent.x[-1], recent.y[-1])))
    founding = recent.last(length)
    weight = jnp.concatenate([jnp.zeros((length - n,)), explained * founding.weight[-n:]])
    packed = jnp.argsort(
        weight, stable=True
    )  # a gap between owned pairs would push out an older one too early
    founding = Pairs(founding.x[packed], founding.y[packed], weight[packed])
    own = Pairs(*(jnp.where(spawned, a, b) for a, b in zip(founding, own, strict=True)))
    return Pairs(*(field.at[task].set(new) for field, new in zip(memory, own, strict=True)))


def remember(memory: Pairs, task: Int[Array, ""], x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Pairs:
    """Append a pair to the memory of one task."""
    own = Pairs(*(field[task] for field in memory)).push(x, y)
    return Pairs(*(field.at[task].set(new) for field, new in zip(memory, own, strict=True)))


def stack_models(prior: MetaPrior, tasks: int) -> Model:
    """``tasks`` copies of θ*'s parameters, stacked on a leading axis."""
    return jax.tree.map(lambda a: jnp.repeat(a[None], tasks, axis=0), parameters(prior.model))


def pick(prior: MetaPrior, models: Model, task: Int[Array, ""]) -> Model:
    """The model in slot ``task`` of a stack."""
    return with_parameters(prior.model, jax.tree.map(lambda a: a[task], models))


def put(models: Model, task: Int[Array, ""], model: Model) -> Model:
    """The stack with slot ``task`` replaced by ``model``'s parameters."""
    return jax.tree.map(lambda a, b: a.at[task].set(b), models, parameters(model))
