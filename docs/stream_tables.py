"""Make the tables of the streams' results from `results/streams/runs.csv`.

``python docs/stream_tables.py`` prints `docs/results-streams-tables.md`, and with ``--short`` the table of
`docs/results-streams.md`; ``python docs/stream_tables.py OUT`` first writes the file from the cells of a run of
``make bench-streams ARGS='--out OUT'``.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from mole.experiment.stats import bootstrap

RUNS = Path(__file__).parents[1] / "results" / "streams" / "runs.csv"
COLUMNS = {
    "error": 3,
    "after-first": 3,
    "after-early": 3,
    "after-later": 3,
    "return-first": 3,
    "return-early": 3,
    "return-later": 3,
    "log-loss": 2,
    "coverage": 2,
    "coverage-switch": 2,
    "n_tasks": 1,
    "microseconds": 0,
}
"""Figure of a run → digits in the tables."""
HEADS = {
    "after-first": "0–4 after a switch",
    "after-early": "5–19",
    "after-later": "20+",
    "return-first": "0–4 after a return",
    "return-early": "5–19",
    "return-later": "20+",
    "log-loss": "log loss",
    "coverage-switch": "… after a switch",
    "n_tasks": "tasks",
    "microseconds": "µs",
}
Runs = dict[str, dict[str, list[dict[str, str]]]]


def collect(out: Path) -> None:
    """Write ``runs.csv`` from the cells of a run."""
    cells = [json.loads(path.read_text()) for path in sorted((out / "cells").rglob("*.json"))]
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    with RUNS.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["stream", "method", "seed", "length", "diverged", *COLUMNS])
        for cell in sorted(cells, key=lambda c: (c["stream"], c["method"], c["seed"])):
            figures = [_short(cell.get(name)) for name in COLUMNS]
            writer.writerow(
                [
                    cell["stream"],
                    cell["method"],
                    cell["seed"],
                    cell["length"],
                    int(cell["diverged"]),
                    *figures,
                ]
            )


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.5g}"


def table(stream: str, methods: dict[str, list[dict[str, str]]]) -> None:
    """One stream, the smallest error first."""
    shown = [name for name in COLUMNS if any(row[name] for rows in methods.values() for row in rows)]
    heads = ["method", "seeds", *(HEADS.get(name, name) for name in shown)]
    length = next(iter(methods.values()))[0]["length"]
    print(f"\n### {stream} ({length} pairs)\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for method in sorted(methods, key=lambda m: _middle(methods[m], "error")):
        rows = methods[method]
        broken = sum(row["diverged"] == "1" for row in rows)
        cells = [f"`{method}`", f"{len(rows)}" + (f", {broken} diverged" if broken else "")]
        print(f"| {' | '.join([*cells, *(_cell(rows, name) for name in shown)])} |")


def _values(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.asarray([float(row[name]) for row in rows if row[name]])


def _middle(rows: list[dict[str, str]], name: str) -> float:
    values = _values(rows, name)
    return float(scipy_stats.trim_mean(values, 0.25)) if len(values) else float("inf")


def _cell(rows: list[dict[str, str]], name: str) -> str:
    values, digits = _values(rows, name), COLUMNS[name]
    if not len(values):
        return "–"
    text = f"{_middle(rows, name):.{digits}f}"
    if name != "error" or len(values) < 2:
        return text
    found = bootstrap([values], rng=np.random.default_rng(0), statistic="iqm")
    return f"{text} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


GROUPS = {
    "best of river": ("river-tree", "river-forest", "river-knn", "river-linear"),
    "best of scikit-learn": ("sklearn-sgd", "sklearn-mlp"),
    "replay": ("replay",),
    "change-points": ("change-points",),
    "continuous": ("continuous",),
    "kshot": ("kshot",),
}
"""Columns of the summary beside `mole`, and the methods of each."""


def summary(runs: Runs) -> None:
    """Error of `mole` and of the best method of each kind, on every stream; nobody has a prior."""
    print("| stream | `mole` |", " | ".join(GROUPS), f"|\n|{'---|' * (len(GROUPS) + 2)}")
    for stream, methods in runs.items():
        best = {head: min(_middle(methods[m], "error") for m in kind) for head, kind in GROUPS.items()}
        ours = _middle(methods["mole"], "error")
        cells = [_bold(value, ours <= min(best.values()), value <= ours) for value in best.values()]
        mine = f"**{ours:.3f}**" if ours <= min(best.values()) else f"{ours:.3f}"
        print("|", " | ".join([stream, mine, *cells]), "|")


def _bold(value: float, beaten: bool, better: bool) -> str:
    return f"**{value:.3f}**" if better and not beaten else f"{value:.3f}"


def main() -> None:
    """All tables."""
    short = "--short" in sys.argv
    for out in sys.argv[1:]:
        if out != "--short":
            collect(Path(out))
    runs: Runs = defaultdict(lambda: defaultdict(list))
    with RUNS.open(newline="") as file:
        for row in csv.DictReader(file):
            runs[row["stream"]][row["method"]].append(row)
    if short:
        summary(runs)
        return
    print(
        "# Results: streams, all figures\n\nMade by `python docs/stream_tables.py` from `results/streams/runs.csv`; "
        "[results-streams.md](results-streams.md) explains them."
    )
    for stream, methods in runs.items():
        table(stream, methods)


if __name__ == "__main__":
    main()
