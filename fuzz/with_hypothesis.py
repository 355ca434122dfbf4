"""The readers under Hypothesis, which thinks up files by itself and shrinks what it finds.

``python -m fuzz.with_hypothesis --inputs N``: N files for every kind of file; the count goes to runs/fuzz.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.attempt import attempt, warm_up, work_folder
from fuzz.seeds import write_seeds
from fuzz.targets import TARGETS

__all__ = ["STRATEGIES", "main", "try_reader"]

_START = struct.Struct("<8sIQ")

_numbers = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, 10**18, -1])
_values = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_cells = (
    st.text(max_size=30)
    | _numbers.map(repr)
    | st.sampled_from(["1e999999", "NaN", '"', "\0", "", "2024-01-31"])
)


def _changed(document: Any, steps: list[tuple[int, Any]]) -> Any:
    """The document with values put where the steps lead."""
    for path, value in steps:
        place = document
        while True:
            inner = list(place.values()) if isinstance(place, dict) else place
            deeper = [child for child in inner if isinstance(child, dict | list) and child]
            if not deeper or path % 3 == 0:
                break
            place, path = deeper[path % len(deeper)], path // 3
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if len(keys):
            place[keys[path % len(keys)]] = value
    return document


def _checkpoints(seed: bytes) -> st.SearchStrategy[bytes]:
    """A valid file with values of any kind put anywhere into its header, under a checksum that is right."""
    magic, version, length = _START.unpack(seed[: _START.size])
    header = seed[_START.size + 32 :][:length]
    arrays = seed[_START.size + 32 + length :]

    def forged(steps: list[tuple[int, Any]]) -> bytes:
        raw = json.dumps(_changed(json.loads(header), steps)).encode()
        start = _START.pack(magic, version, len(raw))
        return start + hashlib.sha256(start + raw).digest() + raw + arrays

    return st.lists(st.tuples(st.integers(0, 10**6), _values), min_size=1, max_size=3).map(forged)


def _table(_: bytes) -> st.SearchStrategy[bytes]:
    line = st.lists(_cells, max_size=6).map(",".join)
    return st.lists(line, max_size=8).map("\n".join).map(lambda text: text.encode("utf-8", "surrogatepass"))


def _lines(_: bytes) -> st.SearchStrategy[bytes]:
    row = st.dictionaries(st.sampled_from(["a", "b", "y"]) | st.text(max_size=5), _values, max_size=5)
    return st.lists(row.map(json.dumps) | st.text(max_size=20), max_size=6).map(
        lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
    )


def _damaged(seed: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of a valid file replaced, or any bytes at all."""
    place = st.tuples(st.integers(0, len(seed)), st.integers(0, 8), st.binary(max_size=8))

    def patched(patches: list[tuple[int, int, bytes]]) -> bytes:
        raw = seed
        for at, gone, new in patches:
            raw = raw[:at] + new + raw[at + gone :]
        return raw

    return st.lists(place, min_size=1, max_size=4).map(patched) | st.binary(max_size=200)


STRATEGIES: dict[str, Callable[[bytes], st.SearchStrategy[bytes]]] = {
    "header": _checkpoints, "checkpoint": _checkpoints, "estimator-young": _checkpoints, "stream-run": _checkpoints,
    "record": _damaged, "stretches": _damaged, "csv": _table, "jsonl": _lines,
    "claim": lambda _: _values.map(json.dumps).map(str.encode), "parquet": _damaged, "record-parquet": _damaged,
}  # fmt: skip


def try_reader(name: str, inputs: int, folder: Path, seeds: Path) -> int:
    """Have a reader read files that Hypothesis makes up; how many they were.

    Raises:
        fuzz.attempt.Finding: with the smallest such file, if any does harm.
    """
    (seed,) = write_seeds(seeds, {name})[name]
    warm_up(TARGETS[name], [seed], folder)
    done = 0

    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(STRATEGIES[name](seed))
    def check(data: bytes) -> None:
        nonlocal done
        attempt(TARGETS[name], data, folder)
        done += 1

    check()
    return done


def main(argv: list[str] | None = None) -> int:
    """Every reader in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=5000, help="files for every reader")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    path, folder = options.out / "hypothesis.json", work_folder()
    counts: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    try:
        for name in sorted(set(STRATEGIES) & set(TARGETS)):
            if counts.get(name, 0) < options.inputs:
                counts[name] = try_reader(name, options.inputs, folder, options.out / "seeds")
                path.write_text(json.dumps(counts, indent=1) + "\n")
            print(f"{name:16} {counts[name]:,} inputs by Hypothesis", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{sum(counts.values()):,} inputs by Hypothesis, no finding")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
