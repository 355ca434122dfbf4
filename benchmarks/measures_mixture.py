"""One EM step with all slots in use, against the machine's limits, k-shot adaptation and loops over the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import equinox as eqx
import jax
import numpy as np

from benchmarks.limits import copied, em_products
from benchmarks.loops import TaskLoop, same
from benchmarks.peer_client import Peers, prepared
from benchmarks.scenes import SIZES, K, full_mixture, make_pairs, make_prior, update
from benchmarks.timing import Row, Skipped, interleaved, row
from mole import KShot, Mixture, OnlineLearner
from mole.online.base import fresh

GROUP = "mixture"


def em_step(size: str, rounds: int, peers: Peers | None) -> Iterator[Row | Skipped]:
    prior = make_prior(size)
    pairs = make_pairs(prior, 64)
    host = [np.asarray(x) for x in pairs.x], [np.asarray(y) for y in pairs.y]
    (width, depth), slots = SIZES[size], 5
    given = {"width": width, "depth": depth, "tasks": slots, "window": K}
    rules = {
        "Mixture": (Mixture(prior), {**given, "candidate_window": 8}, "pointwise", 8, [0], 2 * K),
        "Mixture.paper": (Mixture.paper(prior, step_scale=0.1), given, "paper", K, range(slots), K),
    }
    model_bytes = 4 * sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(prior.model, eqx.is_array)))
    kshot = KShot(prior, window=2 * K)
    for name, (learner, asked, rule, scored, learned, learned_on) in rules.items():
        state = full_mixture(learner, pairs)
        same(learner, state, pairs.x[0], pairs.y[0])
        weights = [layer.weight for layer in state.models.layers]
        theirs, skipped = prepared(
            peers, GROUP, [("PyTorch, loop over its tasks", f"torch_mixture.{rule}", asked)]
        )
        written = model_bytes * len(learned)
        seconds = interleaved(
            [
                stream_of(learner, state, host),
                copied(model_bytes * (slots + 1) + written, written),
                em_products(weights, scored, learned, learned_on),
                stream_of(kshot, kshot.init(), host),
                _loop(learner, state, pairs),
                *(remote for _, remote in theirs),
            ],
            rounds,
        )
        yield from skipped
        ours, memory, products = seconds[:3]
        limit = "products + memory", memory + products
        against = ["memory: all models read, those that learn written", "its float32 products alone", "KShot"]
        against += ["JAX, Python loop over its tasks", *(peer for peer, _ in theirs)]
        for reference, found in zip(against, seconds[1:], strict=True):
            yield row(GROUP, f"EM step {size}: {name}", ours, reference, found, limit=limit)
    yield _resting(size, rounds, prior, pairs, host)


def _resting(size: str, rounds: int, prior: Any, pairs: Any, host: Any) -> Row:
    """The paper's rule when one task explains everything, against all tasks sharing it."""
    learner = Mixture.paper(prior, step_scale=0.1)
    state = full_mixture(learner, pairs)
    far = jax.tree.map(lambda stack: stack.at[1:].multiply(0.5), state.models)
    sure = eqx.tree_at(lambda s: s.models, state, far)
    one, shared = interleaved([stream_of(learner, sure, host), stream_of(learner, state, host)], rounds)
    return row(
        GROUP,
        f"EM step {size}: Mixture.paper, one task responsible",
        one,
        "the responsibility shared by five",
        shared,
    )


def stream_of(learner: OnlineLearner, state: Any, pairs: Any) -> Callable[[], None]:
    """One update after another, the state donated as in control."""
    holder, numbers, (xs, ys) = [fresh(state)], count(), pairs

    def step() -> None:
        place = next(numbers) % len(xs)
        holder[0], info = jax.block_until_ready(update((learner, xs[place], ys[place]), holder[0]))
        del info

    return step


def _loop(learner: Mixture, state: Any, pairs: Any) -> Callable[[], None]:
    loop, numbers, xs, ys = TaskLoop(learner, state), count(), list(pairs.x), list(pairs.y)

    def step() -> None:
        place = next(numbers) % len(xs)
        jax.block_until_ready(loop.update(xs[place], ys[place]))

    return step
