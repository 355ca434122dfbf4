"""A pair of a stream in a plain loop, with nothing between: ``taskset -c 1 python benchmarks/pair.py``.

``--at-once`` is JAX without asynchronous dispatch, as in `mole stream`. Microseconds of the clock:
the median of nine loops over 400 pairs of `sinusoid-returning` (seed 0), and the quickest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from measures_streams import LENGTH, STREAM, make_prior

from mole import OnlineRegressor
from mole.datasets import make_stream

_LOOPS, _PAIRS, _WARM = 9, 400, 50


def main() -> None:
    """Print a line for each call and one for both."""
    stream = make_stream(STREAM, LENGTH, seed=0)
    x, y = (np.asarray((v - v.mean(0)) / v.std(0), np.float32) for v in (stream.x, stream.y))
    targets = y[:, 0].tolist()
    model = OnlineRegressor(make_prior(x.shape[1]))

    def both(place: int) -> None:
        model.predict_one(x[place])
        model.learn_one(x[place], targets[place])

    calls: dict[str, Callable[[int], object]] = {
        "predict_one": lambda place: model.predict_one(x[place]),
        "learn_one": lambda place: model.learn_one(x[place], targets[place]),
        "both": both,
    }
    for place in range(_WARM):
        both(place)
    for name, call in calls.items():
        seconds = []
        for _ in range(_LOOPS):
            started = time.perf_counter()
            for place in range(_PAIRS):
                call(place)
            seconds.append((time.perf_counter() - started) / _PAIRS)
        print(f"{name:12} {1e6 * np.median(seconds):6.1f} us, quickest {1e6 * min(seconds):6.1f}")


if __name__ == "__main__":
    if "--at-once" in sys.argv[1:]:
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    main()
