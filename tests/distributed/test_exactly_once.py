"""Keyed streams on real clusters: of this machine alone, and of three nodes of which some are killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from benchmarks.chaos import chaos
from benchmarks.keyed import alone, make_sums, rows_of

from mole.distributed import read_outputs, run
from mole.files.processes import Failure

ROOT = Path(__file__).parents[2]


def test_every_row_counts_once_while_actors_and_machines_are_killed(tmp_path: Path, cluster: Any) -> None:
    """`python -m benchmarks.chaos` does so with 20 kills and 100,000 rows."""
    told = chaos(cluster, tmp_path / "run", 8000, 500, ["actor", "node", "actor", "actor"], seed=0, shards=16)
    assert (told["lost"], told["twice"], told["equal"]) == (0, 0, True)
    assert told["killed"] == {"actor": 3, "node": 1}
    assert told["losses_noticed"] >= 3  # the machine that was killed may have held nothing


def stream(folder: Path, code: str) -> subprocess.Popen[str]:
    """A run in a process of its own: a thousand rows as fast as they can, then one every 10 ms, without end."""
    script = f"""
import itertools, time
from benchmarks.keyed import make_sums, rows_of
from mole.distributed import run

def source(start):
    for number, row in enumerate(rows_of(10**6, 50, start=start), start):
        if number > 1000:
            time.sleep(0.01)
        yield row

if __name__ == "__main__":
    try:
        run(source, make_shard=make_sums, key="key", folder={str(folder)!r}, shards=8, commit_seconds=0.5)
    except KeyboardInterrupt as stopped:
        print(type(stopped).__name__, flush=True)
    {code}
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):  # as a user who has no token
        environment.pop(name)
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def wait_for(folder: Path, rows: int) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        record = folder / "run.json"
        if record.exists() and json.loads(record.read_text())["position"] > rows:
            return
        time.sleep(0.1)
    raise AssertionError(f"{folder} never had {rows} rows")


def test_a_stop_commits_and_a_killed_driver_is_gone_on_from(tmp_path: Path) -> None:
    tokens = lambda: set(Path(tempfile.gettempdir()).glob("mole-ray-*"))  # noqa: E731
    before = tokens()
    first = stream(tmp_path, "")
    wait_for(tmp_path, 500)
    first.send_signal(signal.SIGTERM)
    assert first.communicate(timeout=60)[0] == "Terminated\n"
    stopped = len(list(read_outputs(tmp_path)))
    assert json.loads((tmp_path / "run.json").read_text())["position"] == stopped
    second = stream(tmp_path, "")
    wait_for(tmp_path, stopped + 100)
    second.kill()
    second.communicate(timeout=60)
    # At once: the actors of the killed driver may still live, and hold the locks of their shards.
    count = len(list(read_outputs(tmp_path))) + 700
    end = run(rows_of(count, 50), make_shard=make_sums, key="key", folder=tmp_path, shards=8, actors=1)
    assert end.rows == end.committed == count
    assert list(read_outputs(tmp_path)) == alone(rows_of(count, 50))
    (left,) = tokens() - before  # of the driver that was killed; the other has removed its own
    assert stat.S_IMODE((left / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(left.stat().st_mode) == 0o700


def test_a_cluster_is_closed_to_whoever_has_another_token(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("00" * 32)
    script = f"""
from benchmarks.keyed import make_sums, rows_of
from mole.distributed import run
run(rows_of(9, 3), make_shard=make_sums, key="key", folder={str(tmp_path / "run")!r}, address={cluster.address!r})
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "cannot join the Ray cluster at" in done.stderr
    assert "and its token in RAY_AUTH_TOKEN" in done.stderr
    assert not list((tmp_path / "run" / "shards").iterdir())


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected host:port of the cluster"):
        run([], make_shard=make_sums, key="key", folder=tmp_path, address="ray://10.0.0.1:10001")


def test_an_error_of_a_shard_comes_back_as_it_is(tmp_path: Path, cluster: Any) -> None:
    rows = [*rows_of(50, 5), {"key": "k0", "x": "seven"}, *rows_of(50, 5)]
    with pytest.raises(Failure, match=r"^shard \d+, rows \d+ to \d+ of the source: TypeError: "):
        run(rows, make_shard=make_sums, key="key", folder=tmp_path, address=cluster.address)
    with pytest.raises(Failure, match=r"the actor of the shards .* no machine has a core free for it"):
        run(
            rows_of(9, 3),
            make_shard=make_sums,
            key="key",
            folder=tmp_path / "other",
            actors=9,
            address=cluster.address,
            patience=3.0,
        )
