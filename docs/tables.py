"""Make the tables of the suite: ``python docs/tables.py > docs/results-suite.md``.

It reads the figures of every run in ``results/suite/FAMILY.csv``: one line a run, as every evaluation writes them to
``runs.csv``.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from mole.experiment import stats
from mole.report.tables import number

SUITE = Path(__file__).parents[1] / "results" / "suite"
FAMILIES = ("motors", "motors-upright", "motors-few", "crawler", "terrain", "ablations")
COLUMNS = {
    "return": ("return_per_1000", 0),
    "error": ("error_all", 3),
    "first 5": ("error_first_5", 3),
    "5–20": ("error_from_5_to_20", 3),
    "later": ("error_rest", 3),
    "Rand index": ("adjusted_rand", 2),
    "tasks": ("tasks_at_end", 1),
    "upright": ("upright", 2),
}
"""Heading → figure of `mole.experiment.metrics.summarise`, digits."""
Runs = dict[int, dict[str, str]]


def main() -> None:
    """One table per family and setting, and the probability that mole is better."""
    print("# Results of the suite: every table\n")
    print(
        "Made by `python docs/tables.py` from `results/suite/*.csv`; [results.md](results.md) explains it. "
        "Interquartile means with 95 % intervals."
    )
    for family in FAMILIES:
        settings = _read(SUITE / f"{family}.csv")
        print(f"\n## {family}")
        for setting, methods in settings.items():
            _table(setting, methods)
        if family != "ablations":
            _chances(settings)


def _read(path: Path) -> dict[str, dict[str, Runs]]:
    """Setting → method → seed → figures."""
    settings: dict[str, dict[str, Runs]] = defaultdict(lambda: defaultdict(dict))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            settings[row["schedule"]][row["method"]][int(row["seed"])] = row
    return settings


def _values(runs: Runs, name: str) -> np.ndarray:
    return np.asarray([float(runs[seed][name] or "nan") for seed in sorted(runs)])


def _table(setting: str, methods: dict[str, Runs]) -> None:
    everything = {
        head: column
        for head, column in COLUMNS.items()
        if any(np.isfinite(_values(runs, column[0])).all() for runs in methods.values())
    }
    heads = ["method", "runs", *everything, "recalled", "delay"]
    print(f"\n`{setting}`\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    order = sorted(methods, key=lambda m: -np.nan_to_num(_values(methods[m], "return_per_1000").mean()))
    for method in order:
        runs = methods[method]
        returns, hits = (int(np.nansum(_values(runs, name))) for name in ("returns", "recalled"))
        delays = _values(runs, "recall_delay")
        told = not np.isfinite(delays).any()
        cells = [f"`{method}`", str(len(runs))]
        cells += [_cell(runs, name, digits) for name, digits in everything.values()]
        cells += ["–", "–"] if told else [f"{hits}/{returns}", number(float(np.nanmedian(delays)))]
        print(f"| {' | '.join(cells)} |")


def _cell(runs: Runs, name: str, digits: int) -> str:
    values = _values(runs, name)
    if not np.isfinite(values).all():
        return "–"
    if not name.startswith(("return", "error")) or len(values) < 2:
        return number(stats.iqm([values]), digits)
    return _span(stats.bootstrap([values], rng=np.random.default_rng(0), statistic="iqm"), digits)


def _chances(settings: dict[str, dict[str, Runs]]) -> None:
    for method in sorted({name for methods in settings.values() for name in methods} - {"mole"}):
        shared = [methods for methods in settings.values() if "mole" in methods and method in methods]
        ours, theirs = ([_values(m[name], "return_per_1000") for m in shared] for name in ("mole", method))
        chance = stats.probability_of_improvement(ours, theirs, rng=np.random.default_rng(0))
        print(f"\nP(mole > {method}) = {_span(chance, 2)} over {len(shared)} settings")


def _span(found: stats.Interval, digits: int) -> str:
    return f"{number(found.value, digits)} [{number(found.low, digits)}, {number(found.high, digits)}]"


if __name__ == "__main__":
    main()
