"""A cheap shard whose outputs show every lost, repeated or exchanged row, and rows for it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


class Sums:
    """For each key a decaying sum, whose value depends on the order of the rows, and the number of rows.

    Args:
        sums: key → (number of rows, sum).
    """

    def __init__(self, sums: Mapping[str, Sequence[float]] | None = None) -> None:
        self.sums = {key: (int(count), value) for key, (count, value) in (sums or {}).items()}

    def step(self, rows: list[dict[str, Any]]) -> list[Any]:
        outputs = []
        for row in rows:
            count, value = self.sums.get(row["key"], (0, 0.0))
            self.sums[row["key"]] = count + 1, 0.9 * value + row["x"]
            outputs.append([row["key"], count + 1, 0.9 * value + row["x"]])
        return outputs

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.sums))

    def __len__(self) -> int:
        return len(self.sums)


def make_sums(saved: Path | None) -> Sums:
    return Sums(None if saved is None else json.loads(saved.read_text()))


def rows_of(count: int, keys: int, seed: int = 0, start: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of ``keys`` keys in a random order; the first ``start`` of them are left out."""
    rng = random.Random(seed)
    for number in range(count):
        row = {"key": f"k{rng.randrange(keys)}", "x": rng.random()}
        if number >= start:
            yield row


def alone(rows: Iterator[dict[str, Any]]) -> list[tuple[int, Any]]:
    """What one process says to the rows, as `mole.distributed.read_outputs` gives it."""
    return list(enumerate(Sums().step(list(rows))))
