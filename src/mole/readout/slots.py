"""The slots of a mixture of readouts: where tasks begin, become known, and make room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from mole._types import Array, Bool, Float, Int
from mole.online.capacity import age
from mole.online.em import MOST_COUNTED
from mole.readout.belief import Belief
from mole.readout.order import LabelOrder
from mole.readout.prior import ReadoutPrior

__all__ = ["ReadoutState", "chosen", "counted", "first_state", "founded", "placed"]

_LEADS = 0.75
"""Probability of all candidates together from which a step counts for the leading one."""


class ReadoutState(eqx.Module):
    """State of a `ReadoutMixture`; one slot is a task or a candidate.

    Attributes:
        beliefs: of every slot and rate of drift ``[slots, rates, ...]``.
        rate_scores: discounted log-likelihood of each rate, normalised ``[slots, rates]``.
        probability: of every slot, given all pairs seen ``[slots]``.
        led: pairs for which the slot led, each counted by its probability: the counts of the CRP ``[slots]``.
        kind: the belief of the prior that the slot began from ``[slots]``.
        task: number of the task, in order of discovery; −1 for a candidate or an unused slot ``[slots]``.
        used: whether there is anything in the slot ``[slots]``.
        last_led: step at which it last led ``[slots]``.
        switches: expected number of switches so far, and one more as the prior's (see ``steps``).
        steps: pairs seen, and ``switch_every`` more: the probability of a switch begins at 1 / ``switch_every``.
        kind_counts: tasks begun from each belief of the prior, plus one; zero forbids it ``[K]``.
        next_task: number of the next task.
        step: pairs seen.
        lead: slot of the most probable task.
        spawned: whether a candidate became a task at the last step.
        evicted: whether it took the place of an old task, or would have (``at_capacity="refuse"``).
        last: the last pair, normalised ``[dx + dy]``.
        still: number of pairs for which each of its numbers has been the same ``[dx + dy]``.
        order: whether labels come in runs; None for a regression.
    """

    beliefs: Belief
    rate_scores: Float[Array, "slots rates"]
    probability: Float[Array, " slots"]
    led: Float[Array, " slots"]
    kind: Int[Array, " slots"]
    task: Int[Array, " slots"]
    used: Bool[Array, " slots"]
    last_led: Int[Array, " slots"]
    switches: Float[Array, ""]
    steps: Float[Array, ""]
    kind_counts: Float[Array, " K"]
    next_task: Int[Array, ""]
    step: Int[Array, ""]
    lead: Int[Array, ""]
    spawned: Bool[Array, ""]
    evicted: Bool[Array, ""]
    last: Float[Array, " pair"]
    still: Int[Array, " pair"]
    order: LabelOrder | None = None


def first_state(
    prior: ReadoutPrior,
    slots: int,
    rates: int,
    switch_every: Array,
    kind_counts: Array,
    order: LabelOrder | None = None,
) -> ReadoutState:
    """One candidate, begun from the first belief, and nothing seen."""
    zero, none = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    first, width = jnp.arange(slots) == 0, prior.input_size + prior.target_size
    return ReadoutState(
        beliefs=jax.tree.map(lambda a: jnp.broadcast_to(a[0], (slots, rates, *a.shape[1:])), prior.beliefs),
        rate_scores=jnp.full((slots, rates), -jnp.log(float(rates)), jnp.float32),
        probability=first.astype(jnp.float32),
        led=jnp.zeros((slots,)),
        kind=jnp.zeros((slots,), jnp.int32),
        task=jnp.full((slots,), -1, jnp.int32),
        used=first,
        last_led=jnp.zeros((slots,), jnp.int32),
        # One switch in `switch_every` pairs, as if it had been seen: the prior of the rate of switches.
        switches=jnp.float32(1.0),
        steps=switch_every,
        kind_counts=kind_counts,
        next_task=zero,
        step=zero,
        lead=zero,
        spawned=none,
        evicted=none,
        last=jnp.full((width,), jnp.inf, jnp.float32),  # equal to no pair
        still=jnp.zeros((width,), jnp.int32),
        order=order,
    )


def placed(
    state: ReadoutState, newborn: Belief, scores: Array, probability: Array, valid: Array
) -> ReadoutState:
    """The state with the tasks that began at this step, in unused slots or those of the least probable candidates.

    Args:
        state: with the step counted.
        newborn: beliefs ``[K, rates, ...]`` after the pair.
        scores: of their rates of drift ``[K, rates]``.
        probability: of the new tasks ``[K]``; those of all slots are then normalised together.
        valid: whether beliefs are written at all.
    """
    # A Python loop: a second new task must not take the slot of the first, and K is small.
    slots = jnp.arange(state.probability.shape[0])
    for kind in range(probability.shape[0]):
        slot = _spare(state)
        at = slots == slot

        def put(stack: Array, new: Array, slot: Array = slot, kind: int = kind) -> Array:
            return stack.at[slot].set(jnp.where(valid, new[kind], stack[slot]))

        state = eqx.tree_at(
            lambda s: (s.beliefs, s.rate_scores, s.probability, s.led, s.kind, s.task, s.used, s.last_led),
            state,
            (
                jax.tree.map(put, state.beliefs, newborn),
                put(state.rate_scores, scores),
                put(state.probability, probability),
                jnp.where(at, 0.0, state.led),
                jnp.where(at, kind, state.kind),
                jnp.where(at, -1, state.task),
                # A task whose belief is forbidden has probability zero: its slot counts as unused.
                jnp.where(at, probability[kind] > 0, state.used),
                jnp.where(at, state.step, state.last_led),
            ),
        )
    return eqx.tree_at(lambda s: s.probability, state, state.probability / jnp.sum(state.probability))


def _spare(state: ReadoutState) -> Array:
    """An unused slot, or the least probable candidate that did not begin at this step."""
    candidate = state.used & (state.task < 0) & ((state.last_led != state.step) | (state.led > 0))
    # By value: unused slots (−1), candidates by their probability, then what must stay (2).
    value = jnp.where(candidate, state.probability, 2.0)
    return jnp.argmin(jnp.where(state.used, value, -1.0))


Room = Callable[[ReadoutState, Array], tuple[ReadoutState, Array, Array]]
"""(state, whether room is needed) → state, the slot that is free, whether one is: see `mole.readout.capacity`."""


def counted(state: ReadoutState) -> ReadoutState:
    """The state with its sums halved before float32 would lose the next addend; only their ratios are used."""
    share = jnp.where(state.steps >= MOST_COUNTED, 0.5, 1.0)
    known = state.task >= 0
    often = jnp.where(jnp.max(jnp.where(known, state.led, 0.0)) >= MOST_COUNTED, 0.5, 1.0)
    return eqx.tree_at(
        lambda s: (s.switches, s.steps, s.led),
        state,
        (state.switches * share, state.steps * share, jnp.where(known, state.led * often, state.led)),
    )


def founded(
    state: ReadoutState, max_tasks: int, found_after: Array, *, refuse: bool = False, room: Room | None = None
) -> ReadoutState:
    """Count the step for the slot that leads, and make it a task once it has led for long enough.

    Candidates that began a few pairs apart are hypotheses about when the same task began, and share its probability. So
    the probability of all candidates together counts, and the new task takes it over.

    Args:
        state: with the step counted.
        max_tasks: most tasks; when one more is found, the one that has not led for longest is removed.
        found_after: number of leading steps after which a candidate becomes a task.
        refuse: whether the candidate stays a candidate instead, when ``max_tasks`` are known.
        room: what is tried before a task is removed.
    """
    slots = jnp.arange(state.probability.shape[0])
    lead = jnp.argmax(state.probability).astype(jnp.int32)
    at, known = slots == lead, state.task >= 0
    unknown = jnp.sum(jnp.where(known, 0.0, state.probability))
    chance = jnp.where(known[lead], state.probability[lead], unknown)
    led = state.led + jnp.where(at & (known | (chance > _LEADS)), chance, 0.0)
    full = jnp.sum(known) >= max_tasks
    due = ~known[lead] & (led[lead] >= found_after)
    spawned = due & ~full if refuse else due
    freed, merged = jnp.zeros((), lead.dtype), jnp.zeros((), bool)
    if room is not None:  # before the new task is entered: merging must leave out the slot that leads
        state = eqx.tree_at(lambda s: (s.led, s.lead), state, (led, lead))
        state, freed, merged = room(state, spawned & full)
        led = state.led
    # The other candidates were hypotheses about the same task: they end, and their probability goes to it.
    guess = spawned & ~known & ~at
    probability = jnp.where(
        guess, 0.0, state.probability + jnp.where(at & spawned, unknown - state.probability, 0.0)
    )
    oldest = jnp.argmax(jnp.where(known & ~at, age(state.step, state.last_led), -1))
    oldest = jnp.where(merged, freed, oldest)
    gone = spawned & full & (slots == oldest)
    begun = jnp.where(jnp.arange(state.kind_counts.shape[0]) == state.kind[lead], 1.0, 0.0) * spawned
    state = eqx.tree_at(
        lambda s: (s.led, s.task, s.used, s.probability, s.last_led),
        state,
        (
            jnp.where(gone, 0.0, led),
            jnp.where(gone, -1, jnp.where(at & spawned, state.next_task, state.task)),
            state.used & ~gone & ~guess,
            jnp.where(gone, 0.0, probability) / (1.0 - jnp.sum(jnp.where(gone, probability, 0.0))),
            jnp.where(at, state.step, state.last_led),
        ),
    )
    return eqx.tree_at(
        lambda s: (s.next_task, s.lead, s.spawned, s.evicted, s.kind_counts),
        state,
        (
            state.next_task + spawned,
            lead,
            spawned,
            due & full,
            jnp.where(state.kind_counts > 0, state.kind_counts + begun, state.kind_counts),
        ),
    )


def chosen(valid: Array, new: Any, old: Any) -> Any:
    """A tree of the new values where ``valid``, and of the old ones elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(valid, a, b), new, old)
