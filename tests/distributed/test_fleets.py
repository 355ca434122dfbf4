"""`mole stream --key … --ray` on actors of this machine: the predictions are those of one process, to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mole.cli import main

COMMAND = ["stream", "rows.csv", "--target", "y", "--key", "machine", "--prior", "prior.mole"]


def write_rows(path: Path, rows: int) -> None:
    """A linear relation for each of 20 machines; one row has no target, one no machine."""
    rng = np.random.default_rng(0)
    lines = ["machine,a,b,y"]
    for _ in range(rows):
        machine, (a, b) = rng.integers(20), rng.normal(size=2)
        lines.append(f"m{machine},{a:.5f},{b:.5f},{a - machine * b:.5f}")
    lines[30], lines[50] = lines[30].rpartition(",")[0] + ",", "," + lines[50].partition(",")[2]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.timeout(900)
def test_a_file_on_a_cluster_is_a_file_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(Path("rows.csv"), 300)
    # In a process of its own, as for users: Ray starts processes, which must be before JAX has threads.
    fit = [
        "fit-prior",
        "rows.csv",
        "--target",
        "y",
        "--features",
        "a,b",
        "--width",
        "4",
        "--out",
        "prior.mole",
    ]
    assert run(fit) == 0
    cluster = [*COMMAND, "--out", "many.csv", "--checkpoint", "run", "--ray", "--shards", "4"]
    assert run(cluster) == 0
    assert main([*COMMAND, "--out", "one.csv"]) == 0
    many, one = (
        [line.split(",") for line in Path(name).read_text().splitlines()] for name in ("many.csv", "one.csv")
    )
    good = [line for line in one if line[-1] == ""]
    assert len(many) == 299 and [line[1:] for line in many[1:]] == [line[1:] for line in good if line[5]]
    assert run(cluster) == 0  # nothing is left to learn, and the predictions are written once more


def run(arguments: list[str]) -> int:
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "mole.cli", *arguments], check=False).returncode
