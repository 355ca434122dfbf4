"""A pair of a stream in a plain loop, with nothing between: ``taskset -c 1 python benchmarks/pair.py``.

Microseconds of the clock: the median of nine loops over 400 pairs of `sinusoid-returning` (seed 0), and the quickest.
`step_one` predicts and learns in one call what `predict_one` and `learn_one` do in two. ``rows`` is the whole loop of
`mole stream` over a CSV file of the same pairs: reading, checks, prediction, interval, learning, digest, the line of
the output and the view; its estimator has a prior for that schema.

    --at-once       JAX without asynchronous dispatch, as in `mole stream`
    --against PATH  the same of another checkout, by turns in a process of its own, and the ratios (older versions have
                    no `step_one`: their pair of calls stands for it)
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

_LOOPS, _PAIRS, _WARM = 9, 400, 50
_WIDTH, _DEPTH = 32, 2
_STREAM, _LENGTH = "sinusoid-returning", 2000


def calls() -> dict[str, Callable[[int], object]]:
    """Name → what is done with the pair at a place. Only names that version 0.1 had too, but for `step_one`."""
    from mole import OnlineRegressor
    from mole.estimators import StreamPrior

    try:
        from mole.datasets import make_stream
        from mole.rows.encoding import RowEncoder
    except ImportError:  # 0.1
        from mole.streams import make_stream  # type: ignore[no-redef]
        from mole.streams.encoding import RowEncoder  # type: ignore[no-redef]
    stream = make_stream(_STREAM, _LENGTH, seed=0)
    x, y = (np.asarray((v - v.mean(0)) / v.std(0), np.float32) for v in (stream.x, stream.y))
    targets = y[:, 0].tolist()
    size = x.shape[1]
    prior = _prior(size)
    model, stepped = OnlineRegressor(prior), OnlineRegressor(prior)

    def both(place: int) -> None:
        model.predict_one(x[place])
        model.learn_one(x[place], targets[place])

    def pair(place: int) -> None:
        stepped.predict_one(x[place])
        stepped.learn_one(x[place], targets[place])

    encoder = RowEncoder()
    for row in x:
        encoder.observe(row.tolist())
    step = getattr(stepped, "step_one", None)
    return {
        "predict_one": lambda place: model.predict_one(x[place]),
        "learn_one": lambda place: model.learn_one(x[place], targets[place]),
        "both": both,
        "step_one": pair if step is None else lambda place: step(x[place], targets[place]),
        "rows": _rows(x, targets, StreamPrior(prior, "regression", encoder.schema())),
    }


def _prior(dx: int) -> Any:
    """A network of 2 x 32, untrained."""
    from mole import Normalizer, ReadoutPrior

    norms = {"x_norm": Normalizer.identity(dx), "y_norm": Normalizer.identity(1)}
    return ReadoutPrior.untrained(width=_WIDTH, depth=_DEPTH, key=jax.random.key(0), **norms)


def _rows(x: np.ndarray, targets: list[float], prior: Any) -> Callable[[int], object]:
    """One row of `mole stream`, from the bytes of the file to the line of the output."""
    from mole import OnlineRegressor
    from mole.commands.stream_view import StreamView

    try:
        from mole.pipeline.predictions import REGRESSION, PredictionWriter
        from mole.pipeline.runner import StreamRun, StreamSettings
        from mole.pipeline.sources import open_source
    except ImportError:  # 0.1
        from mole.streams.predictions import REGRESSION, PredictionWriter  # type: ignore[no-redef]
        from mole.streams.runner import StreamRun, StreamSettings  # type: ignore[no-redef]
        from mole.streams.sources import open_source  # type: ignore[no-redef]
    names = [f"x{place}" for place in range(x.shape[1])]
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "data.csv"
    lines = [",".join([*names, "y"])]
    for place in range(_WARM + (_LOOPS + 1) * _PAIRS):
        row = x[place % len(x)].tolist()
        lines.append(",".join(map(repr, [*row, targets[place % len(x)]])))
    path.write_text("\n".join(lines) + "\n")
    source = open_source(path)
    file = (folder / "out.csv").open("wb")
    run = StreamRun(StreamSettings("y", "regression"), OnlineRegressor(prior))
    writer, view = PredictionWriter(file, REGRESSION, jsonl=False, live=False), StreamView(run)

    def row(_: int) -> None:
        outcome = run.step(next(source))
        writer.write(outcome)
        view.update(outcome)

    return row


def measured() -> dict[str, list[float]]:
    """Microseconds of every loop."""
    found: dict[str, list[float]] = {}
    for name, call in calls().items():
        for place in range(_WARM):
            call(place)
        found[name] = []
        for _ in range(_LOOPS):
            started = time.perf_counter()
            for place in range(_PAIRS):
                call(place)
            found[name].append(1e6 * (time.perf_counter() - started) / _PAIRS)
    return found


def _other(checkout: Path, at_once: bool) -> dict[str, list[float]]:
    command = [sys.executable, __file__, "--json", *(["--at-once"] if at_once else [])]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a line for each call."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--against", type=Path, metavar="PATH")
    parser.add_argument("--turns", type=int, default=3, help="with --against: turns of each")
    parser.add_argument("--json", action="store_true", help="the microseconds of every loop as JSON")
    args = parser.parse_args()
    if args.at_once:
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    if args.json:
        print(json.dumps(measured()))
        return
    if args.against is None:
        for name, times in measured().items():
            print(f"{name:12} {np.median(times):6.1f} us, quickest {min(times):6.1f}")
        return
    here = Path(__file__).resolve().parents[1]
    turns = [(_other(args.against, args.at_once), _other(here, args.at_once)) for _ in range(args.turns)]
    for name in turns[0][1]:
        old, new = (np.asarray([turn[which][name] for turn in turns]) for which in (0, 1))
        ratios = np.median(new, axis=1) / np.median(old, axis=1)
        quickest = f"quickest {old.min():.1f} -> {new.min():.1f}"
        print(
            f"{name:12} {np.median(old):6.1f} -> {np.median(new):6.1f} us ({quickest}), "
            f"ratio {np.median(ratios):.2f} [{ratios.min():.2f}..{ratios.max():.2f}]"
        )


if __name__ == "__main__":
    main()
