"""The programs that many learners with one prior run in: on a page of states, for the places that have a pair.

A program is compiled once for a prior and serves any number of keys and pairs. Pairs are laid in blocks in which no
place occurs twice; a block is gathered from the page, learns, and is put back in place.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mole._types import Array
from mole.learning.compiled import Layout, Structure, pack, unpack

__all__ = [
    "BLOCK",
    "COUNTS",
    "FIRST_PAGE",
    "NEWBORN",
    "PAGE",
    "UNUSED",
    "Figures",
    "Programs",
    "in_blocks",
    "page_and_slot",
    "page_programs",
    "put",
    "rounds_of",
    "take",
    "whole_pages",
]

PAGE, FIRST_PAGE = 256, 32
"""States of a page; of the first one there are fewer, since many fleets are small."""
UNUSED, NEWBORN = 0, 1
"""Two more slots of a page: one that padding writes to, and the state before the first pair, which is only read."""
BLOCK = 8
"""States that learn together: more of them do not stay in the cache, fewer are not worth a loop."""
COUNTS = 5
"""Figures of a pair beside mean and scale: loss, fault, task, number of tasks, and whether one was discovered."""


def page_and_slot(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which page places are ``[n]``, and where in it."""
    beyond = places - FIRST_PAGE
    later = beyond >= 0
    return np.where(later, 1 + beyond // PAGE, 0), 2 + np.where(later, beyond % PAGE, places)


def whole_pages(most: int) -> int:
    """So many states, rounded up to what some pages hold."""
    return FIRST_PAGE + max(0, -(-(most - FIRST_PAGE) // PAGE)) * PAGE


def rounds_of(places: np.ndarray) -> list[np.ndarray]:
    """The positions of the first occurrence of every place, then those of the second, and so on."""
    order = np.argsort(places, kind="stable")
    begins = np.flatnonzero(np.r_[True, np.diff(places[order]) != 0]) if len(places) else order
    rank = np.empty(len(places), int)
    rank[order] = np.arange(len(places)) - np.repeat(begins, np.diff(np.r_[begins, len(places)]))
    by_rank = np.argsort(rank, kind="stable")
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]) if len(places) else []


def in_blocks(places: np.ndarray) -> np.ndarray:
    """Positions in an order in which no block has a place twice, −1 where a block is not full."""
    rounds = rounds_of(places)
    return np.concatenate([np.pad(one, (0, -len(one) % BLOCK), constant_values=-1) for one in rounds])


class Figures(NamedTuple):
    """What learners predicted for pairs and did with them, one row a pair; see `mole.online.Info`.

    Attributes:
        mean, scale: of the predictions made before, ``[n, dy]`` in the unit that is learned.
        loss: ``[n]``.
        fault, task, n_tasks: ``[n]`` whole numbers.
        spawned: ``[n]`` truth values.
    """

    mean: np.ndarray
    scale: np.ndarray
    loss: np.ndarray
    fault: np.ndarray
    task: np.ndarray
    n_tasks: np.ndarray
    spawned: np.ndarray


class Programs(NamedTuple):
    """Compiled: of the learner's vectors, a page, a number of blocks, slots ``[n]``, and pairs ``[n, ...]``."""

    learn: Any
    predict: Any


@jax.jit
def take(page: list[Array], slots: Array) -> list[Array]:
    """The states in some slots of a page."""
    return [values[slots] for values in page]


@functools.partial(jax.jit, donate_argnums=0)
def put(page: list[Array], slots: Array, new: list[Array]) -> list[Array]:
    """The page with other states in some slots."""
    return [values.at[slots].set(some) for values, some in zip(page, new, strict=True)]


@functools.cache
def page_programs(structure: Structure, fixed: Layout, moving: Layout) -> Programs:
    """Programs for a page: shared by all that differ in numbers alone (`mole.estimators.step`)."""

    def forecast(whole: Any, state: list[Array], x: Array) -> Array:
        # As in `mole.estimators.step`: the barriers keep what XLA fuses, and so rounds, the same in both programs.
        state, x = jax.lax.optimization_barrier((state, x))
        return jax.lax.optimization_barrier(jnp.concatenate(whole.predict(unpack(moving, state), x)))

    def some(first: Array, *values: Array) -> list[Array]:
        return [jax.lax.dynamic_slice_in_dim(one, first, BLOCK) for one in values]

    @functools.partial(jax.jit, donate_argnums=1)
    def learn(
        learner: list[Array], page: list[Array], blocks: Array, slots: Array, x: Array, y: Array
    ) -> tuple[list[Array], Array]:
        whole = structure.join(unpack(fixed, learner))

        def one(state: list[Array], x: Array, y: Array) -> tuple[list[Array], Array]:
            expected = forecast(whole, state, x)
            after, info = whole.update(unpack(moving, state), x, y)
            counts = (info.loss, info.fault, info.task, info.n_tasks, info.spawned)
            counts = jnp.stack([count.astype(jnp.float32) for count in counts])
            return pack(moving, after), jnp.concatenate([expected, counts])

        def block(number: Array, carry: tuple[list[Array], Array]) -> tuple[list[Array], Array]:
            page, figures = carry
            at, *pair = some(number * BLOCK, slots, x, y)
            states, told = jax.vmap(one)([values[at] for values in page], *pair)
            page = [values.at[at].set(new) for values, new in zip(page, states, strict=True)]
            return page, jax.lax.dynamic_update_slice_in_dim(figures, told, number * BLOCK, 0)

        figures = jnp.zeros((len(slots), 2 * y.shape[1] + COUNTS))
        return jax.lax.fori_loop(0, blocks, block, (page, figures))

    @jax.jit
    def predict(learner: list[Array], page: list[Array], blocks: Array, slots: Array, x: Array) -> Array:
        whole = structure.join(unpack(fixed, learner))

        def block(number: Array, figures: Array) -> Array:
            at, inputs = some(number * BLOCK, slots, x)
            told = jax.vmap(lambda state, x: forecast(whole, state, x))(
                [values[at] for values in page], inputs
            )
            return jax.lax.dynamic_update_slice_in_dim(figures, told, number * BLOCK, 0)

        figures = jnp.zeros((len(slots), 2 * whole.prior.target_size))
        return jax.lax.fori_loop(0, blocks, block, figures)

    return Programs(learn, predict)
