"""One meta-training step, 26-512-512-512-20, 40 tasks, k = 16, Adam outside, against the meta-learners of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks.limits import meta_products
from benchmarks.peer_client import Peers, prepared
from benchmarks.timing import Row, Skipped, interleaved, row
from mole import MLP, Gaussian, ScalarRate, Window
from mole.meta import meta_loss

GROUP = "meta"
SIZES, TASKS, K = (26, 512, 512, 512, 20), 40, 16


def meta_step(rounds: int, peers: Peers | None) -> Iterator[Row | Skipped]:
    given = {"sizes": list(SIZES), "tasks": TASKS, "k": K}
    for second in (True, False):
        order = "second order" if second else "first order"
        asked = [
            ("torch.func", "torch_meta.functional", {**given, "second_order": second}),
            (
                "torch.autograd, one task after another",
                "torch_meta.one_by_one",
                {**given, "second_order": second},
            ),
            ("learn2learn", "torch_meta.learn2learn", {**given, "second_order": second}),
        ]
        if second:
            asked.append(("torchopt", "torch_meta.torchopt", {**given, "second_order": True}))
        theirs, skipped = prepared(peers, GROUP, asked)
        functions = [meta_training(True, second), meta_training(False, second)]
        if second:
            functions.append(meta_products(SIZES, TASKS * K))
        seconds = interleaved([*functions, *(remote for _, remote in theirs)], rounds)
        yield from skipped
        limit = ("float32 products", seconds[2]) if second else None
        names = ["plain way: adapted weights built", *(["its float32 products alone"] if second else [])]
        for against, reference in zip([*names, *(peer for peer, _ in theirs)], seconds[1:], strict=True):
            yield row(GROUP, f"meta-training step, {order}", seconds[0], against, reference, limit=limit)


def meta_training(fast: bool, second: bool) -> Callable[[], Any]:
    """Gradient in θ and Adam, donated as in training; the inner rate is fixed, as the peers have it."""
    model = MLP(SIZES[0], SIZES[-1], width=SIZES[1], depth=len(SIZES) - 2, key=jax.random.key(0))
    rate, likelihood, adam = ScalarRate(0.03), Gaussian(), optax.adam(2e-3)
    key_x, key_y = jax.random.split(jax.random.key(1))
    windows = Window(
        jax.random.normal(key_x, (TASKS, 2 * K, SIZES[0])),
        jax.random.normal(key_y, (TASKS, 2 * K, SIZES[-1])),
    )
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(arrays: Any, windows: Window) -> jax.Array:
        whole = eqx.combine(arrays, rest)
        return meta_loss(whole, rate, likelihood, windows, first_order=not second, fast=fast)

    def step(arrays: Any, state: Any, windows: Window) -> tuple[Any, Any]:
        updates, state = adam.update(jax.grad(loss)(arrays, windows), state)
        return optax.apply_updates(arrays, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    arrays = jax.tree.map(jnp.array, arrays)
    holder = [(arrays, adam.init(arrays))]

    def run() -> None:
        holder[0] = jax.block_until_ready(compiled(*holder[0], windows))

    return run
