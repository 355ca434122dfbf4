"""Rows a second of many keys in one process, side by side with an estimator for each key, and the memory of very many.

    python -m benchmarks.keys                     # 1,000 keys: arrays, dicts, and a loop over estimators
    python -m benchmarks.keys --many 100000       # so many keys: memory, file, and rows a second where keys come and go

Every figure is a median over rounds that alternate; `×` is its ratio to the loop of the same run.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.measures_streams import FEW, make_prior
from mole import KeyedFleet, OnlineRegressor, StreamPrior
from mole.rows.encoding import RowEncoder

DX, LOOPED = 4, 20


def pairs(keys: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a linear relation with noise, one pair a key."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(keys, DX))
    return x, x.sum(axis=1) + 0.1 * rng.normal(size=keys)


def named(x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """The same as rows."""
    rows = zip(x.tolist(), y.tolist(), strict=True)
    return [
        {"machine": f"m{k}", **{f"x{i}": v for i, v in enumerate(one)}, "y": t}
        for k, (one, t) in enumerate(rows)
    ]


def timed(run: Callable[[], Any]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def side_by_side(keys: int, rounds: int) -> None:
    """Print rows a second for the usual mixture and for a small one."""
    (x, y), prior = pairs(keys), make_prior(DX)
    encoder = RowEncoder()
    for one in x[:100]:
        encoder.observe({f"x{i}": float(v) for i, v in enumerate(one)})
    with_names, rows = StreamPrior(prior, schema=encoder.schema()), named(x, y)
    print(f"{keys:,} keys, a pair of each in a batch, 2x32 features; rows a second, and × the loop")
    for label, mixture in (("usual mixture", {}), ("4 tasks, 4 candidates, no drift", FEW)):
        plain = KeyedFleet(prior, mixture=mixture)
        dicts = KeyedFleet(with_names, key="machine", target="y", mixture=mixture)
        models = [OnlineRegressor(prior, mixture=mixture) for _ in range(LOOPED)]
        order = np.random.default_rng(1)

        def arrays(fleet: KeyedFleet = plain, order: Any = order) -> None:
            chosen = order.permutation(keys)
            fleet.step(x[chosen], y[chosen], keys=chosen)

        def loop(models: Any = models) -> None:
            for turn in range(200):
                models[turn % LOOPED].step_one(x[turn], y[turn])

        runs = {"arrays": arrays, "dicts": lambda dicts=dicts: dicts.step(rows), "loop": loop}
        sizes = {"arrays": keys, "dicts": keys, "loop": 200}
        first = {name: timed(run) for name, run in runs.items()}
        found: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                found[name].append(sizes[name] / timed(run))
        middle = {name: statistics.median(values) for name, values in found.items()}
        for name, value in middle.items():
            print(
                f"  {label:32} {name:8} {value:10,.0f}  {value / middle['loop']:6.1f} ×  first {first[name]:.1f} s"
            )


def very_many(keys: int, batch: int, resident: int) -> None:
    """Print memory, file and rows a second for keys that do not all fit into memory."""
    x, y = pairs(keys)
    with tempfile.TemporaryDirectory() as folder:
        fleet = KeyedFleet(make_prior(DX), mixture=FEW, max_resident=resident, folder=folder)
        fleet.step(x[:batch], y[:batch], keys=np.arange(batch))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for label in ("every key once", "every key again"):
            begin = time.perf_counter()
            for place in range(0, keys, batch):
                own = np.arange(place, min(place + batch, keys))
                fleet.step(x[own], y[own], keys=own)
            print(f"{label}: {keys / (time.perf_counter() - begin):,.0f} rows a second", flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{len(fleet):,} keys, {fleet.n_resident_:,} in memory; peak {peak / 2**20:.2f} GiB, "
              f"{before / 2**20:.2f} with the first batch")  # fmt: skip
        path = Path(folder) / "fleet.mole"
        seconds = timed(lambda: fleet.save(path))
        print(f"its file: {path.stat().st_size / 2**30:.2f} GiB, {path.stat().st_size / keys / 1e3:.0f} kB a key, "
              f"written in {seconds:.0f} s, read in {timed(lambda: KeyedFleet.load(path, folder=folder)):.0f} s; peak "
              f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--resident", type=int, default=8192)
    given = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
    if given.many:
        very_many(given.many, given.batch, given.resident)
    else:
        side_by_side(given.keys, given.rounds)


if __name__ == "__main__":
    main()
