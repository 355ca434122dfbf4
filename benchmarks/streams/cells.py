"""One cell is one (stream, method, seed): a JSON file that is not made twice. Tuning is kept in the same way."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.streams.measures import measure, run_stream
from benchmarks.streams.protocol import Method, Problem, Settings
from benchmarks.streams.sources import stream_of
from mole.datasets import Stream
from mole.datasets.recorded import RIVER, SKLEARN
from mole.files.atomic import atomic_file

LENGTHS = {
    "sinusoid-fresh": 400, "sinusoid-returning": 2000, "linear-stationary": 2000, "mlp-stationary": 2000,
    "friedman-stationary": 2000, "friedman-recurring": 3000, "shuttle": 2000, "bananas": 2000,
}  # fmt: skip
"""Pairs of a stream; 3,000 where not listed (all there are, of a recorded one with fewer)."""

TUNING_SEED = 10_000  # far from the seeds of the cells
_TUNED_PART = 0.25  # of a recorded stream, which has no other seeds; these pairs are not scored
_BLOWN_UP = ("finite", "overflow", "nan", "infinity")  # how other packages' errors say that a run diverged


def length_of(name: str, asked: int | None) -> int:
    return LENGTHS.get(name, 3000) if asked is None else asked


def is_recorded(name: str) -> bool:
    return name in RIVER or name in SKLEARN


def run_once(
    stream: Stream, method: Method, settings: Mapping[str, Any], seed: int, cache: Path, *, start: int = 0
) -> dict[str, Any]:
    """The figures of one run. A method whose numbers blow up is reported, and does not stop the others."""
    try:
        learner = method.make(Problem.of(stream, cache), settings, seed)
        return measure(stream, run_stream(stream, learner), start=start)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        if isinstance(error, ValueError) and not any(word in str(error).lower() for word in _BLOWN_UP):
            raise
        return {"error": None, "diverged": 1, "failure": f"{type(error).__name__}: {error}"[:300]}


def tune(name: str, method: Method, length: int | None, budget: int, out: Path) -> Settings:
    """The best of ``budget`` settings, the usual ones among them, by the overall error on a stream of its own.

    A recorded stream has no other seeds: there it is the first quarter, which `cell` then does not score.
    """
    size = length_of(name, length)
    path = out / "tune" / f"{name}-{size}" / f"{method.name}.json"
    if path.exists():
        known = json.loads(path.read_text())
        if known["budget"] == budget:
            return known["settings"]
    stream = stream_of(name, size, TUNING_SEED)
    if is_recorded(name):
        end = int(_TUNED_PART * len(stream))
        stream = Stream(
            stream.x[:end], stream.y[:end], stream.task[:end], name, stream.kind, stream.n_classes
        )
    rng = np.random.default_rng(zlib.crc32(f"{name}/{method.name}".encode()))
    candidates = method.candidates(budget, rng)
    errors = [
        run_once(stream, method, one, TUNING_SEED, out / "priors")["error"] if len(candidates) > 1 else None
        for one in candidates
    ]
    best = int(np.argmin([np.inf if error is None else error for error in errors]))
    tried = [{"settings": one, "error": error} for one, error in zip(candidates, errors, strict=True)]
    _write(path, {"settings": candidates[best], "budget": budget, "length": size, "tried": tried})
    return candidates[best]


def cell(
    name: str, method: Method, seed: int, settings: Settings, length: int | None, out: Path
) -> dict[str, Any]:
    """The figures of one cell, from its file if it was made with the same settings, else made now."""
    size = length_of(name, length)
    path = out / "cells" / f"{name}-{size}" / f"{method.name}-{seed}.json"
    if path.exists():
        known = json.loads(path.read_text())
        if known["settings"] == settings:
            return known
    stream = stream_of(name, size, seed)
    start = int(_TUNED_PART * len(stream)) if is_recorded(name) else 0
    figures = run_once(stream, method, settings, seed, out / "priors", start=start)
    about = {"stream": name, "method": method.name, "seed": seed, "length": len(stream), "settings": settings}
    _write(path, {**about, "kind": stream.kind, **figures})
    return json.loads(path.read_text())


def stored_cells(name: str, method: Method, length: int | None, out: Path) -> list[dict[str, Any]]:
    """Every cell of that stream, length and method that has been made, by seed."""
    folder = out / "cells" / f"{name}-{length_of(name, length)}"
    found = [json.loads(path.read_text()) for path in folder.glob(f"{method.name}-*.json")]
    return sorted((one for one in found if one["method"] == method.name), key=lambda one: one["seed"])


def collect_tuned(out: Path, target: Path) -> None:
    """Write the chosen settings of everything tuned in ``out`` into one file, beside those that it has already."""
    chosen: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    for path in sorted((out / "tune").glob("*/*.json")):
        known = json.loads(path.read_text())
        entry = {key: known[key] for key in ("settings", "budget")}
        chosen.setdefault(path.parent.name, {})[path.stem] = entry
    _write(target, chosen)


def tuned_settings(
    target: Path, name: str, method: Method, length: int | None, budget: int
) -> Settings | None:
    """What `collect_tuned` wrote for this stream, length, method and budget; None if there is nothing."""
    if not target.exists():
        return None
    known = json.loads(target.read_text()).get(f"{name}-{length_of(name, length)}", {}).get(method.name)
    return known["settings"] if known is not None and known["budget"] == budget else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write((json.dumps(content, allow_nan=False) + "\n").encode())
