"""``make bench``: what costs how much, side by side in one process. ARGS: ``--quick`` for a look, ``--out DIR``.

Every row names two things that were timed in turn in the same rounds. The ratio is taken round by round; its median
and the range of the middle 80 % of the rounds are shown. Absolute times depend on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from measures import cem_plan, control_step, em_step, meta_gradient
from measures_streams import stream_pairs
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scenes import BATCH, SIZES, K
from timing import Row, interleaved, row


@dataclasses.dataclass(frozen=True)
class Rounds:
    """How often each measure is repeated."""

    gradient: int = 15
    step: int = 200
    plan: int = 60
    importing: int = 9

    @classmethod
    def quick(cls) -> Rounds:
        return cls(gradient=3, step=20, plan=5, importing=2)


def import_time(rounds: int) -> Iterator[Row]:
    """A fresh interpreter that imports one package and ends."""

    def importing(package: str) -> Callable[[], None]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {package}"], check=True) and None

    ours, theirs = interleaved([importing("mole"), importing("jax")], rounds, warm_up=1)
    yield row("import mole", ours, "import jax", theirs)


def rows(rounds: Rounds) -> Iterator[Row]:
    for size in SIZES:
        yield from meta_gradient(size, rounds.gradient)
    for size in SIZES:
        yield from em_step(size, rounds.step)
    for size in SIZES:
        yield from cem_plan(size, rounds.plan)
    for size in SIZES:
        yield from control_step(size, rounds.plan)
    yield from stream_pairs(rounds.gradient)
    yield from import_time(rounds.importing)


def as_table(found: list[Row]) -> Table:
    table = Table(title="first line as a multiple of the second", caption=_CAPTION, title_justify="left")
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("what, against what")
    table.add_column("ms", justify="right", no_wrap=True)
    for one in found:
        times = f"{one.ms.text()}\n{one.against_ms.text()}"
        table.add_row(*map(escape, (one.ratio.text(), f"{one.name}\n{one.against}", times)), end_section=True)
    return table


_CAPTION = (
    f"Median and the range of the middle 80 % of the rounds; below 1 the first line is faster. {BATCH} windows in a "
    f"meta-gradient, k = {K}; all five tasks in use in an EM step."
)


def machine() -> dict[str, object]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    packages = ("mole-online", "jax", "jaxlib", "equinox", "numpy")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "cores": cores,
        "load_before": load,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmarks of mole, one table.")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument("--out", type=Path, help="folder for bench.json and table.txt")
    options = parser.parse_args()
    rounds, about = Rounds.quick() if options.quick else Rounds(), machine()
    console, found = Console(), []
    with console.status("measuring") as status:
        for one in rows(rounds):
            found.append(one)
            status.update(f"measured: {one.name}")
    line = f"1 process on {about['device']}, {about['cores']} cores, load {about['load_before']}, jax {jax.__version__}"
    console.print(as_table(found))
    console.print(line, highlight=False)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": about,
            "quick": options.quick,
            "rows": [dataclasses.asdict(one) for one in found],
        }
        (options.out / "bench.json").write_text(json.dumps(content, indent=1) + "\n")
        with (options.out / "table.txt").open("w") as file:
            paper = Console(file=file, width=100)
            paper.print(as_table(found))
            paper.print(line, highlight=False)


if __name__ == "__main__":
    main()
