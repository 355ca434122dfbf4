"""Learners of streams: time of a pair, with the error on the same stream; a scan; many streams at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import equinox as eqx
import jax
import numpy as np

from benchmarks.kalman import Kalman
from benchmarks.peer_client import Peers, prepared
from benchmarks.timing import Row, Skipped, Timed, blocked, interleaved, row
from mole import Fleet, Normalizer, OnlineRegressor, ReadoutMixture, ReadoutPrior
from mole.datasets import make_stream

GROUP = "streams"
WIDTH, DEPTH, _ALONE, _STREAMS, _STEPS = 32, 2, 16, 2000, 20
FEW = {"max_tasks": 4, "candidates": 4, "drift": (1e-6,)}
STREAM, LENGTH = "sinusoid-returning", 2000


def make_prior(dx: int) -> ReadoutPrior:
    """A network of 2 x 32, untrained: nobody here has seen data before."""
    norms = {"x_norm": Normalizer.identity(dx), "y_norm": Normalizer.identity(1)}
    return ReadoutPrior.untrained(width=WIDTH, depth=DEPTH, key=jax.random.key(0), **norms)


def one_by_one(rounds: int, peers: Peers | None) -> Iterator[Row | Skipped]:
    """Predict one, learn one, on a switching sinusoid whose four tasks return; all see standardised numbers."""
    stream = make_stream(STREAM, LENGTH, seed=0)
    x, y = (np.asarray((v - v.mean(0)) / v.std(0), np.float32) for v in (stream.x, stream.y))
    pairs = [(row_.tolist(), float(target[0])) for row_, target in zip(x, y, strict=True)]
    asked = [
        ("deep-river, 2x32", "streams.deep_river", {"pairs": pairs, "width": WIDTH, "depth": DEPTH}),
        ("river, adaptive random forest", "streams.forest", {"pairs": pairs}),
        ("river, Hoeffding adaptive tree", "streams.hoeffding", {"pairs": pairs}),
    ]
    theirs, skipped = prepared(peers, GROUP, asked)
    ours, error = _with_error(_pair(OnlineRegressor(make_prior(x.shape[1])), x, pairs), y)
    grown_error = _with_error(_pair(OnlineRegressor(seed=0), x, pairs), y)[1]
    kalman = Kalman(x.shape[1], WIDTH, DEPTH, drift=1e-4)
    filtered, kalman_error = _with_error(lambda place: kalman.learn(x[place], pairs[place][1]), y)
    scan = _scan(ReadoutMixture(make_prior(x.shape[1])), x[:512], y[:512])
    functions: list[Timed] = [ours, scan, filtered, *(remote for _, remote in theirs)]
    seconds = interleaved(functions, rounds)
    seconds[0] /= _ALONE
    seconds[1] /= 512
    seconds[2] /= _ALONE
    yield from skipped
    label = "pair, 2x32: predict_one + learn_one"
    note = f"rmse {error:.3f}; {grown_error:.3f} if it makes its own prior"
    yield row(GROUP, label, seconds[0], "one scan over 512 pairs, a pair", seconds[1], note=note)
    against = [
        f"extended Kalman filter in JAX, 2x32 (rmse {kalman_error:.3f})",
        *(peer for peer, _ in theirs),
    ]
    for peer, reference in zip(against, seconds[2:], strict=True):
        yield row(GROUP, label, seconds[0], peer, reference, note=note)
        yield row(GROUP, "pair, 2x32, in a scan", seconds[1], peer, reference, note=note)


def _pair(model: OnlineRegressor, x: np.ndarray, pairs: list[Any]) -> Callable[[int], float]:
    def pair(place: int) -> float:
        expected = model.predict_one(x[place])
        model.learn_one(x[place], pairs[place][1])
        return expected

    return pair


def _with_error(pair: Callable[[int], float], y: np.ndarray) -> tuple[Callable[[], None], float]:
    """A few pairs in a row, to be timed, and the error of predicting every pair of the stream before learning it."""
    squares = [min((pair(place) - float(y[place, 0])) ** 2, 1e6) for place in range(len(y))]
    numbers = count()

    def some() -> None:
        for _ in range(_ALONE):
            pair(next(numbers) % len(y))

    return some, math.sqrt(float(np.mean(squares)))


def _scan(learner: ReadoutMixture, x: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    @eqx.filter_jit
    def run(learner: ReadoutMixture, x: Any, y: Any) -> jax.Array:
        return jax.lax.scan(lambda state, one: learner.update(state, *one), learner.init(), (x, y))[1].loss

    return blocked(lambda: run(learner, x, y))


def fleet(rounds: int) -> Iterator[Row]:
    """Four inputs, a linear relation with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_STREAMS, _STEPS, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 1)) + 0.1 * rng.normal(size=(_STREAMS, _STEPS, 1))).astype(np.float32)
    prior = make_prior(4)
    whole, few = Fleet(prior, _STREAMS), Fleet(prior, _STREAMS, mixture=FEW)
    scan = _scan(ReadoutMixture(prior), x[:26].reshape(-1, 4)[:512], y[:26].reshape(-1, 1)[:512])
    seconds = interleaved(
        [lambda: whole.learn_many(x, y) and None, lambda: few.learn_many(x, y) and None, scan], rounds
    )
    every, fewer, scanned = seconds / np.array([[_STREAMS * _STEPS], [_STREAMS * _STEPS], [512]])
    name = f"Fleet.learn_many, {_STREAMS} streams x {_STEPS}, an update"
    for label, found in ((name, every), (f"{name}: 4 tasks, 4 candidates, no drift", fewer)):
        note = f"{1 / np.median(found):,.0f} updates/s"
        yield row(GROUP, label, found, "one scan over 512 pairs, a pair", scanned, note=note)
