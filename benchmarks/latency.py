"""How long single rows take in a plain Python loop: ``python -m benchmarks.latency``.

Each line is a fresh process that predicts and learns rows of Gaussian noise with a linear target, one call to each, and
notes the seconds of every row: the first prediction of the process (with its imports), the longest of the first twenty
rows, then median, 99 %, 99.99 % and the longest of all later ones, and all together. Cold means an empty cache of
compiled programs, warm the cache that the cold process left.

    --rows N,...       default 1000,10000
    --columns N,...    default 3,100
    --methods NAME,... default background,at-once,river-arf (river's adaptive random forest, where river is installed)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

_METHODS = ("background", "at-once", "river-arf")
_EARLY = 20  # rows in which programs may be compiled
_COLUMNS = ("first s", "early s", "p50 ms", "p99 ms", "p99.99 ms", "longest ms", "total s")


def made(method: str) -> Any:
    """A model with ``predict_one`` and ``learn_one``."""
    if method == "river-arf":
        from river import forest

        return forest.ARFRegressor(seed=0)
    import mole

    # As a user's program would who has read about first rows in the documents.
    mole.use_compilation_cache()
    return mole.OnlineRegressor(background=method == "background")


def measure(method: str, rows: int, columns: int) -> dict[str, float]:
    """The figures of one loop in this process, which has to be fresh."""
    begun = time.perf_counter()
    import numpy as np

    model = made(method)
    values = np.random.default_rng(0).normal(size=(rows, columns))
    targets = (values[:, 0] - 2.0 * values[:, -1]).tolist()
    stream = [{f"c{place}": float(value) for place, value in enumerate(row)} for row in values]
    model.predict_one(stream[0])
    first, taken = time.perf_counter() - begun, []
    for x, y in zip(stream, targets, strict=True):
        start = time.perf_counter()
        model.predict_one(x)
        model.learn_one(x, y)
        taken.append(time.perf_counter() - start)
    late = 1e3 * np.asarray(taken[_EARLY:])
    p50, p99, most = np.quantile(late, (0.5, 0.99, 0.9999))
    figures = (first, max(taken[:_EARLY]), p50, p99, most, late.max(), sum(taken))
    return dict(zip(_COLUMNS, map(float, figures), strict=True))


def apart(method: str, rows: int, columns: int, cache: str) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.latency", "--one", method, str(rows), str(columns)]
    done = subprocess.run(
        command, env={**os.environ, "MOLE_COMPILATION_CACHE": cache}, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def main() -> None:
    """Run every combination, cold and warm, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="1000,10000")
    parser.add_argument("--columns", default="3,100")
    parser.add_argument("--methods", default=",".join(_METHODS))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        method, rows, columns = arguments.one
        print(json.dumps(measure(method, int(rows), int(columns))))
        return
    print(f"{'method':12} {'rows':>6} {'columns':>7} {'cache':5}", *(f"{name:>10}" for name in _COLUMNS))
    for columns in map(int, arguments.columns.split(",")):
        for rows in map(int, arguments.rows.split(",")):
            for method in arguments.methods.split(","):
                with tempfile.TemporaryDirectory() as cache:
                    for state in ("cold", "warm") if method != "river-arf" else ("none",):
                        found = apart(method, rows, columns, cache)
                        numbers = (f"{found[name]:10.3g}" for name in _COLUMNS)
                        print(f"{method:12} {rows:6} {columns:7} {state:5}", *numbers, flush=True)


if __name__ == "__main__":
    main()
