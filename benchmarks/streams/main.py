"""The command line: tune, run and print, all of it resumable and in as many shares as there are machines."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table

from benchmarks.streams import bocpd, own, replay, river_methods, sklearn_methods
from benchmarks.streams.cells import (
    cell,
    collect_tuned,
    length_of,
    stored_cells,
    tune,
    tuned_settings,
)
from benchmarks.streams.measures import NATURAL
from benchmarks.streams.protocol import Method
from benchmarks.streams.sources import ALL
from benchmarks.streams.table import SPLIT_COLUMNS, stream_table, summary

METHODS: dict[str, Method] = {
    method.name: method
    for module in (own, river_methods, sklearn_methods, replay, bocpd)
    for method in module.METHODS
}
_WIDTH = 160
_BUDGET = 8
_TUNED = Path("results/streams/tune.json")
DEFAULT_STREAMS = [
    *(
        "sinusoid-fresh",
        "sinusoid-returning",
        "linear-fresh",
        "linear-returning",
        "mlp-fresh",
        "mlp-returning",
    ),
    *("linear-drift", "mlp-drift", "linear-stationary", "mlp-stationary", "friedman-stationary"),
    *(
        "friedman-recurring",
        "labels-rotated",
        "labels-permuted",
        "trump-approval",
        "chick-weights",
        "water-flow",
    ),
    *("sp500", "image-segments", "phishing", "bananas", "digits"),
]


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    found.add_argument("--streams", nargs="+", choices=list(ALL), default=DEFAULT_STREAMS, metavar="STREAM")
    found.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD")
    found.add_argument("--seeds", type=int, default=10, help="seeds 0 … N - 1 (default 10)")
    found.add_argument("--length", type=int, help="pairs of every stream; each has its own by default")
    found.add_argument(
        "--budget", type=int, default=_BUDGET, help="settings tried when tuning (1: the usual ones)"
    )
    found.add_argument(
        "--shard", default="0/1", help="I/N: only every N-th job, from the I-th; I counts from 0"
    )
    found.add_argument("--stage", choices=("tune", "run", "table", "all"), default="all")
    found.add_argument(
        "--out", type=Path, default=Path("runs/bench-streams"), help="folder of cells and tables"
    )
    found.add_argument(
        "--tuned",
        type=Path,
        help=f"file of chosen settings (default: {_TUNED}; OUT/tune.json if "
        "the length or the budget is not the usual one)",
    )
    found.add_argument("--list", action="store_true", help="name the streams and methods, and stop")
    return found


def jobs(streams: Sequence[str], methods: Sequence[str], shard: str) -> Iterator[tuple[str, Method]]:
    """This share of all pairs of stream and method; neighbours go to different shares."""
    share, shares = (int(part) for part in shard.split("/"))
    if not 0 <= share < shares:
        raise SystemExit(f"got --shard {shard}; expected I/N with 0 ≤ I < N, such as 0/4.")
    pairs = [(s, METHODS[m]) for s in streams for m in methods if METHODS[m].fits(s)]
    yield from pairs[share::shares]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    console, out = Console(), options.out
    if not console.is_terminal:
        console = Console(
            width=_WIDTH
        )  # a file or a pipe has no width of its own, and eighty columns are too few
    if options.list:
        console.print("streams:", ", ".join(ALL), "\nmethods:", ", ".join(METHODS), highlight=False)
        return
    usual = options.length is None and options.budget == _BUDGET
    target = options.tuned or (_TUNED if usual else out / "tune.json")
    if options.stage != "table":
        for name, method in jobs(options.streams, options.methods, options.shard):
            started = time.monotonic()
            settings = tuned_settings(target, name, method, options.length, options.budget)
            if settings is None:
                settings = tune(name, method, options.length, options.budget, out)
            tuned = time.monotonic()
            seeds = range(options.seeds) if options.stage != "tune" else ()
            errors = [cell(name, method, seed, settings, options.length, out)["error"] for seed in seeds]
            shown = " ".join("diverged" if error is None else f"{error:.3f}" for error in errors)
            times = f"tuned in {tuned - started:.0f} s, run in {time.monotonic() - tuned:.0f} s"
            console.print(f"{name} {method.name}: {shown} ({times})", highlight=False, soft_wrap=True)
            jax.clear_caches()  # a process may map only so much memory of compiled programs: 65,530 pieces on Linux
    if options.shard == "0/1" or options.stage == "table":  # one writer: shares do not write the same files
        collect_tuned(out, target)
        write_tables(options.streams, options.methods, options.length, out, console)


def write_tables(
    streams: Sequence[str], methods: Sequence[str], length: int | None, out: Path, console: Console
) -> None:
    """Print a table per stream, and keep them as text and all figures as JSON in the folder."""
    tables: list[Table] = []
    figures: dict[str, dict[str, dict[str, object]]] = {}
    for name in streams:
        found = {m: stored_cells(name, METHODS[m], length, out) for m in methods}
        found = {m: cells for m, cells in found.items() if cells}
        if not found:
            continue
        tables.append(stream_table(name, found))
        columns = (
            "error",
            *SPLIT_COLUMNS,
            "log-loss",
            "coverage",
            "coverage-switch",
            "width",
            "width-switch",
        )
        wanted = (*columns, "n_tasks", "microseconds", "microseconds-mean")
        figures[name] = {
            m: {
                "seeds": len(cells),
                **{c: summary(cells, c) for c in wanted if summary(cells, c) is not None},
            }
            for m, cells in found.items()
        }
        figures[name]["about"] = {"pairs": length_of(name, length), "natural_unit": name in NATURAL}
    for table in tables:
        console.print(table)
    if tables:
        with (out / "tables.txt").open("w") as file:
            paper = Console(file=file, width=_WIDTH)
            for table in tables:
                paper.print(table)
        (out / "summary.json").write_text(json.dumps(figures, indent=1) + "\n")
