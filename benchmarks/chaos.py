"""Exactly once on a Ray cluster of three nodes while actors and whole machines are killed.

    .venv-ray/bin/python -m benchmarks.chaos --rows 100000 --keys 500 --kills 20

The head has no core for actors, two workers have two each; all run on this machine. A kill waits until an actor lives
that was not killed before; what it has learned and not committed dies with it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.keyed import alone, make_sums, rows_of

CORES = 2  # of each worker: enough for all actors when the other worker is gone


class Killer:
    """Rows, and between them kills: of a process that holds shards, or of a worker node with all its processes."""

    def __init__(self, cluster: Any, folder: Path, seed: int) -> None:
        self.cluster, self.folder, self.rng = cluster, folder, random.Random(seed)
        self.dead, self.killed = set[int](), {"actor": 0, "node": 0}

    def between(self, rows: Iterable[Any], total: int, kills: list[str]) -> Iterator[Any]:
        places = sorted(self.rng.sample(range(total // 20, total), len(kills)))
        due = dict(zip(places, kills, strict=True))
        for number, row in enumerate(rows):
            if number in due:
                while not (pids := self.holders()):
                    yield None  # nothing to say at the moment: the driver looks after its actors
                    time.sleep(0.05)
                self.kill(due[number], self.rng.choice(pids))
            yield row

    def holders(self) -> list[int]:
        """The living processes that hold shards, as the locks say, except those killed before."""
        found = set[int]()
        for path in (self.folder / "shards").glob(".*.lock"):
            try:
                found.add(int(json.loads(path.read_text())["process"]))
            except (ValueError, KeyError):
                continue  # being written
        return sorted(pid for pid in found - self.dead if Path(f"/proc/{pid}").exists())

    def kill(self, what: str, pid: int) -> None:
        self.killed[what] += 1
        if what == "actor":
            self.dead.add(pid)
            os.kill(pid, signal.SIGKILL)
            return
        node = self.rng.choice(sorted(self.cluster.worker_nodes, key=lambda one: one.node_id))
        self.cluster.remove_node(node, allow_graceful=False)
        self.cluster.add_node(num_cpus=CORES)


def private_token(folder: Path) -> None:
    """A token of its own for this process and its clusters. Before Ray is imported."""
    path = folder / "token"
    path.touch(0o600)
    path.write_text(random.SystemRandom().randbytes(32).hex())
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(path), RAY_USAGE_STATS_ENABLED="0")


def small_cluster() -> Any:
    from ray.cluster_utils import Cluster

    # Neither 127.0.0.1 nor quicker health checks: together they hang.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=CORES)
    return cluster


def chaos(
    cluster: Any, folder: Path, rows: int, keys: int, kills: list[str], seed: int, **options: Any
) -> dict[str, Any]:
    """Run, compare with one process, and say what happened."""
    from mole.distributed import read_outputs, run

    killer, start = Killer(cluster, folder, seed), time.monotonic()
    end = run(
        killer.between(rows_of(rows, keys, seed), rows, kills),
        make_shard=make_sums,
        key="key",
        folder=folder,
        address=cluster.address,
        **{"max_rows": max(1000, rows // 10), "commit_seconds": 1.0, "batch": 200, **options},
    )
    outputs, expected = list(read_outputs(folder)), alone(rows_of(rows, keys, seed))
    return {
        "rows": rows,
        "keys": keys,
        "killed": killer.killed,
        "losses_noticed": end.losses,
        "seconds": round(time.monotonic() - start, 1),
        "lost": len({n for n, _ in expected} - {n for n, _ in outputs}),
        "twice": len(outputs) - len({n for n, _ in outputs}),
        "equal": outputs == expected,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        private_token(Path(folder))
        kinds = ["node" if number % 3 == 2 else "actor" for number in range(args.kills)]
        random.Random(args.seed).shuffle(kinds)
        cluster = small_cluster()
        try:
            told = chaos(
                cluster, Path(folder, "run"), args.rows, args.keys, kinds, args.seed, on_progress=print
            )
        finally:
            cluster.shutdown()
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
