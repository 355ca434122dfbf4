"""The measures of the estimators for streams: seconds a pair, one by one, in one scan, and many streams at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import equinox as eqx
import jax
import numpy as np
from timing import Row, blocked, interleaved, row

from mole import Fleet, Normalizer, OnlineRegressor, ReadoutMixture, ReadoutPrior

_DX, _SCAN, _ALONE, _STREAMS, _STEPS = 4, 512, 64, 2000, 20
_FEW = {"max_tasks": 4, "candidates": 4, "drift": (1e-6,)}


def stream_pairs(rounds: int) -> Iterator[Row]:
    """A network of 2 x 32, eight tasks and six candidates unless it says otherwise."""
    prior = ReadoutPrior.untrained(
        width=32,
        depth=2,
        x_norm=Normalizer.identity(_DX),
        y_norm=Normalizer.identity(1),
        key=jax.random.key(0),
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_STREAMS, _STEPS, _DX)).astype(np.float32)
    y = (x @ rng.normal(size=(_DX, 1)) + 0.1 * rng.normal(size=(_STREAMS, _STEPS, 1))).astype(np.float32)
    model, numbers = OnlineRegressor(prior), count()

    def pairs_alone() -> None:
        for _ in range(_ALONE):
            place = next(numbers) % _STREAMS
            model.predict_one(x[place, 0])
            model.learn_one(x[place, 0], y[place, 0])

    learner = ReadoutMixture(prior)
    many = x.reshape(-1, _DX)[:_SCAN], y.reshape(-1, 1)[:_SCAN]

    @eqx.filter_jit
    def scan(learner: ReadoutMixture, many: tuple[np.ndarray, np.ndarray]) -> jax.Array:
        return jax.lax.scan(lambda state, one: learner.update(state, *one), learner.init(), many)[1].loss

    one, scanned = interleaved([pairs_alone, blocked(lambda: scan(learner, many))], 4 * rounds)
    yield row(
        "pair 2x32: predict_one + learn_one",
        one / _ALONE,
        f"one scan over {_SCAN} pairs, a pair",
        scanned / _SCAN,
    )

    whole, few = Fleet(prior, _STREAMS), Fleet(prior, _STREAMS, mixture=_FEW)
    scanned, all_, fewer = interleaved(
        [
            blocked(lambda: scan(learner, many)),
            lambda: whole.learn_many(x, y) and None,
            lambda: few.learn_many(x, y) and None,
        ],
        rounds,
    )
    pairs = _STREAMS * _STEPS
    name = f"Fleet.learn_many, {_STREAMS} streams x {_STEPS}, a pair"
    yield row(name, all_ / pairs, f"one scan over {_SCAN} pairs, a pair", scanned / _SCAN)
    yield row(
        f"{name}: 4 tasks, 4 candidates, no drift", fewer / pairs, "with the usual mixture", all_ / pairs
    )
