"""Room in a full mixture: which task goes, or which two become one, when another would join."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array, Bool, Float, Int, Model, Pairs
from mole.learning.prior import MetaPrior
from mole.online.base import with_parameters
from mole.online.stack import MixtureState

__all__ = ["age", "closest", "least_recent", "make_room", "merge", "task_distances"]


def least_recent(state: MixtureState) -> Int[Array, ""]:
    """Slot of the task that has been unused for longest; not the one in use.

    Ages are differences of steps, so they stay right when the int32 counter overflows after 2³¹ steps.
    """
    slots = jnp.arange(state.last_used.shape[0])
    return jnp.argmax(jnp.where(slots == state.task, -1, age(state.step, state.last_used))).astype(jnp.int32)


def age(now: Int[Array, ""], then: Int[Array, "*any"]) -> Int[Array, "*any"]:
    """Steps since ``then``; the largest int32 if there are more than int32 can count."""
    steps = now - then
    return jnp.where(steps < 0, jnp.iinfo(jnp.int32).max, steps)


def make_room(
    prior: MetaPrior,
    state: MixtureState,
    log_counts: Float[Array, " tasks"],
    needed: Bool[Array, ""],
    *,
    merging: bool,
) -> tuple[MixtureState, Float[Array, " tasks"], Int[Array, ""]]:
    """The slot for a new task in a mixture whose slots are all in use, and the mixture without what was there.

    Args:
        prior: gives the scale of the errors that tasks make.
        state: of the mixture.
        log_counts: of the Chinese restaurant, restarted.
        needed: whether a task is going to join; nothing is merged otherwise.
        merging: whether the two closest tasks become one if they differ by less than the errors that they make (a
            distance below one, see `task_distances`). Else the least recently used task goes.

    Returns:
        The state and the counts, with two tasks merged if so, and the slot that is free for the new task.
    """
    if not merging:
        return state, log_counts, least_recent(state)

    # Under `cond`, unlike the rest of a step: distances of all tasks on all memories cost more than the step itself,
    # and a full mixture seldom makes room.
    def joined(_: None) -> tuple[MixtureState, Array, Array]:
        first, second, distance = closest(task_distances(prior, state))
        together, added = merge(prior, state, first, second)
        near = distance < 1.0
        kept = jax.tree.map(
            lambda a, b: jnp.where(near, a, b),
            (together, log_counts.at[first].set(jnp.logaddexp(log_counts[first], log_counts[second]))),
            (state, log_counts),
        )
        return *kept, jnp.where(near, added, least_recent(state))

    return jax.lax.cond(needed, joined, lambda _: (state, log_counts, least_recent(state)), None)


def task_distances(prior: MetaPrior, state: MixtureState) -> Float[Array, "tasks tasks"]:
    """How differently two tasks predict on their own data: mean squared difference over the pairs that either owns.

    The unit is the squared error of adapted models (``residual_scale``): below one, the predictions do not distinguish
    the tasks. Tasks without their own memories are compared on the last pairs of the stream. Two tasks that own no
    pairs are at distance zero. The distance of unused slots, and of a task from itself, is infinite.
    """
    tasks = state.log_counts.shape[0]
    pairs = _own_pairs(state)
    means = jax.vmap(lambda arrays: _means(prior, arrays, pairs.x))(state.models)  # [model, owner, n, dy]
    apart = (means[:, None] - means[None]) / prior.residual_scale[None, None, None, None]
    squared = jnp.sum(
        jnp.mean(apart**2, axis=-1) * pairs.weight[None, None], axis=-1
    )  # [model, model, owner]
    owned = jnp.sum(pairs.weight, axis=-1)
    places = jnp.arange(tasks)
    of_row = squared[places, :, places]  # model j against i, on what i owns
    distances = (of_row + of_row.T) / jnp.maximum(owned[:, None] + owned[None], 1.0)
    used = places < state.n_tasks
    told = used[:, None] & used[None] & (places[:, None] != places[None])
    return jnp.where(told, distances, jnp.inf)


def closest(
    distances: Float[Array, "tasks tasks"],
) -> tuple[Int[Array, ""], Int[Array, ""], Float[Array, ""]]:
    """The two tasks at the least distance, the lower slot first, and that distance."""
    place = jnp.argmin(distances)
    row, column = jnp.divmod(place, distances.shape[0])
    first, second = jnp.minimum(row, column), jnp.maximum(row, column)
    return first.astype(jnp.int32), second.astype(jnp.int32), distances[row, column]


def merge(
    prior: MetaPrior, state: MixtureState, first: Int[Array, ""], second: Int[Array, ""]
) -> tuple[MixtureState, Int[Array, ""]]:
    """The state with both tasks in the slot of the first, and the slot that is free now.

    The merged model is one of three: either task's, or the mean of their parameters weighted by owned pairs. It is the
    one whose predictions on both tasks' own pairs change least, so they change by at most the distance of the tasks.
    The memory has the newest pairs of both.
    """
    pairs = _own_pairs(state)
    one, two = (jax.tree.map(lambda a, s=slot: a[s], state.models) for slot in (first, second))
    mine, yours = (Pairs(*(field[slot] for field in pairs)) for slot in (first, second))
    share = jnp.sum(yours.weight) / jnp.maximum(jnp.sum(mine.weight) + jnp.sum(yours.weight), 1.0)
    mean = jax.tree.map(lambda a, b: a + share.astype(a.dtype) * (b - a), one, two)

    def change(arrays: Model) -> Array:
        total = jnp.zeros(())
        for before, own in ((one, mine), (two, yours)):
            moved = (_means(prior, arrays, own.x) - _means(prior, before, own.x)) / prior.residual_scale[None]
            total += jnp.sum(jnp.mean(moved**2, axis=-1) * own.weight)
        return jnp.where(jnp.isfinite(total), total, jnp.inf)

    # The mean of two networks need not be a good network: a hidden unit may mean different things in the two.
    best = jnp.argmin(jnp.stack([change(arrays) for arrays in (one, two, mean)]))
    chosen = jax.tree.map(lambda *choices: jnp.stack(choices)[best], one, two, mean)
    age_one, age_two = (age(state.step, state.last_used[slot]) for slot in (first, second))
    last = jnp.where(age_two < age_one, state.last_used[second], state.last_used[first])
    memory = state.memory
    if memory is not None:
        together = _interleaved(mine, yours)
        memory = Pairs(*(field.at[first].set(new) for field, new in zip(memory, together, strict=True)))
    changed = eqx.tree_at(
        lambda s: (s.models, s.memory, s.last_used),
        state,
        (
            jax.tree.map(lambda stack, new: stack.at[first].set(new), state.models, chosen),
            memory,
            state.last_used.at[first].set(last),
        ),
        is_leaf=lambda leaf: leaf is None,
    )
    return changed, second


def _own_pairs(state: MixtureState) -> Pairs:
    """The pairs of every task, or those of the stream for every task ``[tasks, n, ...]``."""
    if state.memory is not None:
        return state.memory
    tasks = state.log_counts.shape[0]
    return Pairs(*(jnp.broadcast_to(field[None], (tasks, *field.shape)) for field in state.recent))


def _means(prior: MetaPrior, arrays: Model, x: Float[Array, "*owners n dx"]) -> Float[Array, "*owners n dy"]:
    """Expected normalised targets of the model with these parameters."""
    model = with_parameters(prior.model, arrays)
    flat = jax.vmap(lambda one: prior.likelihood.mean(model(one)))(x.reshape(-1, x.shape[-1]))
    return flat.reshape(*x.shape[:-1], flat.shape[-1])


def _interleaved(one: Pairs, two: Pairs) -> Pairs:
    """The newest half of each, alternating; empty places come first."""
    # Pairs have no time stamps: which of the two tasks owns the newer ones is not known.
    half = one.weight.shape[0] // 2

    def woven(a: Array, b: Array) -> Array:
        return jnp.stack([a[-half:], b[-half:]], axis=1).reshape(2 * half, *a.shape[1:])

    both = Pairs(*(woven(a, b) for a, b in zip(one, two, strict=True)))
    packed = jnp.argsort(both.weight, stable=True)
    return Pairs(*(field[packed] for field in both))
