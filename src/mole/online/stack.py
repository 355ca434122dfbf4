"""The stacked models of a mixture and the pairs that each task owns: what is in the slots, and how they are written.

A mixture is one pytree with a leading axis of ``max_tasks`` slots, so that nothing is compiled anew when it grows.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array, Bool, Float, Int, Model, Pairs
from mole.learning.prior import MetaPrior
from mole.online.base import parameters, with_parameters

__all__ = [
    "NOTHING_COUNTED",
    "UPGRADES",
    "MixtureState",
    "first_state",
    "in_place",
    "own_pairs",
    "pick",
    "put",
    "remember",
    "stack_models",
]

NOTHING_COUNTED = -1e30
"""log n_i of a task that nothing was counted for: as good as log 0, and finite like all of a state."""


@np.errstate(divide="ignore")
def _log_counts(counts: np.ndarray) -> np.ndarray:
    return np.maximum(np.log(counts), counts.dtype.type(NOTHING_COUNTED))


UPGRADES = {".log_counts": (".counts", _log_counts)}  # log 0: an unused slot
"""Leaves that version 0.1 wrote in another form: end of the path → end of the path in its files, and the conversion."""


class MixtureState(eqx.Module):
    """State of a `Mixture`: stacked models with bookkeeping; slots from ``n_tasks`` on are unused.

    Attributes:
        models: parameters of every slot's model ``[tasks, ...]``.
        recent: the last 2k pairs of the stream.
        memory: the last 2k pairs that each task owns ``[tasks, 2k, ...]``; None if all learn from the stream's.
        log_counts: log n_i of the Chinese restaurant, `NOTHING_COUNTED` at first ``[tasks]``.
        counted: m, the steps counted.
        responsibilities: P_t(T_i) ``[tasks]``.
        last_used: step at which the slot was last the most probable ``[tasks]``.
        step: pairs seen.
        task: slot that predicts.
        n_tasks: slots in use.
        spawned: whether a task joined at the last step.
        at_capacity: whether one would have joined but every slot was in use.
        fault: of the last step, bits of `mole.online.Fault`.
    """

    models: Model
    recent: Pairs
    memory: Pairs | None
    log_counts: Float[Array, " tasks"]
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
        pairs: number of the stream's last pairs that are kept.
        memory: number of pairs that each task may own; None if all tasks learn from the stream's last pairs.
    """
    zero, false = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    return MixtureState(
        models=stack_models(prior, tasks),
        recent=Pairs.empty(prior.input_size, prior.target_size, pairs),
        memory=None if memory is None else Pairs.empty(prior.input_size, prior.target_size, memory, tasks),
        log_counts=jnp.full((tasks,), NOTHING_COUNTED, float),
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


def stack_models(prior: MetaPrior, tasks: int) -> Model:
    """``tasks`` copies of θ*'s parameters, stacked on a leading axis."""
    return jax.tree.map(lambda a: jnp.repeat(a[None], tasks, axis=0), parameters(prior.model))


def pick(prior: MetaPrior, models: Model, task: Int[Array, ""]) -> Model:
    """The model in slot ``task`` of a stack."""
    return with_parameters(prior.model, jax.tree.map(lambda a: a[task], models))


def put(models: Model, task: Int[Array, ""], model: Model) -> Model:
    """The stack with slot ``task`` replaced by ``model``'s parameters."""
    return jax.tree.map(lambda a, b: a.at[task].set(b), models, parameters(model))


def in_place(
    prior: MetaPrior,
    models: Model,
    slots: Int[Array, " n"],
    count: Int[Array, ""],
    one: Callable[[Array, Model], tuple[Model, Array]],
) -> tuple[Model, Int[Array, ""]]:
    """Replace the models in the first ``count`` of ``slots``, one after another, by what ``one`` makes of them.

    Args:
        prior: gives the structure of a model.
        models: parameters of all slots ``[tasks, ...]``.
        slots: slots ``[n]``, those to change first.
        count: how many of them to change.
        one: (slot, model) → the new model, and the fault of its step.

    Returns:
        The stack, and the faults of all steps together.
    """
    # A loop of `count` turns, without a branch around the stack: XLA copies whatever enters a branch, which
    # took longer than the step. On a CPU a vmap would stream all adapted models through memory at once.

    def turn(place: Array, carry: tuple[Model, Array]) -> tuple[Model, Array]:
        models, faults = carry
        model, fault = one(slots[place], pick(prior, models, slots[place]))
        return put(models, slots[place], model), faults | fault

    return jax.lax.fori_loop(0, count, turn, (models, jnp.int32(0)))


def remember(memory: Pairs, task: Int[Array, ""], x: Float[Array, " dx"], y: Float[Array, " dy"]) -> Pairs:
    """Append a pair to the memory of one task."""
    own = Pairs(*(field[task] for field in memory)).push(x, y)
    return Pairs(*(field.at[task].set(new) for field, new in zip(memory, own, strict=True)))


def own_pairs(
    memory: Pairs, task: Int[Array, ""], recent: Pairs, spawned: Bool[Array, ""], explained: Bool[Array, " n"]
) -> Pairs:
    """Give the newest pair to ``task``; a new task gets those of the newest n pairs that it explains best.

    Args:
        memory: pairs of every task ``[tasks, 2k, ...]``.
        task: slot of the owner.
        recent: the last 2k pairs of the stream.
        spawned: whether the owner joins at this step; what its slot held is then dropped.
        explained: whether the new task has the best score on each of the newest pairs ``[n]``, the newest last.
    """
    length, n = memory.x.shape[1], explained.shape[0]
    own = Pairs(*(field[task] for field in remember(memory, task, recent.x[-1], recent.y[-1])))
    # The pairs since the switch are among the newest; those that an old task explains better belong to it.
    founding = recent.last(length)
    weight = jnp.concatenate([jnp.zeros((length - n,)), explained * founding.weight[-n:]])
    # Owned pairs are moved to the end: an empty place between two would push an older one out too early.
    packed = jnp.argsort(weight, stable=True)
    founding = Pairs(founding.x[packed], founding.y[packed], weight[packed])
    own = Pairs(*(jnp.where(spawned, a, b) for a, b in zip(founding, own, strict=True)))
    return Pairs(*(field.at[task].set(new) for field, new in zip(memory, own, strict=True)))
