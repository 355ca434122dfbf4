"""The soak at a small size: every state finite, and a stopped run goes on as if it had not been."""

from __future__ import annotations

import json

import pytest
from benchmarks.soak import Soak

FIGURES = ("updates", "loss", "refused", "spawned", "at_capacity")


def lines(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [[row[name] for name in FIGURES] for row in rows]


@pytest.mark.parametrize("name", ["mixture", "readout"])
def test_a_soak_that_was_stopped_goes_on_where_it_was(name, tmp_path):
    whole, parts = (Soak(name, 9000, 3000, tmp_path / folder) for folder in ("whole", "parts"))
    done = list(whole.run())
    assert [line["updates"] for line in done] == [3000, 6000, 9000]
    assert all(line["memory_mib"] > 0 and line["not_finite"] > 0 and line["refused"] > 0 for line in done)
    assert done[-1]["at_capacity"] > 0 and done[-1]["loss"] < 5.0
    next(parts.run())
    assert len(list(parts.run())) == 2
    assert lines(tmp_path / "parts" / f"{name}.jsonl") == lines(tmp_path / "whole" / f"{name}.jsonl")
    assert "9000 updates, every state finite" in parts.summary()
