"""``make bench``: what costs how much, side by side in one run.

Every row names two things that were timed in turn in the same rounds. The ratio is taken round by round; its median
and the range of the middle 80 % of the rounds are shown. Other libraries run in a process of their own, between ours
(``make bench-peers`` installs them). Absolute times depend on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from benchmarks import tables
from benchmarks.growth import Curve, curves, draw
from benchmarks.measures_control import control_step
from benchmarks.measures_meta import meta_step
from benchmarks.measures_mixture import em_step
from benchmarks.measures_planning import planning
from benchmarks.measures_process import Alone, imports, peer_memory, scenes
from benchmarks.measures_streams import fleet, one_by_one
from benchmarks.peer_client import Absent, Peers
from benchmarks.timing import Row, Skipped

Found = Row | Skipped | Alone | Curve
_WIDTH = 118
OUT = Path(__file__).parents[1] / "results" / "bench"


@dataclasses.dataclass(frozen=True)
class Rounds:
    """How often each measure is repeated."""

    shooting: int = 15
    plan: int = 40
    step: int = 100
    meta: int = 10
    importing: int = 7
    growth: int = 40

    @classmethod
    def quick(cls) -> Rounds:
        return cls(2, 3, 5, 2, 2, 3)


def _planning(rounds: Rounds, peers: Peers | None) -> Iterator[Found]:
    for size in ("2x256", "3x512"):
        yield from planning(size, "shooting 1000x15", rounds.shooting, peers)
        yield from planning(size, "CEM 3x100x10", rounds.plan, peers)


def _mixture(rounds: Rounds, peers: Peers | None) -> Iterator[Found]:
    for size in ("2x256", "3x512"):
        yield from em_step(size, rounds.step, peers)


def _control(rounds: Rounds, peers: Peers | None) -> Iterator[Found]:
    for precision in ("float32", "bfloat16"):
        yield from control_step("2x256", "CEM 3x100x10", precision, rounds.plan)
        yield from control_step("3x512", "shooting 1000x15", precision, rounds.shooting)


def _meta(rounds: Rounds, peers: Peers | None) -> Iterator[Found]:
    yield from meta_step(rounds.meta, peers)


def _streams(rounds: Rounds, peers: Peers | None) -> Iterator[Found]:
    yield from one_by_one(rounds.plan, peers)
    yield from fleet(rounds.meta)


def _process(rounds: Rounds, peers: Peers | None) -> Iterator[Found]:
    yield from imports(rounds.importing)
    yield from scenes()
    yield from peer_memory()


def _growth(rounds: Rounds, peers: Peers | None) -> Iterator[Found]:
    yield from curves(rounds.growth, quick=rounds.growth < 10)


GROUPS: dict[str, Callable[[Rounds, Peers | None], Iterator[Found]]] = {
    "planning": _planning,
    "mixture": _mixture,
    "control": _control,
    "meta": _meta,
    "streams": _streams,
    "process": _process,
    "growth": _growth,
}


def machine() -> dict[str, Any]:
    """Where it was measured; the names of processors are as the system tells them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ("mole-online", "jax", "jaxlib", "equinox", "numpy")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "cores": cores,
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    wide = [
        flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if any(flag in line for line in lines)
    ]
    return f"{names[0] if names else platform.processor()} ({', '.join(wide)})"


def _peers() -> Peers | None:
    """A process for each group: what one leaves in memory slows no other."""
    try:
        return Peers()
    except Absent:
        return None


def _as_json(found: list[Found], about: dict[str, Any], quick: bool) -> dict[str, Any]:
    kinds = {"rows": Row, "skipped": Skipped, "processes": Alone, "growth": Curve}
    parts = {
        name: [dataclasses.asdict(one) for one in found if isinstance(one, kind)]
        for name, kind in kinds.items()
    }
    return {"machine": about, "quick": quick, **parts}


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmarks of mole, one table.")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument("--only", default=",".join(GROUPS), help=f"some of {', '.join(GROUPS)}, with commas")
    parser.add_argument("--out", type=Path, help=f"folder for bench.json, table.txt and figures ({OUT.name})")
    options = parser.parse_args()
    groups = options.only.split(",")
    if unknown := sorted(set(groups) - set(GROUPS)):
        parser.error(f"--only got {', '.join(unknown)}; expected some of {', '.join(GROUPS)}")
    rounds, about = Rounds.quick() if options.quick else Rounds(), machine()
    console, found, started = Console(highlight=False), [], time.monotonic()
    wide = console if console.is_terminal else Console(width=_WIDTH, highlight=False)
    with console.status("measuring") as status:
        for group in groups:
            peers = _peers() if group in ("planning", "mixture", "meta", "streams") else None
            for one in GROUPS[group](rounds, peers):
                found.append(one)
                status.update(f"measured: {one.name}")
                if not console.is_terminal:
                    print(f"{time.monotonic() - started:5.0f} s  {tables.line(one)}", flush=True)
            if peers is not None:
                peers.close()
    tables.show(found, about, wide)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        content = json.dumps(_as_json(found, about, options.quick), indent=1)
        (options.out / "bench.json").write_text(content + "\n")
        with (options.out / "table.txt").open("w") as file:
            tables.show(found, about, Console(file=file, width=_WIDTH, highlight=False))
        if drawn := [one for one in found if isinstance(one, Curve)]:
            draw(drawn, options.out)


if __name__ == "__main__":
    main()
